#include "syntax/review_leftovers.h"

#include <algorithm>
#include <map>
#include <string>

#include "syntax/bytes.h"

namespace cambium::syntax {
namespace {

using sv = std::string_view;

constexpr size_t kFewestLeaves = 4, kMostLeaves = 80;
constexpr int kDeepest = 60;  ///< nodes below are not compared
/// More in one pair, and the two are alike by nature, not copied.
constexpr size_t kMostOfAPair = 2;

bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }

/// [begin, end) in a leaf's text.
struct Word {
  size_t begin = 0, end = 0;
};

/// `maxWidth2` is max, Width and 2; `HTTPServer` is HTTP and Server.
std::vector<Word> words_of(sv text) {
  std::vector<Word> words;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (is_digit(text[at])) {
      while (at < text.size() && is_digit(text[at])) ++at;
    } else if (is_lower(text[at])) {
      while (at < text.size() && is_lower(text[at])) ++at;
    } else if (is_upper(text[at])) {
      while (at < text.size() && is_upper(text[at])) ++at;
      if (at < text.size() && is_lower(text[at])) {
        if (at - begin > 1) {
          --at;
        } else {
          while (at < text.size() && is_lower(text[at])) ++at;
        }
      }
    } else {
      ++at;
      continue;
    }
    words.push_back({begin, at});
  }
  return words;
}

