// Each sample has a sidecar with the scopes a person expects of it.
#include "syntax/bytes.h"
#include "syntax/closes.h"
#include "syntax/tree_scopes.h"
#include "tests/syntax/support.h"

using namespace cambium::syntax;
using namespace cambium::syntax::test;

TEST_CASE("every query compiles") {
  for (const Language& language : languages()) CHECK(query_error(language) == "");
}

TEST_CASE("at least 16 programming languages have a sample with scopes") {
  std::vector<std::string_view> seen;
  for (const Sample& sample : samples())
    if (sample.language->programming && !sample.scopes.empty())
      seen.push_back(sample.language->name);
  std::sort(seen.begin(), seen.end());
  CHECK(std::unique(seen.begin(), seen.end()) - seen.begin() >= 16);
}

TEST_CASE("the scopes of every sample are the expected ones") {
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    Parser parser(*sample.language);
    const auto tree = parser.parse(sample.text);
    REQUIRE(tree);
    CHECK(count_errors(*tree).total() == 0);
    const ScopeMap map = scopes_of(*tree, sample.text);
    CHECK(defect(map) == "");
    CHECK(listing(map, sample.text) == sample.scopes);
  }
}

// Here an opener is no bracket, and a body often ends with what comes after it.
TEST_CASE("the bodies of markup are those that the tree finds") {
  for (const Sample& sample : samples()) {
    if (sample.language->rules->layout < Layout::tables) continue;
    CAPTURE(sample.file);
    Parser parser(*sample.language);
    const auto tree = parser.parse(sample.text);
    REQUIRE(tree);
    const std::string_view text = sample.text;
    const ScopeMap map = read_scopes(sample.language, text);
    const TreeFacts facts = tree_facts(*tree, text, {0, static_cast<uint32_t>(text.size())});
    const auto nothing = [&](size_t begin, size_t end) {  // white space and whole comments
      std::string_view between = text.substr(begin, std::max(begin, end) - begin);
      while (!between.empty()) {
        if (!is_space(between.front()) && between.front() != '#') return false;
        const size_t next = between.front() == '#' ? between.find('\n') : 1;
        between.remove_prefix(std::min(next, between.size()));
      }
      return true;
    };
    size_t compared = 0;
    for (const TreeScope& scope : facts.scopes) {
      const size_t line = std::min(text.find('\n', scope.opener), text.size()) + 1;
      const auto read = std::find_if(map.scopes().begin() + 1, map.scopes().end(),
                                     [&](const Scope& s) { return s.opener == scope.opener; });
      CAPTURE(scope.opener);
      CAPTURE(std::string(text.substr(scope.opener, 20)));
      if (read == map.scopes().end()) {
        const bool quoted = text.substr(0, scope.opener).ends_with("> ");
        const std::string_view rest = text.substr(scope.opener + 1, line - scope.opener - 2);
        if (scope.kind == ScopeKind::key && !nothing(scope.opener + 1, line - 1)) continue;
        if (scope.kind == ScopeKind::entry && rest.find(':') == rest.npos) continue;
        CHECK((quoted || nothing(std::min(line, text.size()), scope.owner.end)));
        continue;
      }
      ++compared;
      CHECK(read->body.begin == line);
      if (read->body.end <= scope.owner.end)
        CHECK(nothing(read->body.end, scope.owner.end));
      else if (read->body.begin != read->body.end)  // the end tag that ended an element without one
        CHECK(text.substr(scope.owner.end).starts_with("</"));
    }
    CHECK(compared + 1 == map.scopes().size());
  }
}

// The tree knows the end of a body because it has seen it; the reader must find the same one without.
TEST_CASE("the left-to-right reading finds the bodies that the tree finds") {
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    Parser parser(*sample.language);
    const auto tree = parser.parse(sample.text);
    REQUIRE(tree);
    const std::string_view text = sample.text;
    const ScopeMap map = read_scopes(sample.language, text);
    const TreeFacts facts = tree_facts(*tree, text, {0, static_cast<uint32_t>(text.size())});
    size_t compared = 0;
    for (const TreeScope& scope : facts.scopes) {
      CAPTURE(scope.opener);
      const auto read = std::find_if(map.scopes().begin() + 1, map.scopes().end(),
                                     [&](const Scope& s) { return s.opener == scope.opener; });
      const char opener = text[scope.opener];
      if ((opener != '{' && opener != '[') || scope.kind == ScopeKind::table) continue;
      // The closing bracket is the last one among the opener's siblings.
      const TSNode leaf =
          ts_node_descendant_for_byte_range(tree->root(), scope.opener, scope.opener + 1);
      uint32_t end = 0;
      for (TSNode next = leaf; !ts_node_is_null(next); next = ts_node_next_sibling(next))
        if (std::string_view(ts_node_type(next)) == (opener == '{' ? "}" : "]")) {
          end = ts_node_end_byte(next);
          break;
        }
      const bool several_lines = text.find('\n', scope.opener) < end;
      CHECK((read != map.scopes().end()) == several_lines);
      if (read == map.scopes().end()) continue;
      CHECK(read->body.begin == text.find('\n', scope.opener) + 1);
      CHECK(read->body.end == end);
      ++compared;
    }
    if (sample.language->rules->layout == Layout::braces) CHECK(compared > 0);
  }
}
