#include "lsp/eval/review_eval.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "syntax/review_sites.h"

namespace cambium::eval {

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
        judged.hit = !one.bug.empty() && suspicion.range.begin < one.slip.end &&
                     one.slip.begin < suspicion.range.end;
        if (judged.hit) {
          std::string clean = one.text;
          clean.replace(one.slip.begin, one.slip.end - one.slip.begin, one.original);
          judged.restores =
              assist::with_changes(one.text, {{suspicion.range, suspicion.alternative}}) == clean;
        }
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

bool is_reported(const ReviewRun& run, const Judged& judged) {
  const ReviewCase& one = run.cases[judged.of_case];
  return !assist::likelihood_findings({judged.suspicion}, *one.language, one.text).empty();
}

ReviewFigures figures_of(const ReviewRun& run, const std::string& kind,
                         const std::function<bool(const Judged&)>& reports) {
  ReviewFigures figures;
  for (const ReviewCase& one : run.cases) {
    if (one.bug.empty()) {
      const auto body = std::string_view(one.text).substr(one.function.begin,
                                                          one.function.end - one.function.begin);
      figures.clean_lines += static_cast<size_t>(std::count(body.begin(), body.end(), '\n')) + 1;
    } else if (kind.empty() || one.bug == kind) {
      ++figures.slips;
    }
  }
  std::set<size_t> found;
  for (const Judged& judged : run.judged) {
    if (!kind.empty() && syntax::to_string(judged.suspicion.kind) != kind) continue;
    if (!reports(judged)) continue;
    ++figures.reported;
    if (judged.hit) {
      ++figures.hits;
      if (judged.restores) ++figures.restored;
      if (kind.empty() || run.cases[judged.of_case].bug == kind) found.insert(judged.of_case);
    } else if (run.cases[judged.of_case].bug.empty()) {
      ++figures.false_on_clean;
    }
  }
  figures.found = found.size();
  return figures;
}

std::vector<CurvePoint> curve_of(const ReviewRun& run, const std::string& kind,
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
        figures_of(run, kind, [&](const Judged& judged) { return score(judged) >= level; });
    if (figures.reported > 0)
      curve.push_back({level, figures.precision(), figures.recall(), figures.false_per_1000()});
  }
  return curve;
}

std::string plot_curves(const std::map<std::string, std::vector<CurvePoint>>& curves) {
  constexpr int kLeft = 60, kTop = 20, kWidth = 480, kHeight = 320;
  const auto x = [&](double recall) { return kLeft + recall * kWidth; };
  const auto y = [&](double precision) { return kTop + (1 - precision) * kHeight; };
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" "
      "font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      kLeft + kWidth + 150, kTop + kHeight + 50);
  for (int i = 0; i <= 10; i += 2) {
    const double at = i / 10.0;
    svg += fmt::format(
        "<line x1=\"{0}\" y1=\"{2}\" x2=\"{1}\" y2=\"{2}\" stroke=\"#ddd\"/>"
        "<text x=\"{3}\" y=\"{4}\" text-anchor=\"end\">{5:.1f}</text>"
        "<text x=\"{6}\" y=\"{7}\" text-anchor=\"middle\">{5:.1f}</text>\n",
        kLeft, kLeft + kWidth, y(at), kLeft - 6, y(at) + 4, at, x(at), kTop + kHeight + 16);
  }
  svg += fmt::format(
      "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">recall</text>"
      "<text x=\"14\" y=\"{}\" transform=\"rotate(-90 14 {})\" "
      "text-anchor=\"middle\">precision</text>\n",
      kLeft + kWidth / 2, kTop + kHeight + 36, kTop + kHeight / 2, kTop + kHeight / 2);
  constexpr const char* kColors[] = {"#0072b2", "#d55e00", "#009e73",
                                     "#cc79a7", "#888888", "#e69f00"};
  size_t n = 0;
  for (const auto& [name, curve] : curves) {
    const char* color = kColors[n % std::size(kColors)];
    std::string points;
    for (const CurvePoint& point : curve) {
      points += fmt::format("{:.1f},{:.1f} ", x(point.recall), y(point.precision));
    }
    svg += fmt::format(
        "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" points=\"{}\"/>"
        "<text x=\"{}\" y=\"{}\" fill=\"{}\">{}</text>\n",
        color, points, kLeft + kWidth + 8, kTop + 16 + 18 * static_cast<int>(n), color, name);
    ++n;
  }
  return svg + "</svg>\n";
}

}  // namespace cambium::eval
