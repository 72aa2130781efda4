#include "lsp/eval/review_eval.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "lsp/assist/likelihood_findings.h"
#include "syntax/review_sites.h"

namespace cambium::eval {

Verdict verdict_on(const ReviewCase& one, syntax::ByteRange range,
                   const std::vector<assist::TextChange>& fix) {
  Verdict verdict;
  verdict.hit = !one.bug.empty() && range.begin < one.slip.end && one.slip.begin < range.end;
  if (verdict.hit && !fix.empty()) {
    std::string clean = one.text;
    clean.replace(one.slip.begin, one.slip.end - one.slip.begin, one.original);
    verdict.restores = assist::with_changes(one.text, fix) == clean;
  }
  return verdict;
}

Result<ReviewRun> run_review_cases(engine::Generator& generator, std::vector<ReviewCase> cases,
                                   const std::function<bool(size_t)>& progress) {
  ReviewRun run;
  run.cases = std::move(cases);
  const auto start = std::chrono::steady_clock::now();
  for (size_t i = 0; i < run.cases.size(); ++i) {
    const ReviewCase& one = run.cases[i];
    const auto tree = syntax::Parser(*one.language).parse(one.text);
    if (!tree) continue;
    for (const auto& function : syntax::review_sites(*tree, one.text, {one.function})) {
      if (!(function.range == one.function)) continue;
      run.tokens += (function.range.end - function.range.begin) / 4;
      auto found =
          assist::suspicions(generator, one.language, one.path, one.text, function, {}, nullptr);
      if (!found) return tl::unexpected(found.error());
      for (assist::Suspicion& suspicion : *found) {
        Judged judged;
        judged.of_case = i;
        judged.written =
            one.text.substr(suspicion.range.begin, suspicion.range.end - suspicion.range.begin);
        const Verdict verdict =
            verdict_on(one, suspicion.range, {{suspicion.range, suspicion.alternative}});
        judged.hit = verdict.hit;
        judged.restores = verdict.restores;
        judged.suspicion = std::move(suspicion);
        run.judged.push_back(std::move(judged));
      }
    }
    if (!progress(i + 1)) break;
  }
  run.ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return run;
}

void keep_pairs(ReviewRun& run, size_t cases) {
  run.cases.resize(cases);
  for (ReviewCase& one : run.cases) one.weight = 1;
  std::erase_if(run.judged, [&](const Judged& judged) { return judged.of_case >= cases; });
}

void report_by(ReviewRun& run, const assist::ReviewCalibration& calibration) {
  for (size_t begin = 0, end = 0; begin < run.judged.size(); begin = end) {
    const ReviewCase& one = run.cases[run.judged[begin].of_case];
    std::vector<assist::Suspicion> of_case;
    for (end = begin;
         end < run.judged.size() && run.judged[end].of_case == run.judged[begin].of_case; ++end) {
      of_case.push_back(run.judged[end].suspicion);
    }
    const auto findings =
        assist::likelihood_findings(of_case, *one.language, one.text, calibration);
    for (size_t i = begin; i < end; ++i) {
      Judged& judged = run.judged[i];
      judged.score = calibration.score_of(judged.suspicion, one.language->name);
      judged.reported =
          std::any_of(findings.begin(), findings.end(), [&](const assist::Finding& finding) {
            return finding.score == judged.score && finding.range == judged.suspicion.range &&
                   finding.fix->changes[0].text == judged.suspicion.alternative;
          });
    }
  }
}

ReviewFigures& ReviewFigures::operator+=(const ReviewFigures& other) {
  slips += other.slips;
  found += other.found;
  reported += other.reported;
  hits += other.hits;
  restored += other.restored;
  clean_lines += other.clean_lines;
  false_on_clean += other.false_on_clean;
  return *this;
}

namespace {

std::vector<Counted> reported_of(const ReviewRun& run,
                                 const std::function<bool(const Judged&)>& reports) {
  std::vector<Counted> reported;
  for (const Judged& judged : run.judged) {
    if (!reports(judged)) continue;
    reported.push_back(
        {judged.of_case, syntax::to_string(judged.suspicion.kind), {judged.hit, judged.restores}});
  }
  return reported;
}

std::map<std::string, ReviewFigures> figures_by_project(const std::vector<ReviewCase>& cases,
                                                        const std::vector<Counted>& reported,
                                                        const ReviewPart& part) {
  const auto counts = [&](const ReviewCase& one) {
    return part.language.empty() || one.language->name == part.language;
  };
  const std::string& kind = part.kind;
  std::map<std::string, ReviewFigures> of_project;
  for (const ReviewCase& one : cases) {
    if (!counts(one)) continue;
    ReviewFigures& figures = of_project[one.project];
    if (one.bug.empty()) {
      const auto body = std::string_view(one.text).substr(one.function.begin,
                                                          one.function.end - one.function.begin);
      figures.clean_lines += static_cast<size_t>(std::count(body.begin(), body.end(), '\n')) + 1;
    } else if (kind.empty() || one.bug == kind) {
      ++figures.slips;
    }
  }
  std::set<size_t> found;
  for (const Counted& finding : reported) {
    const ReviewCase& one = cases[finding.of_case];
    if (!counts(one)) continue;
    ReviewFigures& figures = of_project[one.project];
    const Verdict& verdict = finding.verdict;
    if (verdict.hit && (kind.empty() || one.bug == kind) && found.insert(finding.of_case).second)
      ++figures.found;
    if (!kind.empty() && finding.kind != kind) continue;
    ++figures.reported;
    if (verdict.hit) {
      ++figures.hits;
      if (verdict.restores) ++figures.restored;
    } else if (one.bug.empty()) {
      ++figures.false_on_clean;
    }
  }
  return of_project;
}

}  // namespace

ReviewFigures figures_of(const std::vector<ReviewCase>& cases, const std::vector<Counted>& reported,
                         const ReviewPart& part) {
  ReviewFigures sum;
  for (const auto& [project, figures] : figures_by_project(cases, reported, part)) sum += figures;
  return sum;
}

ReviewFigures figures_of(const ReviewRun& run, const ReviewPart& part,
                         const std::function<bool(const Judged&)>& reports) {
  return figures_of(run.cases, reported_of(run, reports), part);
}

ReviewIntervals intervals_of(const ReviewRun& run, const ReviewPart& part) {
  return intervals_of(run.cases,
                      reported_of(run, [](const Judged& judged) { return judged.reported; }), part);
}

ReviewIntervals intervals_of(const std::vector<ReviewCase>& cases,
                             const std::vector<Counted>& findings, const ReviewPart& part) {
  std::vector<double> slips, found, reported, hits, restored, clean, wrong;
  for (const auto& [project, figures] : figures_by_project(cases, findings, part)) {
    slips.push_back(static_cast<double>(figures.slips));
    found.push_back(static_cast<double>(figures.found));
    reported.push_back(static_cast<double>(figures.reported));
    hits.push_back(static_cast<double>(figures.hits));
    restored.push_back(static_cast<double>(figures.restored));
    clean.push_back(static_cast<double>(figures.clean_lines) / 1000);
    wrong.push_back(static_cast<double>(figures.false_on_clean));
  }
  return {ratio(hits, reported), ratio(found, slips), ratio(wrong, clean), ratio(restored, hits)};
}

std::vector<CurvePoint> curve_of(const ReviewRun& run, const ReviewPart& part,
                                 const std::function<double(const Judged&)>& score) {
  std::vector<double> levels;
  for (const Judged& judged : run.judged) levels.push_back(score(judged));
  std::sort(levels.begin(), levels.end());
  levels.erase(std::unique(levels.begin(), levels.end()), levels.end());
  std::vector<CurvePoint> curve;
  constexpr size_t kPoints = 60;
  for (size_t i = 0; i < levels.size(); i += std::max<size_t>(1, levels.size() / kPoints)) {
    const double level = levels[i];
    const ReviewFigures figures =
        figures_of(run, part, [&](const Judged& judged) { return score(judged) >= level; });
    if (figures.reported > 0)
      curve.push_back({level, figures.precision(), figures.recall(), figures.false_per_1000()});
  }
  return curve;
}

}  // namespace cambium::eval
