#include "syntax/tree_scopes.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>

#include "syntax/bytes.h"
#include "syntax/queries/embedded.h"

namespace cambium::syntax {
namespace {

// No pattern begins deeper than this. What a person writes stays under a few hundred.
constexpr uint32_t kMaxDepth = 600;
// Ten thousand lines take 20 ms. A text that takes longer than this has no names.
constexpr std::chrono::milliseconds kLimit{500};
constexpr size_t kMaxName = 120;  // bytes

std::string_view text_of(std::string_view text, ByteRange range) {
  if (range.begin >= text.size() || range.end <= range.begin) return {};
  return text.substr(range.begin, range.end - range.begin);
}

/// What of a name is shown: its first line, not too much of it, and whole characters.
std::string shortened(std::string_view name) {
  name = name.substr(0, name.find_first_of("\r\n"));
  if (name.size() > kMaxName) name = name.substr(0, char_begin(name, kMaxName));
  return std::string(name);
}

ByteRange range_of(TSNode node) { return {ts_node_start_byte(node), ts_node_end_byte(node)}; }

/// `#any-of? @capture "a" "b"`: the only predicate the queries use.
struct AnyOf {
  uint32_t capture;
  std::vector<std::string> values;
};

struct Query {
  struct Delete {
    void operator()(TSQuery* query) const { ts_query_delete(query); }
  };
  std::unique_ptr<TSQuery, Delete> query;
  std::string error;
  uint32_t owner = UINT32_MAX, import = UINT32_MAX;  ///< capture ids
  std::vector<std::optional<ScopeKind>> kinds;       ///< by capture id
  std::vector<std::string_view> definitions;         ///< by capture id; empty: no definition
  std::vector<std::vector<AnyOf>> predicates;        ///< by pattern
  std::vector<TSSymbol> placed;                      ///< see wants_place(); ascending
};

std::optional<ScopeKind> kind_of(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(ScopeKind::entry); ++i)
    if (name == to_string(static_cast<ScopeKind>(i))) return static_cast<ScopeKind>(i);
  return std::nullopt;
}

/// The kinds that stand below the first of a pattern which captures one of them, as `b` and `c` in
/// (a (b (c) @import)). A TSQuery does not say; its source does.
std::vector<TSSymbol> placed_kinds(const TSLanguage* grammar, std::string_view source) {
  std::vector<TSSymbol> all, here;
  int depth = 0;
  bool captured = false;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == ';') i = std::min(source.find('\n', i), source.size() - 1);
    if (source[i] == '"') i = std::min(source.find('"', i + 1), source.size() - 1);
    if (source[i] == '(' && ++depth > 1) {
      size_t end = i + 1;
      while (end < source.size() && (is_letter(source[end]) || source[end] == '_')) ++end;
      const std::string_view kind = source.substr(i + 1, end - i - 1);
      here.push_back(ts_language_symbol_for_name(grammar, kind.data(),
                                                 static_cast<uint32_t>(kind.size()), true));
    }
    const std::string_view rest = source.substr(i);
    if (depth > 0 && (rest.starts_with("@import") || rest.starts_with("@definition")))
      captured = true;
    if (source[i] == ')' && --depth == 0) {
      if (captured) all.insert(all.end(), here.begin(), here.end());
      here.clear();
      captured = false;
    }
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

Query compile(const Language& language) {
  Query out;
  const std::string_view source = embedded_query(language.name);
  uint32_t offset = 0;
  TSQueryError error = TSQueryErrorNone;
  out.query.reset(ts_query_new(language.grammar(), source.data(),
                               static_cast<uint32_t>(source.size()), &offset, &error));
  if (!out.query) {
    const size_t line =
        1 + static_cast<size_t>(std::count(source.begin(), source.begin() + offset, '\n'));
    out.error = std::string(language.name) + ".scm:" + std::to_string(line) + ": error " +
                std::to_string(error) + " near \"" + std::string(source.substr(offset, 40)) + "\"";
    return out;
  }
  const TSQuery* query = out.query.get();
  const uint32_t captures = ts_query_capture_count(query);
  for (uint32_t i = 0; i < captures; ++i) {
    uint32_t size = 0;
    const char* data = ts_query_capture_name_for_id(query, i, &size);
    const std::string_view name(data, size);
    constexpr std::string_view kDefinition = "definition.";
    if (name == "owner") out.owner = i;
    if (name == "import") out.import = i;
    out.kinds.push_back(kind_of(name));
    out.definitions.push_back(name.starts_with(kDefinition) ? name.substr(kDefinition.size())
                                                            : std::string_view());
  }
  out.placed = placed_kinds(language.grammar(), source);
  out.predicates.resize(ts_query_pattern_count(query));
  for (uint32_t pattern = 0; pattern < out.predicates.size(); ++pattern) {
    uint32_t steps = 0;
    const TSQueryPredicateStep* step = ts_query_predicates_for_pattern(query, pattern, &steps);
    const auto string = [&](uint32_t id) {
      uint32_t size = 0;
      const char* data = ts_query_string_value_for_id(query, id, &size);
      return std::string(data, size);
    };
    for (uint32_t i = 0; i + 2 < steps; ++i) {
      if (string(step[i].value_id) != "any-of?" ||
          step[i + 1].type != TSQueryPredicateStepTypeCapture) {
        out.error =
            std::string(language.name) + ".scm: unknown predicate " + string(step[i].value_id);
        return out;
      }
      AnyOf predicate{step[i + 1].value_id, {}};
      for (i += 2; i < steps && step[i].type == TSQueryPredicateStepTypeString; ++i)
        predicate.values.push_back(string(step[i].value_id));
      out.predicates[pattern].push_back(std::move(predicate));
    }
  }
  return out;
}

// Compiled at the first use of a language (some take 20 ms) and constant from then on.
const Query& query_of(const Language& language) {
  static std::array<std::once_flag, 64> once;
  static std::array<Query, 64> queries;
  const size_t i = static_cast<size_t>(&language - languages().data());
  std::call_once(once[i], [&] { queries[i] = compile(language); });
  return queries[i];
}

// "div#main" of <div class="wide" id="main">.
std::string element_name(TSNode start_tag, std::string_view text) {
  std::string name;
  const uint32_t children = std::min(ts_node_named_child_count(start_tag), 32u);
  for (uint32_t i = 0; i < children; ++i) {
    const TSNode child = ts_node_named_child(start_tag, i);
    if (i == 0) name = text_of(text, range_of(child));
    if (std::string_view(ts_node_type(child)) != "attribute") continue;
    const TSNode attribute = ts_node_named_child(child, 0), quoted = ts_node_named_child(child, 1);
    if (ts_node_is_null(quoted) || text_of(text, range_of(attribute)) != "id") continue;
    std::string_view value = text_of(text, range_of(quoted));
    if (value.size() >= 2 && one_of(value.front(), "\"'"))
      value = value.substr(1, value.size() - 2);
    if (value.empty()) continue;
    name += "#";
    name += value;
  }
  return shortened(name);
}

// "A" of "<h1>A</h1>".
std::string title_of(TSNode element, std::string_view text) {
  const uint32_t children = ts_node_child_count(element);
  if (children < 2) return {};
  std::string_view name = text_of(text, {ts_node_end_byte(ts_node_child(element, 0)),
                                         ts_node_start_byte(ts_node_child(element, children - 1))});
  while (!name.empty() && is_space(name.front())) name.remove_prefix(1);
  return shortened(name);
}

// "A" of "## A ##".
std::string heading_name(TSNode heading, std::string_view text) {
  constexpr std::string_view kContent = "heading_content";
  const TSNode content =
      ts_node_child_by_field_name(heading, kContent.data(), static_cast<uint32_t>(kContent.size()));
  if (ts_node_is_null(content)) return {};
  std::string_view name = text_of(text, range_of(content));
  const size_t end = name.find_last_not_of('#');
  if (end != name.npos && is_space(name[end])) name = name.substr(0, end);
  while (!name.empty() && is_space(name.back())) name.remove_suffix(1);
  return shortened(name);
}

// The name of a construct: its field `name`, or what its declarator comes down to, or its type.
std::string name_of(TSNode node, std::string_view text) {
  const auto field = [](TSNode n, std::string_view name) {
    return ts_node_child_by_field_name(n, name.data(), static_cast<uint32_t>(name.size()));
  };
  TSNode at = field(node, "name");
  if (ts_node_is_null(at)) {
    TSNode next = field(node, "declarator");
    for (int depth = 0; depth < 16 && !ts_node_is_null(next); ++depth) {
      at = next;
      next = field(at, "declarator");
      if (ts_node_is_null(next) && std::string_view(ts_node_type(at)) == "reference_declarator")
        next = ts_node_named_child(at, 0);
      if (ts_node_is_null(next)) {
        const TSNode name = field(at, "name");
        // a::b::c is named whole; an initialised variable is not its value
        if (!ts_node_is_null(name) && std::string_view(ts_node_type(at)) != "qualified_identifier")
          at = name;
      }
    }
  }
  for (std::string_view other : {"key", "left", "type", "property", "selectors"})
    if (ts_node_is_null(at)) at = field(node, other);
  if (ts_node_is_null(at)) {
    // Grammars without fields: the first child that is an identifier.
    const uint32_t children = std::min(ts_node_named_child_count(node), 6u);
    for (uint32_t i = 0; i < children && ts_node_is_null(at); ++i) {
      const TSNode child = ts_node_named_child(node, i);
      const std::string_view type = ts_node_type(child);
      if (type.ends_with("identifier") || type == "variable_list" || type == "selectors" ||
          type.ends_with("_key") || type == "info_string")
        at = child;
      if (type == "atx_heading") return heading_name(child, text);
      if (type == "start_tag") return element_name(child, text);
      if (type.ends_with("_spec") || type.ends_with("declarator")) at = field(child, "name");
    }
  }
  if (ts_node_is_null(at)) return {};
  std::string_view name = text_of(text, range_of(at));
  return shortened(name);
}

// Only these have a name of their own; the `type` of a loop variable is none.
bool has_name(ScopeKind kind) {
  switch (kind) {
    case ScopeKind::loop:
    case ScopeKind::branch:
    case ScopeKind::try_:
    case ScopeKind::switch_:
    case ScopeKind::case_:
      return false;
    default:
      return true;
  }
}

// The opener is the beginning of the header, not what follows it: a '#', a fence, a '[', a '-'.
bool heads_line(ScopeKind kind) {
  return kind == ScopeKind::section || kind == ScopeKind::code || kind == ScopeKind::table ||
         kind == ScopeKind::entry;
}

bool one_line(std::string_view text, ByteRange range) {
  return text_of(text, range).find('\n') == std::string_view::npos;
}

bool is_type(ScopeKind kind) {
  return kind == ScopeKind::class_ || kind == ScopeKind::struct_ || kind == ScopeKind::interface_ ||
         kind == ScopeKind::enum_;
}

struct Cursor {
  TSQueryCursor* cursor = ts_query_cursor_new();
  Cursor() = default;
  Cursor(const Cursor&) = delete;
  ~Cursor() { ts_query_cursor_delete(cursor); }
};

}  // namespace

