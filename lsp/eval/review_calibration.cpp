#include "lsp/eval/review_calibration.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "lsp/eval/cases.h"

namespace cambium::eval {
namespace {

using assist::kNever;
using assist::kReviewFeatures;
using assist::kReviewLanguages;
using assist::ReviewCalibration;

constexpr size_t kFolds = 10;
constexpr int kMostSteps = 30;

// Columns of the model: what all kinds share, what each kind adds, what each language adds.
constexpr size_t kShared = 1 + kReviewFeatures;
constexpr size_t kColumns = kShared * (1 + syntax::kSiteKinds) + kReviewLanguages.size();
constexpr double kSharedPenalty = 0.1, kOwnPenalty = 4;

size_t column_of_kind(size_t kind) { return kShared * (1 + kind); }
constexpr size_t kLanguageColumn = kShared * (1 + syntax::kSiteKinds);

/// A row of the design matrix, its zeros left out.
struct Row {
  std::vector<std::pair<size_t, double>> entries;
  double target = 0;
  double weight = 1, offset = 0;  ///< how often it counts; added to its log-odds while fitting
};

Row row_of(const ReviewRun& run, const Judged& judged) {
  Row row;
  const auto kind = static_cast<size_t>(judged.suspicion.kind);
  const assist::ReviewFeatures features = assist::features_of(judged.suspicion);
  for (const size_t first : {size_t{0}, column_of_kind(kind)}) {
    row.entries.emplace_back(first, 1);
    for (size_t i = 0; i < kReviewFeatures; ++i)
      row.entries.emplace_back(first + 1 + i, features[i]);
  }
  const size_t language = assist::review_language(run.cases[judged.of_case].language->name);
  if (language < kReviewLanguages.size()) row.entries.emplace_back(kLanguageColumn + language, 1);
  row.target = judged.restores ? 1 : 0;
  row.weight = judged.restores ? 1 : run.cases[judged.of_case].weight;
  return row;
}

/// By kind of place: the log of how many times more right suspicions there are than their cases weigh. Where
/// a kind was given more slips, all of them tell what its evidence is worth; that right ones are that much
/// rarer is taken back here. (Prentice and Pyke, "Logistic disease incidence models and case-control
/// studies", 1979.)
std::array<double, syntax::kSiteKinds> offsets_of(const ReviewRun& run,
                                                  const std::vector<const Judged*>& judged) {
  std::array<double, syntax::kSiteKinds> counted{}, weighed{}, out{};
  for (const Judged* one : judged) {
    if (!one->restores) continue;
    counted[static_cast<size_t>(one->suspicion.kind)] += 1;
    weighed[static_cast<size_t>(one->suspicion.kind)] += run.cases[one->of_case].weight;
  }
  for (size_t kind = 0; kind < out.size(); ++kind) {
    if (weighed[kind] > 0) out[kind] = std::log(counted[kind] / weighed[kind]);
  }
  return out;
}

/// Solves A x = b for a symmetric, positive definite A [n, n] (Cholesky), in place of b.
void solve(std::vector<double>& a, std::vector<double>& b) {
  const size_t n = b.size();
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      double sum = a[i * n + j];
      for (size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = i == j ? std::sqrt(sum) : sum / a[j * n + j];
    }
    for (size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
}

std::vector<double> fit(const std::vector<Row>& rows) {
  std::vector<double> weights(kColumns, 0.0), penalty(kColumns, kOwnPenalty);
  std::fill_n(penalty.begin(), kShared, kSharedPenalty);
  penalty[0] = 1e-3;
  for (int step = 0; step < kMostSteps; ++step) {
    std::vector<double> hessian(kColumns * kColumns, 0.0), gradient(kColumns, 0.0);
    for (size_t i = 0; i < kColumns; ++i) {
      hessian[i * kColumns + i] = penalty[i];
      gradient[i] = -penalty[i] * weights[i];
    }
    for (const Row& row : rows) {
      double sum = row.offset;
      for (const auto& [i, value] : row.entries) sum += weights[i] * value;
      const double p = 1 / (1 + std::exp(-sum));
      for (const auto& [i, value] : row.entries) {
        gradient[i] += row.weight * (row.target - p) * value;
        for (const auto& [j, other] : row.entries)
          hessian[i * kColumns + j] += row.weight * p * (1 - p) * value * other;
      }
    }
    solve(hessian, gradient);
    double largest = 0;
    for (size_t i = 0; i < kColumns; ++i) {
      weights[i] += gradient[i];
      largest = std::max(largest, std::abs(gradient[i]));
    }
    if (largest < 1e-6) break;
  }
  return weights;
}

size_t fold_of(const std::string& project) {
  return (stable_hash(project, 0x9747b28cu) >> 12) % kFolds;
}

struct Scored {
  double score = 0, weight = 1;
  bool hit = false;
};

/// The least level of a kind whose reports are right in `precision` of cases, as far as can be told;
/// kNever if none is.
double level_for(const std::vector<Scored>& descending, double precision, const LevelRule& rule) {
  double level = kNever, hits = 0, all = 0;
  for (size_t i = 0; i < descending.size(); ++i) {
    all += descending[i].weight;
    if (descending[i].hit) hits += descending[i].weight;
    const bool last_of_ties =
        i + 1 == descending.size() || descending[i + 1].score < descending[i].score;
    if (!last_of_ties || i + 1 < rule.fewest_reports) continue;
    const Interval right = proportion(hits, all);
    if (right.mean >= precision && right.low >= rule.least_low) level = descending[i].score;
  }
  return level;
}

/// The level of the highest precision in steps of a twentieth that a kind reaches.
double best_level(const std::vector<Scored>& descending, const LevelRule& rule) {
  for (int step = 0;; ++step) {
    const double precision = rule.precision - 0.05 * step;
    if (precision < rule.least_precision - 1e-9) return kNever;
    const double level = level_for(descending, precision, rule);
    if (level < kNever) return level;
  }
}

}  // namespace

ReviewCalibration fit_calibration(const ReviewRun& run, const std::vector<const Judged*>& judged) {
  std::vector<Row> rows;
  rows.reserve(judged.size());
  const auto offsets = offsets_of(run, judged);
  for (const Judged* one : judged) {
    rows.push_back(row_of(run, *one));
    rows.back().offset = offsets[static_cast<size_t>(one->suspicion.kind)];
  }
  const std::vector<double> weights = fit(rows);
  ReviewCalibration calibration;
  for (size_t kind = 0; kind < syntax::kSiteKinds; ++kind) {
    const size_t own = column_of_kind(kind);
    assist::KindCalibration& of_kind = calibration.kinds[kind];
    of_kind.bias = weights[0] + weights[own];
    for (size_t i = 0; i < kReviewFeatures; ++i)
      of_kind.weights[i] = weights[1 + i] + weights[own + 1 + i];
  }
  for (size_t i = 0; i < kReviewLanguages.size(); ++i)
    calibration.languages[i] = weights[kLanguageColumn + i];
  return calibration;
}

Calibrated calibrate(const ReviewRun& run, const LevelRule& rule) {
  Calibrated out;
  out.held_out_scores.resize(run.judged.size());
  std::vector<const Judged*> all;
  for (const Judged& judged : run.judged) all.push_back(&judged);
  out.calibration = fit_calibration(run, all);

  const auto fold = [&](const Judged& judged) {
    return fold_of(run.cases[judged.of_case].project);
  };
  for (size_t held = 0; held < kFolds; ++held) {
    std::vector<const Judged*> others;
    for (const Judged* judged : all) {
      if (fold(*judged) != held) others.push_back(judged);
    }
    const ReviewCalibration without = fit_calibration(run, others);
    for (size_t i = 0; i < run.judged.size(); ++i) {
      const Judged& judged = run.judged[i];
      if (fold(judged) != held) continue;
      out.held_out_scores[i] =
          without.score_of(judged.suspicion, run.cases[judged.of_case].language->name);
    }
  }

  std::array<std::vector<Scored>, syntax::kSiteKinds> of_kind;
  for (size_t i = 0; i < run.judged.size(); ++i) {
    const Judged& judged = run.judged[i];
    of_kind[static_cast<size_t>(judged.suspicion.kind)].push_back(
        {out.held_out_scores[i], run.cases[judged.of_case].weight, judged.hit});
  }
  for (std::vector<Scored>& scored : of_kind) {
    std::stable_sort(scored.begin(), scored.end(),
                     [](const Scored& a, const Scored& b) { return a.score > b.score; });
  }
  std::array<double, syntax::kSiteKinds> least{};
  for (size_t kind = 0; kind < syntax::kSiteKinds; ++kind)
    least[kind] = best_level(of_kind[kind], rule);
  for (const syntax::SiteKind kind : rule.muted) least[static_cast<size_t>(kind)] = kNever;
  // One more level for all that disturb: the least one with few enough false findings in a thousand clean
  // lines. From a kind that has none there, it would take only what is right.
  std::array<bool, syntax::kSiteKinds> disturbs{};
  std::vector<double> levels{-kNever};
  for (size_t i = 0; i < run.judged.size(); ++i) {
    const Judged& judged = run.judged[i];
    const auto kind = static_cast<size_t>(judged.suspicion.kind);
    if (out.held_out_scores[i] < least[kind]) continue;
    levels.push_back(out.held_out_scores[i]);
    if (!judged.hit && run.cases[judged.of_case].bug.empty()) disturbs[kind] = true;
  }
  std::sort(levels.begin(), levels.end());
  for (const double level : levels) {
    for (size_t kind = 0; kind < syntax::kSiteKinds; ++kind)
      out.calibration.kinds[kind].level =
          disturbs[kind] ? std::max(least[kind], level) : least[kind];
    const ReviewFigures figures = figures_of(run, {}, [&](const Judged& judged) {
      const auto at = static_cast<size_t>(&judged - run.judged.data());
      return out.held_out_scores[at] >= out.calibration.level_of(judged.suspicion.kind);
    });
    if (figures.false_per_1000() <= rule.false_per_1000) break;
  }
  return out;
}

std::string table_source(const ReviewCalibration& calibration, const std::string& origin) {
  std::string out = fmt::format(
      "// What a suspicion's parts are worth with the model that ships. Written by `cambium eval "
      "--review\n"
      "// --calibrate`, not by hand: {}.\n"
      "#pragma once\n\n#include \"lsp/assist/review_calibration.h\"\n\nnamespace cambium::assist "
      "{{\n\n"
      "// clang-format off\ninline constexpr ReviewCalibration kBundledCalibration = {{\n"
      "    // level, bias, weights in features_of's order\n    {{{{\n",
      origin);
  for (size_t kind = 0; kind < syntax::kSiteKinds; ++kind) {
    const assist::KindCalibration& one = calibration.kinds[kind];
    out += fmt::format("        /* {} */ {{{}, {:.3f}, {{",
                       syntax::to_string(static_cast<syntax::SiteKind>(kind)),
                       one.level == kNever ? "kNever" : fmt::format("{:.3f}", one.level), one.bias);
    for (size_t i = 0; i < kReviewFeatures; ++i)
      out += fmt::format("{}{:.3f}", i == 0 ? "" : ", ", one.weights[i]);
    out += "}},\n";
  }
  out += "    }},\n    {";
  for (size_t i = 0; i < kReviewLanguages.size(); ++i)
    out += fmt::format("{}/* {} */ {:.3f}", i == 0 ? "" : ", ", kReviewLanguages[i],
                       calibration.languages[i]);
  return out + "}};\n// clang-format on\n\n}  // namespace cambium::assist\n";
}

}  // namespace cambium::eval
