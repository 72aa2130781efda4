#include "lsp/eval/summary.h"

#include <cassert>

namespace cambium::eval {

void Figures::add(const Case& asked, const Outcome& outcome) {
  KindFigures& kind = kinds[static_cast<size_t>(asked.kind)];
  const Judgement& judgement = outcome.judgement;
  ++kind.cases;
  kind.shown += judgement.shown ? 1 : 0;
  kind.exact += judgement.exact ? 1 : 0;
  kind.ends_node += judgement.ends_node ? 1 : 0;
  kind.adds_errors += judgement.adds_errors ? 1 : 0;
  kind.similarity += judgement.similarity;
  ++cases;
  stops_at_end += outcome.stops_at_end ? 1 : 0;
  stops_early += outcome.stops_early ? 1 : 0;
  truth_dropped += outcome.truth_dropped ? 1 : 0;
  middle.add(outcome.middle);
  if (!outcome.stop.empty()) ++stops[outcome.stop];
  if (!outcome.dropped.empty()) ++dropped[outcome.dropped];
  const engine::Timings& t = outcome.timings;
  skipped_blocks += t.skipped_blocks;
  ttft_ms += t.ttft_ms;
  decode_ms += t.decode_ms;
  prompt_tokens += static_cast<size_t>(t.prompt_tokens);
  generated_tokens += static_cast<size_t>(t.generated_tokens);
}

void Figures::add(const Figures& other) {
  for (size_t i = 0; i < kinds.size(); ++i) {
    kinds[i].cases += other.kinds[i].cases;
    kinds[i].shown += other.kinds[i].shown;
    kinds[i].exact += other.kinds[i].exact;
    kinds[i].ends_node += other.kinds[i].ends_node;
    kinds[i].adds_errors += other.kinds[i].adds_errors;
    kinds[i].similarity += other.kinds[i].similarity;
  }
  cases += other.cases;
  stops_at_end += other.stops_at_end;
  stops_early += other.stops_early;
  truth_dropped += other.truth_dropped;
  middle.add(other.middle);
  text.add(other.text);
  for (const auto& [reason, count] : other.stops) stops[reason] += count;
  for (const auto& [reason, count] : other.dropped) dropped[reason] += count;
  skipped_blocks += other.skipped_blocks;
  ttft_ms += other.ttft_ms;
  decode_ms += other.decode_ms;
  prompt_tokens += other.prompt_tokens;
  generated_tokens += other.generated_tokens;
}

FiguresByLanguage summarize(const std::vector<Case>& cases, const std::vector<Outcome>& outcomes,
                            const std::map<std::string, Loss>& text_loss) {
  assert(outcomes.empty() || outcomes.size() == cases.size());
  FiguresByLanguage figures;
  for (size_t i = 0; i < outcomes.size(); ++i)
    figures[cases[i].language].add(cases[i], outcomes[i]);
  for (const auto& [language, loss] : text_loss) figures[language].text.add(loss);
  Figures all;
  for (const auto& [language, one] : figures) all.add(one);
  figures[""] = all;
  return figures;
}

Comparison compare(const std::vector<Case>& cases, const std::vector<Outcome>& a,
                   const std::vector<Outcome>& b) {
  assert(a.size() == cases.size() && b.size() == cases.size());
  Comparison result;
  const auto difference = [&](auto wanted, auto value) {
    std::vector<double> of_a, of_b;
    for (size_t i = 0; i < cases.size(); ++i) {
      if (!wanted(i)) continue;
      of_a.push_back(value(a[i]));
      of_b.push_back(value(b[i]));
    }
    return paired_difference(of_a, of_b);
  };
  for (size_t kind = 0; kind < kCaseKinds; ++kind) {
    const auto of_kind = [&](size_t i) { return static_cast<size_t>(cases[i].kind) == kind; };
    result.exact_match[kind] =
        difference(of_kind, [](const Outcome& o) { return o.judgement.exact ? 1.0 : 0.0; });
    result.similarity[kind] =
        difference(of_kind, [](const Outcome& o) { return o.judgement.similarity; });
  }
  const auto all = [](size_t) { return true; };
  const auto scored = [&](size_t i) { return a[i].middle.tokens > 0 && b[i].middle.tokens > 0; };
  result.middle_loss = difference(scored, [](const Outcome& o) { return o.middle.per_token(); });
  result.stops_at_end =
      difference(all, [](const Outcome& o) { return o.stops_at_end ? 1.0 : 0.0; });
  return result;
}

}  // namespace cambium::eval
