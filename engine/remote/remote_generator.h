// A model behind an OpenAI-compatible endpoint: vLLM, SGLang, llama-server, Ollama, or another
// Cambium's serve. The Generator interface over HTTP(S).
//
// What a remote engine lacks is in its capabilities: no token prompts, no scores, no structure. A
// StepController is asked for each piece of text that arrives and can end the stream, but cannot
// refuse a token (that ends it too).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/generator.h"
#include "engine/remote/http_client.h"
#include "engine/remote/openai.h"

namespace cambium::engine {

struct RemoteOptions {
  std::string url;    ///< the base: "http://127.0.0.1:8000/v1"
  std::string model;  ///< as the endpoint calls it; may be empty for llama-server
  std::string key;    ///< sent as a bearer token; never shown or logged
  FimStyle fim = FimStyle::none;
  std::optional<FimSpellings> spellings;  ///< unset: by the model's name
  int32_t context = 0;                    ///< tokens; 0: not known
  std::optional<bool> thinks;             ///< unset: if its answers begin so
  HttpOptions http;
};

/// Connects to nothing yet. Errors: invalid_argument (the URL, a FIM style without spellings).
Result<std::shared_ptr<Generator>> make_remote(RemoteOptions options);

}  // namespace cambium::engine
