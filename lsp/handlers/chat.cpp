#include "lsp/handlers/chat.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "lsp/assist/text_window.h"
#include "lsp/handlers/questions.h"
#include "lsp/session.h"
#include "syntax/languages.h"
#include "syntax/outline.h"

namespace cambium::lsp {

namespace {

constexpr size_t kMostQuoted = 64 * 1024;   ///< of a document, bytes
constexpr uint32_t kMostLinesAround = 200;  ///< of the definition that a finding is explained with

/// The document's part as a message quotes it.
std::string quoted(const Snapshot& snapshot, syntax::ByteRange range) {
  const std::string_view text = *snapshot.text;
  const size_t begin = range.begin;
  size_t end = range.end;
  if (end - begin > kMostQuoted) {  // whole lines of it, where there are any
    end = begin + kMostQuoted;
    const size_t line = text.rfind('\n', end - 1);
    if (line != text.npos && line >= begin) end = line + 1;
    end = assist::floor_char_boundary(text, end);
  }
  const std::string_view part = text.substr(begin, end - begin);
  const uint32_t first = snapshot.lines.line_of(begin) + 1;
  const uint32_t last = snapshot.lines.line_of(part.ends_with('\n') ? end - 1 : end) + 1;
  const std::string name = path_part_of_uri(snapshot.uri);
  std::string fence = "```";
  while (part.find(fence) != part.npos) fence += '`';
  std::string out = name.substr(name.rfind('/') + 1);
  out += first == last ? ", line " + std::to_string(first)
                       : ", lines " + std::to_string(first) + " to " + std::to_string(last);
  out += ":\n" + fence + snapshot.language_id + "\n";
  out += part;
  if (!out.ends_with('\n')) out += '\n';
  return out + fence + "\n";
}

tl::expected<std::string, RpcError> quoted(Session& session, const std::string& uri,
                                           const std::optional<Range>& range) {
  const auto snapshot = shown_document(session, uri);
  if (!snapshot) return tl::unexpected(snapshot.error());
  const auto bytes = bytes_of(session, **snapshot, range);
  if (!bytes) return tl::unexpected(bytes.error());
  return quoted(**snapshot, *bytes);
}

/// Asks, streams what comes, and answers.
/// `show`: to clients that would not look at the answer too.
void ask(Session& session, assist::Question question, const Json& token, Reply reply,
         bool show = false) {
  question.cancel = engine::make_cancel_flag();
  const auto held = std::make_shared<Reply>(std::move(reply));
  held->on_abandoned([cancel = question.cancel] { cancel->store(true); });
  const std::string asked = question.messages.back().content;
  const auto shown_by = show ? session.weak_from_this() : std::weak_ptr<Session>();
  ask_in_words(session, std::move(question), token,
               [held, asked, shown_by](Result<assist::Answer> answer) {
                 if (answer) {
                   if (const auto owner = shown_by.lock())
                     owner->show_message(MessageType::info, answer->text);
                   (*held)(to_json(*answer, asked));
                 } else {
                   held->fail(code_of(answer.error()), answer.error().message);
                 }
               });
}

void chat(Session& session, ChatParams params, Reply reply) {
  assist::Question question;
  question.intent = params.intent;
  question.messages = std::move(params.messages);
  question.role = params.role;
  question.max_tokens = params.max_tokens;
  question.exact = params.exact;
  std::string quotes;
  for (const ChatAttachment& attachment : params.attachments) {
    const auto quote = quoted(session, attachment.uri, attachment.range);
    if (!quote) return reply.fail(quote.error().code, quote.error().message);
    quotes += *quote + "\n";
  }
  question.messages.back().content.insert(0, quotes);
  if (!params.attachments.empty()) question.slot_key = slot_of(params.attachments.front().uri);
  ask(session, std::move(question), params.partial_result_token, std::move(reply));
}

/// What a finding is explained with: the definition around it, or the lines near it.
syntax::ByteRange surroundings(const Snapshot& snapshot, syntax::ByteRange place) {
  const std::string_view text = *snapshot.text;
  const uint32_t first = snapshot.lines.line_of(place.begin);
  const uint32_t last = snapshot.lines.line_of(place.end);
  const auto start_of = [&](uint32_t line) {
    return line < snapshot.lines.line_count()
               ? static_cast<uint32_t>(snapshot.lines.line_start(line))
               : static_cast<uint32_t>(text.size());
  };
  if (snapshot.tree) {
    const auto items = syntax::outline(*snapshot.tree, text);
    // Inner ones come later.
    for (auto item = items.rbegin(); item != items.rend(); ++item) {
      const syntax::ByteRange& range = item->range;
      if (range.begin > place.begin || place.end > range.end) continue;
      const uint32_t begin = snapshot.lines.line_of(range.begin);
      const uint32_t end = snapshot.lines.line_of(range.end);
      if (end - begin <= kMostLinesAround) return {start_of(begin), start_of(end + 1)};
    }
  }
  constexpr uint32_t kNear = 15;
  return {start_of(first > kNear ? first - kNear : 0), start_of(last + kNear + 1)};
}

/// The question about a finding, with the code that it is about.
tl::expected<std::string, RpcError> about_finding(Session& session, const Snapshot& snapshot,
                                                  const std::string& fingerprint,
                                                  const std::string& question) {
  const auto known = session.reviews().finding(snapshot.uri, fingerprint);
  if (!known || *known->text != *snapshot.text) {
    return tl::unexpected(RpcError{RpcCode::request_failed, "this finding is gone"});
  }
  const assist::Finding& finding = known->finding;
  const std::string_view text = *snapshot.text;
  const auto line = [&](uint32_t at) { return std::to_string(snapshot.lines.line_of(at) + 1); };
  std::string out = quoted(snapshot, surroundings(snapshot, finding.range));
  out += "\nA review says of line " + line(finding.range.begin) + ": " + finding.message + "\n";
  const std::string_view place =
      text.substr(finding.range.begin, finding.range.end - finding.range.begin);
  if (!place.empty() && place.find('\n') == place.npos)
    out += "It is about: " + std::string(place) + "\n";
  for (const assist::RelatedPlace& related : finding.related) {
    out += "See also line " + line(related.range.begin) + ": " + related.message + "\n";
  }
  if (finding.fix) out += "It offers this fix: " + finding.fix->title + "\n";
  return out + "\n" +
         (question.empty()
              ? "Explain this finding: what goes wrong, when, and what to do about it. "
                "If the review is mistaken, say so and why. Be brief."
              : question);
}

}  // namespace

void explain(Session& session, const ExplainParams& params, Reply reply) {
  const auto snapshot = shown_document(session, params.uri);
  if (!snapshot) return reply.fail(snapshot.error().code, snapshot.error().message);
  assist::Question question;
  std::string asked;
  if (!params.finding.empty()) {
    question.intent = assist::Intent::why;
    auto about = about_finding(session, **snapshot, params.finding, params.question);
    if (!about) return reply.fail(about.error().code, about.error().message);
    asked = std::move(*about);
  } else {
    question.intent = assist::Intent::explain;
    const auto bytes = bytes_of(session, **snapshot, params.range);
    if (!bytes) return reply.fail(bytes.error().code, bytes.error().message);
    asked = quoted(**snapshot, *bytes) + "\n" +
            (params.question.empty()
                 ? "Explain what this code does and why it is written so: its purpose first, then "
                   "what a reader could trip over. Be brief."
                 : params.question);
  }
  question.messages = {{engine::ChatMessage::Role::user, std::move(asked)}};
  question.slot_key = slot_of(params.uri);
  ask(session, std::move(question), params.partial_result_token, std::move(reply), params.show);
}

void place(Session& session, const PlaceParams& params, Reply reply) {
  const auto snapshot = session.documents().snapshot(params.uri);
  if (!snapshot) return reply.fail(RpcCode::invalid_params, "uri: the document is not open");
  std::optional<syntax::ByteRange> selection;
  if (params.range) {
    const auto bytes = bytes_of(session, *snapshot, params.range);
    if (!bytes) return reply.fail(bytes.error().code, bytes.error().message);
    selection = *bytes;
  }
  const syntax::Language* language = syntax::language_by_id(snapshot->language_id);
  if (language == nullptr) language = syntax::language_of_file(snapshot->path);
  const auto placed = assist::place_block(language, *snapshot->text, params.text, selection);
  if (!placed) return reply.fail(RpcCode::request_failed, placed.error().message);
  Json edits = Json::array();
  for (const assist::TextChange& change : placed->changes) {
    const auto at = [&](uint32_t byte) {
      return snapshot->lines.position(*snapshot->text, byte, session.encoding());
    };
    edits.push_back({{"range", to_json(Range{at(change.range.begin), at(change.range.end)})},
                     {"newText", change.text}});
  }
  reply({{"version", snapshot->version},
         {"edits", std::move(edits)},
         {"replaced", placed->replaced},
         {"added", placed->added},
         {"leftOut", placed->left_out}});
}

void bind_chat(Session& session) {
  session.peer().on_request<ChatParams>("cambium/chat", Latency::document,
                                        [&session](ChatParams params, Reply reply) {
                                          chat(session, std::move(params), std::move(reply));
                                        });
}

}  // namespace cambium::lsp
