#include "lsp/bench.h"

#include <doctest/doctest.h>

#include "tests/support/fake_generator.h"

using namespace cambium;

TEST_CASE("the overhead is measured on answers that hold a suggestion") {
  const auto model =
      std::make_shared<test::FakeGenerator>([](const std::string&) { return std::string("x"); });
  const auto report = lsp::measure_overhead(model, 200, 30);
  REQUIRE(report.has_value());
  CHECK(report->requests == 30);
  CHECK(report->suggested > 15);
  CHECK(report->p50_ms > 0);
  CHECK(report->p50_ms <= report->p99_ms);
  CHECK(report->p99_ms <= report->max_ms);
  CHECK(model->requests.empty());  // it never generates
  CHECK_FALSE(lsp::measure_overhead(nullptr, 200, 1).has_value());
}