std::string folded(sv word) {
  std::string out(word);
  for (char& c : out) {
    if (is_upper(c)) c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

/// `word` (small letters) with capitals where `like` has them.
std::string in_the_style_of(sv like, std::string word) {
  const auto capital = [](char& c) {
    if (is_lower(c)) c = static_cast<char>(c - 'a' + 'A');
  };
  if (like.empty() || !is_upper(like[0]) || word.empty()) return word;
  if (like.size() > 1 && is_upper(like[1])) {
    for (char& c : word) capital(c);
  } else {
    capital(word[0]);
  }
  return word;
}

struct Leaf {
  TSSymbol symbol = 0;
  ByteRange range;
  bool named = false;
};

/// Calls `visit(child)`, until it returns false; which is returned then.
template <class Visit>
bool each_child(TSNode node, Visit visit) {
  struct Cursor {
    explicit Cursor(TSNode at) : cursor(ts_tree_cursor_new(at)) {}
    ~Cursor() { ts_tree_cursor_delete(&cursor); }
    Cursor(const Cursor&) = delete;
    TSTreeCursor cursor;
  } at(node);
  if (!ts_tree_cursor_goto_first_child(&at.cursor)) return true;
  do {
    if (!visit(ts_tree_cursor_current_node(&at.cursor))) return false;
  } while (ts_tree_cursor_goto_next_sibling(&at.cursor));
  return true;
}

/// False if there are more than fit, or something that does not parse.
bool collect(TSNode node, int depth, std::vector<Leaf>& leaves) {
  if (depth > kDeepest || ts_node_is_error(node) || ts_node_is_missing(node)) return false;
  if (ts_node_child_count(node) == 0) {
    if (leaves.size() == kMostLeaves) return false;
    leaves.push_back({ts_node_symbol(node),
                      {ts_node_start_byte(node), ts_node_end_byte(node)},
                      ts_node_is_named(node)});
    return true;
  }
  return each_child(node, [&](TSNode child) { return collect(child, depth + 1, leaves); });
}

/// A word of the first of two neighbours and what the second has in its place.
struct Pairing {
  size_t leaf = 0;
  Word in_second;
  std::string first, second;  ///< folded
};

/// What became of a word of the first.
struct Fate {
  std::string became;
  bool several = false;  ///< different things
  std::vector<const Pairing*> changed, kept;
};

class Comparer {
 public:
  Comparer(sv text, RepeatedStatements& out) : text_(text), out_(out) {}

  void compare(const std::vector<Leaf>& first, const std::vector<Leaf>& second) {
    if (first.size() != second.size() || first.size() < kFewestLeaves) return;
    std::vector<Pairing> pairings;
    for (size_t i = 0; i < first.size(); ++i) {
      if (first[i].symbol != second[i].symbol) return;
      if (!pair_words(i, text_of(first[i]), text_of(second[i]), first[i].named, pairings)) return;
    }
    std::map<std::string, Fate> fates;
    for (const Pairing& pairing : pairings) {
      Fate& fate = fates[pairing.first];
      if (pairing.first == pairing.second) {
        fate.kept.push_back(&pairing);
        continue;
      }
      fate.several |= !fate.changed.empty() && fate.became != pairing.second;
      fate.became = pairing.second;
      fate.changed.push_back(&pairing);
    }
    std::vector<Site> leftovers;
    for (const auto& [word, fate] : fates) {
      if (fate.several || fate.changed.empty()) continue;
      for (const Pairing* kept : fate.kept) {
        if (fate.kept.size() > fate.changed.size()) break;
        add(leftovers, second[kept->leaf], kept->in_second, fate.became);
      }
      if (!fate.kept.empty()) continue;
      for (const Pairing* changed : fate.changed) {
        if (changed->leaf != fate.changed.front()->leaf)
          add(out_.consistent, second[changed->leaf], changed->in_second, word);
      }
    }
    if (leftovers.size() > kMostOfAPair) return;
    for (Site& site : leftovers) out_.leftovers.push_back(std::move(site));
  }

 private:
  sv text_of(const Leaf& leaf) const {
    return text_.substr(leaf.range.begin, leaf.range.end - leaf.range.begin);
  }

  /// False if the two leaves are not alike enough for their neighbours to be.
  static bool pair_words(size_t leaf, sv first, sv second, bool named,
                         std::vector<Pairing>& pairings) {
    if (!named) return first == second;
    const std::vector<Word> from = words_of(first), to = words_of(second);
    if (from.empty() || to.empty()) return first == second;
    if (from.size() != to.size()) {
      // `width` became `max_height`: as a whole.
      pairings.push_back({leaf, {0, second.size()}, folded(first), folded(second)});
      return true;
    }
    for (size_t i = 0; i < from.size(); ++i) {
      pairings.push_back({leaf, to[i],
                          folded(first.substr(from[i].begin, from[i].end - from[i].begin)),
                          folded(second.substr(to[i].begin, to[i].end - to[i].begin))});
    }
    return true;
  }

  void add(std::vector<Site>& sites, const Leaf& leaf, Word word,
           const std::string& instead) const {
    const sv written = text_of(leaf);
    std::string other(written.substr(0, word.begin));
    other += in_the_style_of(written.substr(word.begin, word.end - word.begin), instead);
    other += written.substr(word.end);
    if (other != written)
      sites.push_back({SiteKind::leftover, leaf.range, {std::move(other)}, 0, {}});
  }

  sv text_;
  RepeatedStatements& out_;
};

void sort_by_place(std::vector<Site>& sites) {
  std::stable_sort(sites.begin(), sites.end(),
                   [](const Site& a, const Site& b) { return a.range.begin < b.range.begin; });
  // The same leaf told by two pairs, an outer and an inner one.
  sites.erase(std::unique(sites.begin(), sites.end(),
                          [](const Site& a, const Site& b) {
                            return a.range == b.range && a.alternatives == b.alternatives;
                          }),
              sites.end());
}

}  // namespace

RepeatedStatements repeated_statements(TSNode root, std::string_view text) {
  RepeatedStatements out;
  Comparer comparer(text, out);
  walk(root, [&](TSNode node, uint32_t) {
    if (ts_node_named_child_count(node) < 2) return true;
    std::vector<Leaf> before;
    each_child(node, [&](TSNode child) {
      if (!ts_node_is_named(child) || ts_node_is_extra(child)) return true;  // "," or a comment
      std::vector<Leaf> leaves;
      if (!collect(child, 0, leaves)) leaves.clear();
      comparer.compare(before, leaves);
      before = std::move(leaves);
      return true;
    });
    return true;
  });
  sort_by_place(out.leftovers);
  sort_by_place(out.consistent);
  return out;
}

}  // namespace cambium::syntax
