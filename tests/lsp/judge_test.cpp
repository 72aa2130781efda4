#include "lsp/eval/judge.h"

#include <doctest/doctest.h>

#include "tests/support/markers.h"

using namespace cambium;
using eval::Case;
using eval::CaseKind;

namespace {

Case case_of(const char* path, const char* marked, const char* middle,
             CaseKind kind = CaseKind::line) {
  const auto m = test::parse_markers(marked);
  Case made;
  made.path = path;
  made.kind = kind;
  made.text = std::make_shared<const std::string>(m.text);
  made.cursor = m.cursor();
  made.middle = middle;
  return made;
}

}  // namespace

TEST_CASE("similarity is one less the share of edits") {
  CHECK(eval::edit_similarity("", "") == 1.0);
  CHECK(eval::edit_similarity("abc", "abc") == 1.0);
  CHECK(eval::edit_similarity("abc", "") == 0.0);
  CHECK(eval::edit_similarity("kitten", "sitting") == doctest::Approx(1 - 3.0 / 7));
  CHECK(eval::edit_similarity("sitting", "kitten") == doctest::Approx(1 - 3.0 / 7));
}

TEST_CASE("an answer is judged by what stood there and by the tree") {
  const struct {
    const char* answer;
    bool shown, exact, adds_errors, ends_node;
  } cases[] = {
      {"x = 1;\n  y = 2;", true, true, false, true},
      {"x = 1;\r\n  y = 2;\n", true, true, false, true},
      {"x = 1;", true, false, false, true},
      {"x = (1;", true, false, true, false},
      {"x = 1;\n  if (y) {", true, false, true, false},
      {" \n", false, false, false, false},
  };
  const Case asked = case_of("a.c", "int f() {\n  ^\n}\n", "x = 1;\n  y = 2;", CaseKind::block);
  for (const auto& c : cases) {
    CAPTURE(std::string(c.answer));
    const eval::Judgement got = eval::judge(asked, c.answer);
    CHECK(got.shown == c.shown);
    CHECK(got.exact == c.exact);
    CHECK(got.adds_errors == c.adds_errors);
    CHECK(got.ends_node == c.ends_node);
    CHECK((got.similarity == 1.0) == c.exact);
    if (!c.shown) CHECK(got.similarity == 0.0);
  }
}

TEST_CASE("the baseline copies what follows the longest matching context") {
  const struct {
    const char *marked, *copied;
    CaseKind kind;
  } cases[] = {
      // "call(" is longer than "(": the first place wins although it is farther away.
      {"call(one)\nf(two)\ncall(^", "one)", CaseKind::line},
      // Of equals the nearest above.
      {"call(one)\ncall(two)\ncall(^", "two)", CaseKind::line},
      // What stands below counts where nothing above agrees as far.
      {"q = ^\nq = 7\n", "7", CaseKind::line},
      // What the editor closed is left.
      {"call(one)\ncall(^)\n", "one", CaseKind::line},
      {"zzz^", "z", CaseKind::line},
      {"^abc", "", CaseKind::line},
      {"if a:\n    b()\n    if c:\n        d()\n\n    e()\nelse:\n    f()\nif a:\n    ^\n",
       "b()\n    if c:\n        d()\n\n    e()", CaseKind::block},
  };
  for (const auto& c : cases) {
    CAPTURE(std::string(c.marked));
    CHECK(eval::copy_continuation(case_of("a.py", c.marked, "", c.kind)) == c.copied);
  }
}
