#include "lsp/documents.h"

#include <utility>

namespace cambium::lsp {

namespace {

std::string describe(const Position& position) {
  return std::to_string(position.line) + ":" + std::to_string(position.character);
}

/// Some clients name the end of the text as the line after the last; nothing else past the end
/// means anything.
std::optional<size_t> edit_offset(const LineIndex& lines, std::string_view text, Position position,
                                  PositionEncoding encoding) {
  if (position.line == lines.line_count()) return text.size();
  return lines.offset(text, position, encoding);
}

}  // namespace

void DocumentStore::Document::give_up(State why) {
  state = why;
  tree.reset();
  lines = {};
}

void DocumentStore::set_text(Document& document, std::string text) const {
  if (text.size() > max_bytes_) {
    document.give_up(State::too_large);
  } else if (text.find('\0') != std::string::npos) {
    document.give_up(State::binary);
  } else {
    document.state = State::usable;
    document.lines = LineIndex(text);
    if (document.tree) {
      document.tree->set_text(std::move(text));
      return;
    }
    const syntax::Language* language = syntax::language_by_id(document.language_id);
    if (language == nullptr) {
      language = syntax::language_of_file(document.path, std::string_view(text).substr(0, 256));
    }
    document.tree = std::make_unique<syntax::DocumentTree>(language, std::move(text), parser_);
  }
}

void DocumentStore::open(DidOpenParams params) {
  Document document;
  document.path = path_of_uri(params.uri);
  document.language_id = std::move(params.language_id);
  document.version = params.version;
  set_text(document, std::move(params.text));
  documents_.insert_or_assign(std::move(params.uri), std::move(document));
}

void DocumentStore::close(const std::string& uri) { documents_.erase(uri); }

Result<void> DocumentStore::change(const DidChangeParams& params, PositionEncoding encoding) {
  const auto found = documents_.find(params.uri);
  if (found == documents_.end()) {
    return fail(ErrorCode::not_found,
                "a change of a document that is not open was ignored: " + params.uri);
  }
  Document& document = found->second;
  document.snapshot.reset();
  document.version = params.version.value_or(document.version + 1);
  for (const ContentChange& change : params.changes) {
    if (!change.range) {
      set_text(document, change.text);
      continue;
    }
    if (document.state != State::usable) continue;  // only a whole text helps
    if (auto applied = apply(document, change, encoding); !applied) {
      document.give_up(State::out_of_sync);
      return fail(applied.error().code, applied.error().message + " in " + params.uri +
                                            "; close and open the file again to go on");
    }
  }
  return {};
}

Result<void> DocumentStore::apply(Document& document, const ContentChange& change,
                                  PositionEncoding encoding) const {
  const auto text = document.tree->text();
  const auto begin = edit_offset(document.lines, *text, change.range->start, encoding);
  const auto end = edit_offset(document.lines, *text, change.range->end, encoding);
  if (!begin || !end || *begin > *end) {
    return fail(ErrorCode::invalid_argument,
                "the editor changed " + describe(change.range->start) + " to " +
                    describe(change.range->end) + " of a text with " +
                    std::to_string(document.lines.line_count()) + " lines, which it does not hold");
  }
  if (text->size() - (*end - *begin) + change.text.size() > max_bytes_) {
    document.give_up(State::too_large);
  } else if (change.text.find('\0') != std::string::npos) {
    document.give_up(State::binary);
  } else {
    document.tree->apply_edit(
        {static_cast<uint32_t>(*begin), static_cast<uint32_t>(*end), change.text});
    document.lines.replaced(*document.tree->text(), *begin, *end, change.text.size());
  }
  return {};
}

std::string DocumentStore::problem(const std::string& uri) const {
  const auto found = documents_.find(uri);
  if (found == documents_.end()) return "this file is not open";
  switch (found->second.state) {
    case State::usable:
      return {};
    case State::too_large:
      return "this file is larger than " + std::to_string(max_bytes_ >> 20) + " MiB";
    case State::binary:
      return "this file is not text";
    case State::out_of_sync:
      return "this file's text is out of step with the editor; close and open it again";
  }
  return {};
}

std::shared_ptr<const Snapshot> DocumentStore::snapshot(const std::string& uri) {
  const auto found = documents_.find(uri);
  if (found == documents_.end() || found->second.state != State::usable) return nullptr;
  Document& document = found->second;
  const syntax::SyntaxSnapshot syntax = document.tree->snapshot();
  if (!document.snapshot || document.snapshot->scopes != syntax.scopes ||
      document.snapshot->tree != syntax.tree) {
    auto fresh = std::make_shared<Snapshot>();
    fresh->uri = uri;
    fresh->path = document.path;
    fresh->language_id = document.language_id;
    fresh->version = document.version;
    fresh->text = document.tree->text();
    fresh->lines = document.lines;
    fresh->scopes = syntax.scopes;
    fresh->tree = syntax.tree;
    document.snapshot = std::move(fresh);
  }
  return document.snapshot;
}

}  // namespace cambium::lsp
