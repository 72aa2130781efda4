#include "lsp/handlers/chat.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <memory>
#include <utility>

#include "lsp/assist/text_window.h"
#include "lsp/session.h"

namespace cambium::lsp {

namespace {

constexpr size_t kMostQuoted = 64 * 1024;  ///< of a document, bytes

/// The document's part as a message quotes it. Errors are for the client.
tl::expected<std::string, RpcError> quoted(Session& session, const std::string& uri,
                                           const std::optional<Range>& range) {
  const std::string path = path_of_uri(uri);
  std::string refused;
  if (!path.empty()) {
    refused = session.privacy().why_private(path);
  } else if (assist::names_secrets(path_part_of_uri(uri))) {
    refused = "files of this name hold secrets and are never read";
  }
  if (!refused.empty()) {
    return tl::unexpected(RpcError{RpcCode::request_failed, "not shown to a model: " + refused});
  }
  const auto snapshot = session.documents().snapshot(uri);
  if (!snapshot) {
    return tl::unexpected(RpcError{RpcCode::invalid_params, "uri: the document is not open"});
  }
  const std::string_view text = *snapshot->text;
  size_t begin = 0, end = text.size();
  if (range) {
    const auto from = snapshot->lines.offset(text, range->start, session.encoding());
    const auto to = snapshot->lines.offset(text, range->end, session.encoding());
    if (!from || !to || *from > *to) {
      return tl::unexpected(RpcError{RpcCode::invalid_params, "range: not in the document"});
    }
    begin = *from;
    end = *to;
  }
  if (end - begin > kMostQuoted) {  // whole lines of it, where there are any
    end = begin + kMostQuoted;
    const size_t line = text.rfind('\n', end - 1);
    if (line != text.npos && line >= begin) end = line + 1;
    end = assist::floor_char_boundary(text, end);
  }
  const std::string_view part = text.substr(begin, end - begin);
  const uint32_t first = snapshot->lines.line_of(begin) + 1;
  const uint32_t last = snapshot->lines.line_of(part.ends_with('\n') ? end - 1 : end) + 1;
  const std::string name = path_part_of_uri(uri);
  std::string fence = "```";
  while (part.find(fence) != part.npos) fence += '`';
  std::string out = name.substr(name.rfind('/') + 1);
  out += first == last ? ", line " + std::to_string(first)
                       : ", lines " + std::to_string(first) + " to " + std::to_string(last);
  out += ":\n" + fence + snapshot->language_id + "\n";
  out += part;
  if (!out.ends_with('\n')) out += '\n';
  return out + fence + "\n";
}

/// Questions about one document go to one slot, where its text is still in the KV cache.
uint64_t slot_of(const std::string& uri) { return std::hash<std::string>{}(uri) | 1; }

RpcCode code_of(const Error& error) {
  return error.code == ErrorCode::invalid_argument ? RpcCode::invalid_params
                                                   : RpcCode::request_failed;
}

/// Asks, streams what comes, and answers.
void ask(Session& session, assist::Question question, const Json& token, Reply reply) {
  question.cancel = engine::make_cancel_flag();
  question.priority = engine::Priority::normal;
  const auto held = std::make_shared<Reply>(std::move(reply));
  held->on_abandoned([cancel = question.cancel] { cancel->store(true); });
  const auto strand = session.context().strand;
  assist::OnPiece on_piece;
  if (!token.is_null()) {
    on_piece = [weak = session.weak_from_this(), strand, token,
                cancel = question.cancel](assist::AnswerPiece piece) {
      Json value = {
          {"kind", piece.kind == assist::AnswerPiece::Kind::thinking ? "thinking" : "text"},
          {"text", std::string(piece.text)}};
      boost::asio::post(strand, [weak, cancel, token, value = std::move(value)]() mutable {
        const auto owner = weak.lock();
        if (!owner || cancel->load()) return;  // after the answer, or nobody listens
        owner->peer().notify("$/progress", {{"token", token}, {"value", std::move(value)}});
      });
    };
  }
  const auto answered = [held, strand, log = session.log()](Result<assist::Answer> answer) {
    // By the strand, so that it comes after the last piece.
    boost::asio::post(strand, [held, log, answer = std::move(answer)] {
      if (answer) {
        log->info("answered by {}: {}; classified in {:.2f} ms", answer->route.model,
                  answer->route.reason, answer->route.classify_ms);
        (*held)(to_json(*answer));
      } else {
        held->fail(code_of(answer.error()), answer.error().message);
      }
    });
  };
  session.context().assistant->ask(std::move(question), std::move(on_piece), answered);
}

void chat(Session& session, ChatParams params, Reply reply) {
  assist::Question question;
  question.intent = params.intent;
  question.messages = std::move(params.messages);
  question.role = params.role;
  question.max_tokens = params.max_tokens;
  question.exact = params.exact;
  if (!params.uri.empty()) {
    auto quote = quoted(session, params.uri, params.range);
    if (!quote) return reply.fail(quote.error().code, quote.error().message);
    std::string& asked = question.messages.back().content;
    asked = *quote + "\n" + asked;
    question.slot_key = slot_of(params.uri);
  }
  ask(session, std::move(question), params.partial_result_token, std::move(reply));
}

}  // namespace

void explain(Session& session, const ExplainParams& params, Reply reply) {
  auto quote = quoted(session, params.uri, params.range);
  if (!quote) return reply.fail(quote.error().code, quote.error().message);
  assist::Question question;
  question.intent = assist::Intent::explain;
  const std::string asked =
      params.question.empty()
          ? "Explain what this code does and why it is written so: its purpose first, then what a "
            "reader could trip over. Be brief."
          : params.question;
  question.messages = {{engine::ChatMessage::Role::user, *quote + "\n" + asked}};
  question.slot_key = slot_of(params.uri);
  ask(session, std::move(question), params.partial_result_token, std::move(reply));
}

void bind_chat(Session& session) {
  session.peer().on_request<ChatParams>("cambium/chat", Latency::document,
                                        [&session](ChatParams params, Reply reply) {
                                          chat(session, std::move(params), std::move(reply));
                                        });
}

}  // namespace cambium::lsp