bool wants_place(const Language& language, TSSymbol kind) {
  const auto& placed = query_of(language).placed;
  return std::binary_search(placed.begin(), placed.end(), kind);
}

std::string query_error(const Language& language) { return query_of(language).error; }

TreeFacts tree_facts(const Tree& tree, std::string_view text, ByteRange range) {
  TreeFacts facts;
  const Query& query = query_of(tree.language());
  if (!query.query || !query.error.empty()) return facts;
  Cursor at;
  ts_query_cursor_set_match_limit(at.cursor, 4096);
  ts_query_cursor_set_max_start_depth(at.cursor, kMaxDepth);
  // A step of the cursor costs as much as there are brackets in a row or levels above it, which in a
  // hostile text is the square of its size.
  struct Payload {
    std::chrono::steady_clock::time_point deadline;
    bool reached = false;
  } payload{std::chrono::steady_clock::now() + kLimit};
  TSQueryCursorOptions options = {};
  options.payload = &payload;
  options.progress_callback = [](TSQueryCursorState* state) {
    auto& p = *static_cast<Payload*>(state->payload);
    return p.reached = std::chrono::steady_clock::now() >= p.deadline;
  };
  if (range.begin > 0 || range.end < text.size())
    ts_query_cursor_set_byte_range(at.cursor, range.begin, range.end);
  ts_query_cursor_exec_with_options(at.cursor, query.query.get(), tree.root(), &options);

  struct Found {
    TreeScope scope;
    uint32_t pattern;
  };
  std::map<uint32_t, Found> scopes;                         // by opener
  std::map<std::pair<uint32_t, uint32_t>, TreeMark> marks;  // by range
  for (TSQueryMatch match; ts_query_cursor_next_match(at.cursor, &match);) {
    bool holds = true;
    for (const AnyOf& predicate : query.predicates[match.pattern_index])
      for (uint32_t i = 0; i < match.capture_count; ++i)
        if (match.captures[i].index == predicate.capture) {
          const std::string_view value = text_of(text, range_of(match.captures[i].node));
          holds = holds && std::find(predicate.values.begin(), predicate.values.end(), value) !=
                               predicate.values.end();
        }
    if (!holds) continue;
    const TSNode* owner = nullptr;
    for (uint32_t i = 0; i < match.capture_count; ++i)
      if (match.captures[i].index == query.owner) owner = &match.captures[i].node;
    for (uint32_t i = 0; i < match.capture_count; ++i) {
      const uint32_t capture = match.captures[i].index;
      const TSNode node = match.captures[i].node;
      if (const auto kind = query.kinds[capture]) {
        const uint32_t opener = ts_node_start_byte(node);
        const auto known = scopes.find(opener);
        if (known != scopes.end() && known->second.pattern <= match.pattern_index) continue;
        TreeScope scope;
        scope.opener = opener;
        scope.kind = *kind;
        scope.owner = range_of(owner ? *owner : node);
        scope.header = {scope.owner.begin, opener};
        if (heads_line(*kind))
          scope.header.end = static_cast<uint32_t>(std::min(text.find('\n', opener), text.size()));
        if (*kind == ScopeKind::key && one_line(text, scope.owner)) scope.header = scope.owner;
        if (*kind == ScopeKind::element) ++scope.header.end;  // the '>' of the start tag
        while (scope.header.end > scope.header.begin && scope.header.end <= text.size() &&
               is_space(text[scope.header.end - 1]))
          --scope.header.end;
        // A lambda is named by what it is given to: the owner is then a declarator or a pair.
        const std::string_view type = owner ? ts_node_type(*owner) : "";
        if (owner && has_name(*kind) &&
            (*kind != ScopeKind::lambda || type == "pair" || type.ends_with("declarator")))
          scope.name = name_of(*owner, text);
        scopes.insert_or_assign(opener, Found{std::move(scope), match.pattern_index});
      } else if (capture == query.import || !query.definitions[capture].empty()) {
        const ByteRange bytes = range_of(node);
        TreeMark mark{bytes, {}, capture == query.import ? "import" : query.definitions[capture]};
        if (mark.kind == "heading")
          mark.name = title_of(node, text);
        else if (capture != query.import)
          mark.name = name_of(node, text);
        marks.emplace(std::pair{bytes.begin, bytes.end}, std::move(mark));
      }
    }
  }
  if (payload.reached) return facts;
  for (auto& [opener, found] : scopes) facts.scopes.push_back(std::move(found.scope));
  for (auto& [bytes, mark] : marks) facts.marks.push_back(std::move(mark));
  return facts;
}

void name_scopes(ScopeMap& map, const std::vector<TreeScope>& scopes) {
  for (size_t i = 1; i < map.scopes_.size(); ++i) {
    Scope& scope = map.scopes_[i];
    const auto found =
        std::lower_bound(scopes.begin(), scopes.end(), scope.opener,
                         [](const TreeScope& s, uint32_t opener) { return s.opener < opener; });
    if (found == scopes.end() || found->opener != scope.opener) continue;
    scope.kind = found->kind;
    scope.header = found->header;
    scope.name = found->name;
    if (scope.kind == ScopeKind::function &&
        is_type(map.scopes_[static_cast<size_t>(scope.parent)].kind))
      scope.kind = ScopeKind::method;
  }
}

ScopeMap scopes_of(const Tree& tree, std::string_view text) {
  ScopeMap map = read_scopes(&tree.language(), text);
  name_scopes(map, tree_facts(tree, text, {0, static_cast<uint32_t>(text.size())}).scopes);
  return map;
}

}  // namespace cambium::syntax
