// Parser and tree, with ownership. Errors are absent values: a parse that ran out of time, was cancelled
// or was asked of too large a text gives no tree, and the caller goes on with what it had.
#pragma once

#include <tree_sitter/api.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "syntax/languages.h"
#include "syntax/scopes.h"

namespace cambium::syntax {

/// Bytes [begin, old_end) of a text are replaced by `inserted`.
struct Edit {
  uint32_t begin = 0, old_end = 0;
  std::string_view inserted;
};
/// `text` after the edit, whose places are clamped to it.
std::string applied(std::string_view text, Edit edit);
/// As tree-sitter wants it; rows and columns are counted in `text`, the one before the edit.
TSInputEdit input_edit(std::string_view text, Edit edit);

/// The tree of one text. Copies are cheap (ts_tree_copy) and each may be used by another thread.
class Tree {
 public:
  Tree(const Language& language, TSTree* owned) : language_(&language), tree_(owned) {}
  Tree(const Tree& other) : language_(other.language_), tree_(ts_tree_copy(other.tree_.get())) {}
  Tree& operator=(const Tree& other) { return *this = Tree(other); }
  Tree(Tree&&) = default;
  Tree& operator=(Tree&&) = default;

  const Language& language() const { return *language_; }
  TSNode root() const { return ts_tree_root_node(tree_.get()); }
  bool has_error() const { return ts_node_has_error(root()); }
  const TSTree* get() const { return tree_.get(); }
  /// Moves the nodes by the edit, ready to be the `old` of a parse of the new text.
  void edit(const TSInputEdit& edit) { ts_tree_edit(tree_.get(), &edit); }

 private:
  struct Delete {
    void operator()(TSTree* tree) const { ts_tree_delete(tree); }
  };
  const Language* language_;
  std::unique_ptr<TSTree, Delete> tree_;
};

struct ParseLimits {
  std::chrono::microseconds time = std::chrono::microseconds::max();
  /// Of the parser's polls, one every hundred of its steps: a bound that no load of the machine moves.
  uint64_t polls = std::numeric_limits<uint64_t>::max();
  const std::atomic<bool>* cancel = nullptr;  ///< polled; may be null
};

/// Not for use by two threads at a time.
class Parser {
 public:
  explicit Parser(const Language& language);
  /// No tree if a limit was reached or the text is larger than kMaxText. `old` must have been edited.
  std::optional<Tree> parse(std::string_view text, const Tree* old = nullptr,
                            ParseLimits limits = {});
  const Language& language() const { return *language_; }

 private:
  struct Delete {
    void operator()(TSParser* parser) const { ts_parser_delete(parser); }
  };
  const Language* language_;
  std::unique_ptr<TSParser, Delete> parser_;
};

/// Calls `visit(node, depth)` for every node of the subtree in pre-order, without recursion; a false
/// return skips the node's children.
template <class Visit>
void walk(TSNode root, Visit visit) {
  struct Cursor {
    explicit Cursor(TSNode node) : cursor(ts_tree_cursor_new(node)) {}
    ~Cursor() { ts_tree_cursor_delete(&cursor); }
    Cursor(const Cursor&) = delete;
    TSTreeCursor cursor;
  } at(root);
  for (uint32_t depth = 0;;) {
    if (visit(ts_tree_cursor_current_node(&at.cursor), depth) &&
        ts_tree_cursor_goto_first_child(&at.cursor)) {
      ++depth;
      continue;
    }
    while (!ts_tree_cursor_goto_next_sibling(&at.cursor)) {
      if (depth == 0 || !ts_tree_cursor_goto_parent(&at.cursor)) return;
      --depth;
    }
    if (depth == 0) return;
  }
}

}  // namespace cambium::syntax
