// The open documents of one session: what the client says they hold, as immutable snapshots.
//
// Threading: DocumentStore belongs to the strand; a Snapshot may be shared with any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "engine/result.h"
#include "lsp/protocol/documents.h"
#include "lsp/text.h"
#include "syntax/document_tree.h"

namespace cambium::lsp {

/// A document as it was at one version.
struct Snapshot {
  std::string uri;
  std::string path;  ///< of a file: URI; else empty
  std::string language_id;
  int32_t version = 0;
  std::shared_ptr<const std::string> text;  ///< UTF-8, line ends as they are
  LineIndex lines;
  std::shared_ptr<const syntax::ScopeMap> scopes;  ///< never null; the best there was
  std::shared_ptr<const syntax::Tree> tree;        ///< of this very text; null: not parsed yet
};

class DocumentStore {
 public:
  /// `parser` parses in the background for all stores of the process.
  explicit DocumentStore(std::shared_ptr<syntax::ParseThread> parser,
                         size_t max_document_bytes = size_t{8} << 20)
      : parser_(std::move(parser)), max_bytes_(max_document_bytes) {}

  /// Opens, or replaces what was open under that URI.
  void open(DidOpenParams params);
  /// Applies the changes in order. An error means that the client's text and ours have parted (an
  /// edit outside the text, an edit of a document that is not open): the document then answers
  /// problem() until the client sends its whole text or opens it again.
  Result<void> change(const DidChangeParams& params, PositionEncoding encoding);
  void close(const std::string& uri);

  bool is_open(const std::string& uri) const { return documents_.contains(uri); }
  size_t size() const { return documents_.size(); }
  /// Why the document cannot be completed in, for the user; empty: it can.
  std::string problem(const std::string& uri) const;
  /// Null where problem() is not empty. The scopes are those known now: a parse that ends later is
  /// seen by the next call.
  std::shared_ptr<const Snapshot> snapshot(const std::string& uri);

 private:
  enum class State : uint8_t { usable, too_large, binary, out_of_sync };
  struct Document {
    std::string path, language_id;
    int32_t version = 0;
    State state = State::usable;
    std::unique_ptr<syntax::DocumentTree> tree;  ///< holds the text; null unless usable
    LineIndex lines;
    std::shared_ptr<const Snapshot> snapshot;  ///< of this version, once asked for

    void give_up(State why);
  };

  void set_text(Document& document, std::string text) const;
  Result<void> apply(Document& document, const ContentChange& change,
                     PositionEncoding encoding) const;

  std::shared_ptr<syntax::ParseThread> parser_;
  size_t max_bytes_;
  std::unordered_map<std::string, Document> documents_;
};

}  // namespace cambium::lsp
