#include "syntax/review_sites.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include "syntax/bytes.h"
#include "syntax/review_leftovers.h"

namespace cambium::syntax {
namespace {

using sv = std::string_view;

constexpr int kDeepest = 300;      ///< nodes below are not looked at
constexpr size_t kMostNames = 16;  ///< alternatives of a name: the nearest definitions
constexpr size_t kLongestArgument = 24;
constexpr int kLargestNumber = 4096;

bool among(sv word, std::initializer_list<sv> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}
bool contains(sv text, sv part) { return text.find(part) != sv::npos; }

bool is_known(const Language& language) {
  return among(language.name, {"python", "javascript", "typescript", "tsx", "java", "go", "c",
                               "cpp", "rust", "c_sharp", "csharp"});
}

bool is_function(sv type) {
  return among(type,
               {"function_definition", "function_declaration", "function_item", "method_definition",
                "method_declaration", "constructor_declaration", "generator_function_declaration",
                "function_expression", "arrow_function", "local_function_statement"});
}

/// Names defined inside are not visible outside.
bool is_block(sv type) {
  return is_function(type) || contains(type, "block") || contains(type, "lambda") ||
         contains(type, "closure") || contains(type, "for_") || contains(type, "catch") ||
         contains(type, "comprehension") || contains(type, "func_literal") ||
         contains(type, "match_arm") || contains(type, "_case") ||
         among(type, {"compound_statement", "enhanced_for_statement", "generator_expression",
                      "if_statement", "if_expression", "while_expression", "switch_section",
                      "using_statement", "try_with_resources_statement"});
}
/// In Python only these hold names to themselves.
bool is_python_block(sv type) {
  return among(type, {"function_definition", "lambda"}) || contains(type, "comprehension") ||
         type == "generator_expression";
}

/// Nothing in there is a use of a variable that could be another.
bool is_opaque(sv type, sv field) {
  return field == "type" || field == "return_type" || field == "type_arguments" ||
         field == "type_parameters" || type == "type" || type.ends_with("_type") ||
         contains(type, "annotation") || contains(type, "import") || contains(type, "preproc") ||
         contains(type, "comment") || contains(type, "string") || contains(type, "decorator") ||
         type.starts_with("jsx_") || type == "attribute_item" || type == "attribute_list" ||
         type == "use_declaration" || type == "template_argument_list" || type == "regex";
}

/// The thing named there is not a variable of the function.
bool names_other(sv field) {
  return among(field, {"attribute", "property", "field", "function", "method", "constructor",
                       "label", "key", "module", "path", "macro"});
}
/// What has a "name" there is called or looked up, not defined.
bool names_member(sv parent) {
  return contains(parent, "invocation") || contains(parent, "access") ||
         contains(parent, "member") || contains(parent, "qualified") ||
         parent == "keyword_argument" || parent == "argument";
}
/// A name defined there is not visible in what is assigned to it.
bool hides_until_end(sv parent) {
  return contains(parent, "assign") || parent == "variable_declarator" ||
         parent == "init_declarator" || parent == "let_declaration" ||
         parent == "short_var_declaration" || parent == "var_spec" || parent == "const_spec";
}
bool begins_definition(sv parent, sv field) {
  // A comparison has a left side as well.
  if (field == "left") {
    return contains(parent, "assign") || contains(parent, "for_") || contains(parent, "foreach") ||
           contains(parent, "declaration") || parent == "range_clause";
  }
  return among(field, {"name", "pattern", "declarator", "parameters", "parameter", "alias"});
}
/// Below these, in a definition, stand uses again: `a[i] = x`, `int n = m`.
bool ends_definition(sv type, sv field) {
  return among(field, {"value", "right", "default", "default_value", "size", "index", "arguments",
                       "body", "condition", "object", "operand"}) ||
         contains(type, "subscript") || contains(type, "index_expression") ||
         contains(type, "call") || contains(type, "member") || type == "attribute" ||
         contains(type, "selector") || contains(type, "element_access") ||
         contains(type, "field_expression") || contains(type, "field_access") ||
         contains(type, "array_access") || contains(type, "pointer_expression") ||
         contains(type, "unary_expression");
}

std::vector<std::string> other_operators(sv op, SiteKind& kind) {
  struct Row {
    sv op;
    SiteKind kind;
    std::array<sv, 2> others;
  };
  static constexpr Row kRows[] = {
      {"<", SiteKind::compare, {"<=", ">"}},    {"<=", SiteKind::compare, {"<", ">="}},
      {">", SiteKind::compare, {">=", "<"}},    {">=", SiteKind::compare, {">", "<="}},
      {"==", SiteKind::compare, {"!=", ""}},    {"!=", SiteKind::compare, {"==", ""}},
      {"===", SiteKind::compare, {"!==", ""}},  {"!==", SiteKind::compare, {"===", ""}},
      {"+", SiteKind::arithmetic, {"-", ""}},   {"-", SiteKind::arithmetic, {"+", ""}},
      {"*", SiteKind::arithmetic, {"/", ""}},   {"/", SiteKind::arithmetic, {"*", ""}},
      {"+=", SiteKind::arithmetic, {"-=", ""}}, {"-=", SiteKind::arithmetic, {"+=", ""}},
      {"&&", SiteKind::logic, {"||", ""}},      {"||", SiteKind::logic, {"&&", ""}},
      {"and", SiteKind::logic, {"or", ""}},     {"or", SiteKind::logic, {"and", ""}},
  };
  std::vector<std::string> out;
  for (const Row& row : kRows) {
    if (row.op != op) continue;
    kind = row.kind;
    for (const sv other : row.others) {
      if (!other.empty()) out.emplace_back(other);
    }
  }
  return out;
}

bool holds_operator(sv parent) {
  return among(parent,
               {"binary_expression", "comparison_operator", "boolean_operator", "binary_operator",
                "augmented_assignment", "assignment_expression", "augmented_assignment_expression",
                "compound_assignment_expr", "assignment_statement"});
}

class Reader {
 public:
  Reader(const Tree& tree, sv text)
      : text_(text),
        python_(tree.language().name == "python"),
        rust_(tree.language().name == "rust"),
        cursor_(ts_tree_cursor_new(tree.root())) {}
  ~Reader() { ts_tree_cursor_delete(&cursor_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  FunctionSites read(TSNode function) {
    definitions_.clear();
    uses_.clear();
    out_ = {};
    out_.range = range_of(function);
    ts_tree_cursor_reset(&cursor_, function);
    Context context;
    context.block = out_.range;
    visit(context, {}, 0, 0);
    resolve_names();
    return std::move(out_);
  }

 private:
  struct Context {
    bool defining = false, async = false;
    uint32_t visible_from = 0;  ///< of a name defined here: not in its own value
    ByteRange block;
  };
  struct Name {
    ByteRange range, block;
    uint32_t visible_from = 0;
  };

  static ByteRange range_of(TSNode node) {
    return {ts_node_start_byte(node), ts_node_end_byte(node)};
  }
  sv text_of(ByteRange range) const { return text_.substr(range.begin, range.end - range.begin); }

  void add(SiteKind kind, ByteRange range, std::vector<std::string> alternatives) {
    if (!alternatives.empty()) out_.sites.push_back({kind, range, std::move(alternatives), 0, {}});
  }

  /// Where the body begins of the loop whose variable `node` is; 0: it is none.
  static uint32_t loop_body(TSNode node, sv parent) {
    if (!contains(parent, "for_") && !contains(parent, "foreach")) return 0;
    const TSNode body = ts_node_child_by_field_name(ts_node_parent(node), "body", 4);
    return ts_node_is_null(body) ? 0 : ts_node_start_byte(body);
  }

  /// The first leaf of a node: what a word put before it is written together with.
  static ByteRange first_leaf(TSNode node) {
    while (ts_node_child_count(node) > 0) node = ts_node_child(node, 0);
    return range_of(node);
  }

  /// The word before what begins there, or gone.
  void add_before(SiteKind kind, TSNode node, sv word) {
    const ByteRange leaf = first_leaf(node);
    add(kind, leaf, {std::string(word) + std::string(text_of(leaf))});
  }

  void visit(Context context, sv parent, uint32_t parent_end, int depth) {
    const TSNode node = ts_tree_cursor_current_node(&cursor_);
    const sv type = ts_node_type(node);
    const char* name = ts_tree_cursor_current_field_name(&cursor_);
    const sv field = name == nullptr ? sv{} : sv(name);
    if (depth > kDeepest || ts_node_is_error(node) || (depth > 0 && is_opaque(type, field))) return;
    if (depth > 0) {
      if (ends_definition(type, field)) {
        context.defining = false;
      } else if (begins_definition(parent, field)) {
        context.defining = true;
        context.visible_from = hides_until_end(parent) ? parent_end : loop_body(node, parent);
      }
    }
    if (python_ ? is_python_block(type) : is_block(type)) context.block = range_of(node);
    if (is_function(type)) {
      context.defining = false;
      const ByteRange whole = range_of(node);
      context.async = contains(
          text_of({whole.begin, whole.begin + std::min(40u, whole.end - whole.begin)}), "async ");
    }
    if (ts_node_child_count(node) == 0) return leaf(context, node, type, field, parent);
    look_at(context, node, type);
    if (!ts_tree_cursor_goto_first_child(&cursor_)) return;
    do {
      visit(context, type, ts_node_end_byte(node), depth + 1);
    } while (ts_tree_cursor_goto_next_sibling(&cursor_));
    ts_tree_cursor_goto_parent(&cursor_);
  }

  void leaf(const Context& context, TSNode node, sv type, sv field, sv parent) {
    const ByteRange range = range_of(node);
    const sv word = text_of(range);
    if (word.empty()) return;
    if (type == "identifier" || type == "shorthand_property_identifier_pattern") {
      if (names_other(field) || parent == "scoped_identifier" ||
          (field == "name" && names_member(parent)) ||
          (rust_ && word[0] >= 'A' && word[0] <= 'Z')) {
        return;
      }
      // What the function itself is called is not a variable of it.
      if ((field == "name" && is_function(parent)) || contains(parent, "function_declarator"))
        return;
      if (context.defining)
        definitions_.push_back({range, context.block, context.visible_from});
      else
        uses_.push_back({range, context.block, 0});
      return;
    }
    if (!ts_node_is_named(node) && holds_operator(parent)) {
      SiteKind kind = SiteKind::compare;
      auto others = other_operators(word, kind);
      add(kind, range, std::move(others));
      return;
    }
    if (among(word, {"true", "false", "True", "False"})) {
      const bool upper = word[0] == 'T' || word[0] == 'F';
      const bool truth = word == "true" || word == "True";
      add(SiteKind::boolean, range,
          {truth ? (upper ? "False" : "false") : (upper ? "True" : "true")});
      return;
    }
    if (ts_node_is_named(node) && is_digit(word[0])) {
      int number = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
      if (error != std::errc{} || end != word.data() + word.size() || number > kLargestNumber ||
          (word[0] == '0' && word.size() > 1)) {
        return;
      }
      std::vector<std::string> others{std::to_string(number + 1)};
      if (number > 0) others.push_back(std::to_string(number - 1));
      add(SiteKind::number, range, std::move(others));
    }
  }

  void look_at(const Context& context, TSNode node, sv type) {
    if (type == "arguments" || type == "argument_list") swapped_arguments(node);
    const sv negation = python_ ? sv("not ") : sv("!");
    if (among(type, {"unary_expression", "not_operator", "prefix_unary_expression"})) {
      const TSNode op = ts_node_child(node, 0);
      const sv word = text_of(range_of(op));
      if ((word == "!" || word == "not") && ts_node_child_count(node) > 1) {
        const ByteRange operand = first_leaf(ts_node_child(node, 1));
        add(SiteKind::negation, {range_of(op).begin, operand.end}, {std::string(text_of(operand))});
      }
    }
    if (among(type, {"if_statement", "while_statement", "if_expression", "while_expression",
                     "elif_clause"})) {
      TSNode condition = ts_node_child_by_field_name(node, "condition", 9);
      while (!ts_node_is_null(condition) &&
             among(ts_node_type(condition), {"parenthesized_expression", "condition_clause"}) &&
             ts_node_named_child_count(condition) == 1) {
        condition = ts_node_named_child(condition, 0);
      }
      if (!ts_node_is_null(condition) && is_plain(ts_node_type(condition))) {
        add_before(SiteKind::negation, condition, negation);
      }
    }
    if (type == "expression_statement" && ts_node_named_child_count(node) == 1) {
      const TSNode expression = ts_node_named_child(node, 0);
      const sv kind = ts_node_type(expression);
      if (context.async && is_call(kind)) add_before(SiteKind::await, expression, "await ");
      const TSNode next = ts_node_next_named_sibling(node);
      if (!rust_ && ts_node_is_null(next) && (is_plain(kind) || contains(kind, "binary"))) {
        add_before(SiteKind::return_, expression, "return ");
      }
    }
    if (context.async && among(type, {"assignment", "variable_declarator", "return_statement"})) {
      TSNode value = ts_node_child_by_field_name(node, type == "assignment" ? "right" : "value", 5);
      if (type == "return_statement") value = ts_node_named_child(node, 0);
      if (!ts_node_is_null(value) && is_call(ts_node_type(value)))
        add_before(SiteKind::await, value, "await ");
    }
  }

  static bool is_call(sv type) {
    return among(type, {"call", "call_expression", "method_invocation", "invocation_expression"});
  }
  static bool is_plain(sv type) {
    return type == "identifier" || is_call(type) ||
           among(type, {"attribute", "member_expression", "field_expression", "field_access",
                        "selector_expression", "member_access_expression"});
  }

  void swapped_arguments(TSNode list) {
    const auto plain = [&](TSNode node) {
      if (std::string_view(ts_node_type(node)) == "argument" && ts_node_child_count(node) == 1)
        node = ts_node_child(node, 0);  // C#
      const ByteRange range = range_of(node);
      return (std::string_view(ts_node_type(node)) == "identifier" ||
              among(ts_node_type(node), {"attribute", "member_expression", "field_expression",
                                         "field_access", "selector_expression"})) &&
             range.end - range.begin <= kLongestArgument;
    };
    const uint32_t n = ts_node_named_child_count(list);
    for (uint32_t i = 0; i + 1 < n && i < 8; ++i) {
      const TSNode a = ts_node_named_child(list, i), b = ts_node_named_child(list, i + 1);
      if (!plain(a) || !plain(b)) continue;
      const ByteRange first = range_of(a), second = range_of(b);
      if (text_of(first) == text_of(second)) continue;
      add(SiteKind::arguments, {first.begin, second.end},
          {std::string(text_of(second)) + std::string(text_of({first.end, second.begin})) +
           std::string(text_of(first))});
    }
  }

  /// Names that are defined before a use in a block that holds it.
  void resolve_names() {
    std::map<sv, uint32_t> used;
    for (const Name& use : uses_) ++used[text_of(use.range)];
    for (const Name& use : uses_) {
      const sv written = text_of(use.range);
      std::vector<std::string> others;
      bool own = false;
      for (auto at = definitions_.rbegin(); at != definitions_.rend(); ++at) {
        if (at->range.begin >= use.range.begin || at->visible_from > use.range.begin ||
            at->block.begin > use.range.begin || use.range.end > at->block.end) {
          continue;
        }
        const sv name = text_of(at->range);
        if (name == written) {
          own = true;
        } else if (name != "_" && name != "self" && name != "this" && others.size() < kMostNames &&
                   std::find(others.begin(), others.end(), name) == others.end()) {
          others.emplace_back(name);
        }
      }
      // A name from elsewhere is a function, a type or a constant as a rule.
      if (!own || written == "self" || written == "this" || others.empty()) continue;
      Site site{SiteKind::name, use.range, std::move(others), used[written] - 1, {}};
      for (const std::string& other : site.alternatives) {
        const auto at = used.find(other);
        site.alternative_uses.push_back(at == used.end() ? 0 : at->second);
      }
      out_.sites.push_back(std::move(site));
    }
  }

  sv text_;
  bool python_, rust_;
  TSTreeCursor cursor_;
  std::vector<Name> definitions_, uses_;
  FunctionSites out_;
};

}  // namespace

const char* to_string(SiteKind kind) {
  constexpr std::array<const char*, kSiteKinds> kNames = {
      "name",      "compare",  "arithmetic", "logic",  "number",  "boolean",
      "arguments", "negation", "await",      "return", "leftover"};
  return kNames[static_cast<size_t>(kind)];
}

std::vector<FunctionSites> review_sites(const Tree& tree, std::string_view text,
                                        const std::vector<ByteRange>& within) {
  std::vector<FunctionSites> out;
  if (!is_known(tree.language())) return out;
  std::vector<TSNode> functions;
  walk(tree.root(), [&](TSNode node, uint32_t) {
    const uint32_t begin = ts_node_start_byte(node), end = ts_node_end_byte(node);
    const bool touched = std::any_of(within.begin(), within.end(), [&](const ByteRange& range) {
      return begin < range.end && range.begin < end;
    });
    if (!touched) return false;
    if (!is_function(ts_node_type(node))) return true;
    functions.push_back(node);
    return false;
  });
  Reader reader(tree, text);
  for (const TSNode function : functions) {
    FunctionSites sites = reader.read(function);
    for (Site& site : repeated_statements(function, text).leftovers)
      sites.sites.push_back(std::move(site));
    std::stable_sort(sites.sites.begin(), sites.sites.end(),
                     [](const Site& a, const Site& b) { return a.range.begin < b.range.begin; });
    if (!sites.sites.empty()) out.push_back(std::move(sites));
  }
  return out;
}

}  // namespace cambium::syntax
