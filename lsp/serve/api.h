// The shapes `cambium serve` speaks: OpenAI's completions and chat, llama.cpp's infill. JSON to
// engine requests and back; no sockets. Pure functions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/generator.h"
#include "engine/request.h"
#include "lsp/assist/json_schema.h"
#include "lsp/assist/router.h"

namespace cambium::lsp::serve {

enum class Endpoint : uint8_t { completions, chat, infill };
const char* to_string(Endpoint endpoint);

struct ApiError {
  int status = 400;  ///< of HTTP
  std::string message;
};
ApiError api_error(const Error& error);
/// {"error": {"message", "type", "code"}}
std::string error_body(const ApiError& error);

struct ApiRequest {
  Endpoint endpoint = Endpoint::completions;
  engine::Request request;        ///< text is set; sampling where the client said something
  bool sampling_given = false;    ///< false: the model's own defaults
  bool max_tokens_given = false;  ///< false: as many as fit
  bool stream = false, logprobs = false;
  std::shared_ptr<const assist::JsonSchema> form;  ///< response_format; null: any text
  std::string model;  ///< a role or a model's name; empty: the endpoint's own
};
/// Unknown fields are ignored, as OpenAI's clients send many; what would change the answer and is
/// not there (n > 1, echo, tools) is refused.
tl::expected<ApiRequest, ApiError> read_request(Endpoint endpoint, std::string_view body);

/// What every part of one answer repeats.
struct AnswerHead {
  Endpoint endpoint = Endpoint::completions;
  std::string id, model;
  int64_t created = 0;  ///< Unix time
  bool logprobs = false;
  assist::Route route;  ///< who answered and why: in the timings
};
struct AnswerText {
  std::string_view text, thinking;
};
/// One event of a stream.
std::string piece_body(const AnswerHead& head, const AnswerText& piece);
/// The event before the end of a stream: why it ended, and the counts.
std::string end_body(const AnswerHead& head, const engine::Generated& generated);
/// A whole answer.
std::string answer_body(const AnswerHead& head, const engine::Generated& generated,
                        const AnswerText& whole);

}  // namespace cambium::lsp::serve
