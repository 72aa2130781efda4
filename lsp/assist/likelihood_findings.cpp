#include "lsp/assist/likelihood_findings.h"

#include <algorithm>
#include <string>

namespace cambium::assist {
namespace {

using syntax::SiteKind;

// GCC 13's <chrono> brings std::quoted along, which the argument would find before one of that name here.
std::string in_quotes(std::string_view word) { return "'" + std::string(word) + "'"; }

/// "<=" is "<" and the end itself.
bool reaches_end(std::string_view comparison) {
  return comparison.size() == 2 && comparison[1] == '=' &&
         (comparison[0] == '<' || comparison[0] == '>');
}

/// What is known is that the code around fits the alternative better, and no more is said.
struct Wording {
  std::string message, fix;
};

Wording wording_of(const Suspicion& suspicion, std::string_view written) {
  const std::string& other = suspicion.alternative;
  const std::string replace = "Replace " + in_quotes(written) + " by " + in_quotes(other);
  const auto fits = [&](const std::string& what) {
    return Wording{what + ": the code around it fits " + in_quotes(other) + " better than " +
                       in_quotes(written) + ".",
                   replace};
  };
  switch (suspicion.kind) {
    case SiteKind::name:
      return fits("This may be the wrong variable");
    case SiteKind::compare:
      if (written[0] == other[0] && reaches_end(written))
        return fits("This comparison may go one too far");
      if (written[0] == other[0] && reaches_end(other))
        return fits("This comparison may stop one too early");
      return fits("This comparison may be the wrong way round");
    case SiteKind::arithmetic:
      return fits("This may be the wrong operator");
    case SiteKind::logic:
      return fits("These conditions may be joined the wrong way");
    case SiteKind::number:
      return fits("This number may be off by one");
    case SiteKind::boolean:
      return fits("This may be the wrong way round");
    case SiteKind::arguments:
      return {"These arguments look swapped: the code around them fits " + in_quotes(other) +
                  " better.",
              "Swap the arguments"};
    case SiteKind::negation: {
      const bool missing = other.size() > written.size();
      const std::string word =
          (missing ? std::string_view(other) : written).substr(0, 1) == "!" ? "!" : "not";
      return {missing ? "A " + in_quotes(word) + " may be missing here."
                      : "This " + in_quotes(word) + " may be one too many.",
              (missing ? "Insert " : "Remove ") + in_quotes(word)};
    }
    case SiteKind::await:
      return {"An 'await' may be missing before this call.", "Insert 'await'"};
    case SiteKind::return_:
      return {"A 'return' may be missing before this expression.", "Insert 'return'"};
    case SiteKind::leftover:
      return {"This repeats what stands before it, but " + in_quotes(written) +
                  " was not changed along: " + in_quotes(other) + " may be meant.",
              replace};
  }
  return {};
}

bool touch(const syntax::ByteRange& a, const syntax::ByteRange& b) {
  return a.begin < b.end && b.begin < a.end;
}

}  // namespace

std::vector<Finding> likelihood_findings(const std::vector<Suspicion>& suspicions,
                                         const syntax::Language& language, std::string_view text,
                                         const ReviewCalibration& calibration) {
  std::vector<Finding> findings;
  for (const Suspicion& suspicion : suspicions) {
    const double score = calibration.score_of(suspicion, language.name);
    if (score < calibration.level_of(suspicion.kind)) continue;
    const std::string written(
        text.substr(suspicion.range.begin, suspicion.range.end - suspicion.range.begin));
    Wording wording = wording_of(suspicion, written);
    Finding finding;
    finding.source = FindingSource::likelihood;
    finding.code = "likelihood/" + std::string(syntax::to_string(suspicion.kind));
    finding.severity = Severity::information;
    finding.range = suspicion.range;
    finding.score = score;
    finding.message = std::move(wording.message);
    finding.fix = Fix{std::move(wording.fix), {{suspicion.range, suspicion.alternative}}};
    finding.fingerprint = fingerprint_of(finding, text);
    const bool less_sure = std::any_of(findings.begin(), findings.end(), [&](const Finding& other) {
      return touch(other.range, finding.range) && other.score >= score;
    });
    if (less_sure) continue;
    std::erase_if(findings,
                  [&](const Finding& other) { return touch(other.range, finding.range); });
    findings.push_back(std::move(finding));
  }
  return findings;
}

}  // namespace cambium::assist
