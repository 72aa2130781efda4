// The tree and the scopes of one open document, kept fresh under edits without ever delaying a request.
//
// apply_edit() shifts the last good scopes by the edit (microseconds) and schedules a reparse; scopes()
// returns the best map there is now: that of the current text if the parse is done, else the last good
// one shifted. Parsing runs with a time limit on the parse thread, and is abandoned when a newer edit
// comes.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "syntax/languages.h"
#include "syntax/outline.h"
#include "syntax/parse_thread.h"
#include "syntax/scopes.h"
#include "syntax/tree.h"

namespace cambium::syntax {

/// What is known of one version of the text. Immutable; may be shared between threads.
struct SyntaxSnapshot {
  std::shared_ptr<const ScopeMap> scopes;  ///< never null; of this text, exact or shifted
  std::shared_ptr<const Tree> tree;  ///< of this very text; null while there is none. Copy to use
  std::shared_ptr<const std::vector<OutlineItem>>
      outline;            ///< of the last parsed text; may be null
  uint64_t revision = 0;  ///< counts the edits
  bool exact = false;     ///< scopes and outline are those of this text
};

/// Owned and edited by one thread; snapshots may be taken by any.
class DocumentTree {
 public:
  struct Options {
    /// A text whose parse takes longer has scopes without names until it is edited again.
    ParseLimits parse = {.time = std::chrono::milliseconds(1000)};
  };
  /// Null `language`, or a text over kMaxText: the file is the only scope and nothing is ever parsed.
  /// Does not parse: the first snapshots are those of a text without a tree.
  DocumentTree(const Language* language, std::string text, std::shared_ptr<ParseThread> thread)
      : DocumentTree(language, std::move(text), std::move(thread), Options()) {}
  DocumentTree(const Language* language, std::string text, std::shared_ptr<ParseThread> thread,
               Options options);
  /// Does not wait for a parse that is running.
  ~DocumentTree();
  DocumentTree(const DocumentTree&) = delete;
  DocumentTree& operator=(const DocumentTree&) = delete;

  /// Bytes of the current text; places outside it are clamped. Under a millisecond at 10,000 lines.
  void apply_edit(const Edit& edit);
  /// Replaces the whole text.
  void set_text(std::string text);

  const Language* language() const;
  std::shared_ptr<const std::string> text() const;
  SyntaxSnapshot snapshot() const;
  std::shared_ptr<const ScopeMap> scopes() const { return snapshot().scopes; }

  /// Waits until the current text is parsed (true) or the time is over; for command lines and tests.
  bool wait(std::chrono::milliseconds limit) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cambium::syntax
