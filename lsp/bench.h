// What the server costs beside the model: a session that types, with a generator that answers at
// once.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "engine/generator.h"
#include "engine/result.h"

namespace cambium::lsp {

struct OverheadReport {
  size_t lines = 0, requests = 0;
  /// Milliseconds of one keystroke and its suggestion: the bytes of didChange and inlineCompletion
  /// in, the bytes of the answer out. Parsing goes on beside it, as in a real session.
  double p50_ms = 0, p99_ms = 0, max_ms = 0;
  /// Of which the part until the model was asked: protocol, text, scopes, prompt, labels.
  double before_model_p50_ms = 0, before_model_p99_ms = 0;
  size_t suggested = 0;  ///< answers that held an item
};

/// Types `requests` characters into a C++ file of about `lines` lines, at several places, and asks
/// for ghost text after each. `model` gives tokenizer, prompt format and capabilities; it never
/// generates. Runs on the calling thread, no process-wide state. Errors: unsupported (a model
/// without a tokenizer of its own), unavailable (an answer did not come within ten seconds).
Result<OverheadReport> measure_overhead(std::shared_ptr<engine::Generator> model, size_t lines,
                                        size_t requests);

}  // namespace cambium::lsp
