// The shapes that OpenAI's API and llama.cpp's server speak, from our side: requests out, streamed
// answers in. Pure functions of text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "engine/result.h"

namespace cambium::engine {

/// How an endpoint is asked to fill in the middle.
enum class FimStyle : uint8_t {
  none,    ///< it can't
  suffix,  ///< /v1/completions with `suffix` (Ollama, our own serve)
  raw,     ///< /v1/completions, the model's special tokens spelled out in the prompt (vLLM, SGLang)
  infill,  ///< llama.cpp's /infill
};

/// The spellings of a model's fill-in-the-middle tokens.
struct FimSpellings {
  std::string prefix, suffix, middle;
};
/// Of a model by its name: DeepSeek-Coder and V2/V3, Qwen-Coder, StarCoder, CodeLlama.
std::optional<FimSpellings> known_fim_spellings(std::string_view model);

/// What a request is sent as.
struct Outgoing {
  std::string path;  ///< after the endpoint's base URL; "/infill" goes to the server's root
  bool at_root = false;
  std::string body;  ///< JSON
};
struct OutgoingOptions {
  std::string model;
  FimStyle fim = FimStyle::none;
  std::optional<FimSpellings> spellings;  ///< of FimStyle::raw
};
/// Errors: unsupported (token ids, a FIM prompt where the endpoint has none), a sentence to show.
Result<Outgoing> outgoing(const Request& request, const OutgoingOptions& options);

/// What one event of a stream, or a whole answer, adds.
struct Delta {
  std::string text, reasoning;
  std::vector<float> logprobs;
  std::string finish;  ///< "stop", "length", …; empty: not the end
  bool done = false;   ///< nothing follows
  std::optional<int32_t> prompt_tokens, generated_tokens, reused_tokens;
  std::optional<double> prefill_ms, decode_ms;
};
/// `data` is an event's data or a whole JSON body. Errors: bad_format (no JSON, no answer in it),
/// unavailable (the server reports an error in mid-stream).
Result<Delta> read_delta(std::string_view data);

/// The message inside an error body, whatever its shape; the body's beginning where there is none.
std::string error_message(std::string_view body);

}  // namespace cambium::engine
