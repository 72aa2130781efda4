#include "lsp/handlers/questions.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "lsp/session.h"

namespace cambium::lsp {

tl::expected<SnapshotPtr, RpcError> shown_document(Session& session, const std::string& uri) {
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
  auto snapshot = session.documents().snapshot(uri);
  if (!snapshot) {
    return tl::unexpected(RpcError{RpcCode::invalid_params, "uri: the document is not open"});
  }
  return snapshot;
}

tl::expected<syntax::ByteRange, RpcError> bytes_of(const Session& session, const Snapshot& snapshot,
                                                   const std::optional<Range>& range) {
  const std::string_view text = *snapshot.text;
  if (!range) return syntax::ByteRange{0, static_cast<uint32_t>(text.size())};
  const auto from = snapshot.lines.offset(text, range->start, session.encoding());
  const auto to = snapshot.lines.offset(text, range->end, session.encoding());
  if (!from || !to || *from > *to) {
    return tl::unexpected(RpcError{RpcCode::invalid_params, "range: not in the document"});
  }
  return syntax::ByteRange{static_cast<uint32_t>(*from), static_cast<uint32_t>(*to)};
}

uint64_t slot_of(const std::string& uri) { return std::hash<std::string>{}(uri) | 1; }

RpcCode code_of(const Error& error) {
  return error.code == ErrorCode::invalid_argument ? RpcCode::invalid_params
                                                   : RpcCode::request_failed;
}

void ask_in_words(Session& session, assist::Question question, const Json& token,
                  std::function<void(Result<assist::Answer>)> answered) {
  question.priority = engine::Priority::normal;
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
  session.context().assistant->ask(
      std::move(question), std::move(on_piece),
      [strand, log = session.log(), answered = std::move(answered)](Result<assist::Answer> answer) {
        // By the strand, so that it comes after the last piece.
        boost::asio::post(strand, [log, answered, answer = std::move(answer)]() mutable {
          if (answer) {
            log->info("answered by {}: {}; classified in {:.2f} ms", answer->route.model,
                      answer->route.reason, answer->route.classify_ms);
          }
          answered(std::move(answer));
        });
      });
}

}  // namespace cambium::lsp
