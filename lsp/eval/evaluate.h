// Runs a model over the cases of an evaluation: completions through the completer of serving, and the
// probability of what really stood in each hole, in the very prompt of the completion.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/result.h"
#include "lsp/assist/completer.h"
#include "lsp/eval/cases.h"
#include "lsp/eval/engines.h"
#include "lsp/eval/judge.h"

namespace cambium::eval {

/// Sum of -log p over tokens.
struct Loss {
  double nats = 0;
  size_t tokens = 0, bytes = 0;
  double per_token() const { return tokens == 0 ? 0 : nats / static_cast<double>(tokens); }
  double per_byte() const { return bytes == 0 ? 0 : nats / static_cast<double>(bytes); }
  void add(const Loss& other) { nats += other.nats, tokens += other.tokens, bytes += other.bytes; }
};

/// A model's answer to one case.
struct Outcome {
  std::string answer;   ///< as a person would be shown it; empty: nothing
  std::string stop;     ///< why generation ended
  std::string dropped;  ///< why a generated text is not shown
  Judgement judgement;
  engine::Timings timings;
  /// Of the hole's tokens, its end not counted.
  Loss middle;
  /// Teacher forced, on the hole's own text: the most likely token is one that ends the middle exactly
  /// where it ended, and nowhere before. `early`: somewhere before.
  bool stops_at_end = false, stops_early = false;
  /// The server's syntax check would have dropped what really stood there: its false alarms.
  bool truth_dropped = false;
};

struct ModelUnderTest {
  std::string path;
  engine::LoadOptions load;
  assist::CompletionSettings settings;
};

/// A case as the completer is asked it, a document of its own: what one left behind must not change the
/// next.
assist::CompletionInput completion_input(const Case& asked, size_t number,
                                         const assist::CompletionSettings& settings);

struct EvaluateOptions {
  int threads = 0;    ///< each with an engine of its own that runs one thread; 0: all cores
  uint64_t seed = 1;  ///< of the text whose loss is taken
  size_t loss_tokens = 16384;  ///< predicted tokens a language, about; 0: none
  bool completions = true;     ///< false: the loss alone
};

struct Evaluation {
  engine::Capabilities model;
  std::vector<Outcome> outcomes;          ///< one a case
  std::map<std::string, Loss> text_loss;  ///< by language: held-out examples as training makes them
  double seconds = 0;
};

/// Errors: those of load_model(), and unsupported where completions are wanted of a model without
/// fill-in-the-middle tokens. Blocks.
Result<Evaluation> evaluate(const ModelUnderTest& model, const std::vector<Case>& cases,
                            const Sources& sources, const EvaluateOptions& options,
                            const OnProgress& on_progress);

/// The baseline's answers, judged alike.
std::vector<Outcome> copy_baseline(const std::vector<Case>& cases);

}  // namespace cambium::eval
