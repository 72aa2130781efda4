#include "syntax/bench.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "syntax/closes.h"
#include "syntax/languages.h"

using namespace cambium::syntax;

TEST_CASE("the generated source is sound, of the wanted length and always the same") {
  const std::string text = generated_source(500);
  CHECK(text == generated_source(500));
  CHECK(std::count(text.begin(), text.end(), '\n') > 450);
  CHECK(std::count(text.begin(), text.end(), '\n') < 550);
  Parser parser(*language_by_id("cpp"));
  CHECK(count_errors(*parser.parse(text)).total() == 0);
}

TEST_CASE("the bench fills in every figure") {
  const BenchFigures figures = bench_syntax(200, 4);
  CHECK(figures.scopes > 10);
  for (double figure :
       {figures.open_ms, figures.type.p50_ms, figures.type.p99_ms, figures.break_wait.max_ms,
        figures.break_parse.max_ms, figures.undo_wait.max_ms, figures.labeler_ms,
        figures.middle_token_us, figures.align_us, figures.check_ms})
    CHECK(figure > 0);
}
