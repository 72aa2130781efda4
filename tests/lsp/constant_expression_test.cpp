#include "lsp/assist/constant_expression.h"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <string>

using namespace cambium;
using namespace cambium::assist;

namespace {

Result<int64_t> value_of(std::string_view expression,
                         const std::map<std::string, std::string, std::less<>>& names = {}) {
  return constant_value(expression, [&](std::string_view name) -> Result<std::string> {
    const auto at = names.find(name);
    if (at == names.end()) return fail(ErrorCode::not_found, std::string(name) + " is unknown");
    return at->second;
  });
}

}  // namespace

TEST_CASE("constant expressions have C's precedence, bases and signs") {
  const std::pair<const char*, int64_t> cases[] = {
      {"10", 10},
      {" 1 + 2 * 3 ", 7},
      {"(1 + 2) * 3", 9},
      {"7 / -2", -3},
      {"-7 % 3", -1},
      {"1 << 4 | 3 & 6 ^ 1", 19},  // (1 << 4) | ((3 & 6) ^ 1)
      {"1 << 2 + 1", 8},
      {"10 - 4 - 3", 3},
      {"~0 & 0xFF", 255},
      {"- -+5", 5},
      {"0b1010 + 0o17 + 017 + 0xfFu", 295},
      {"1'000'000 + 1_000", 1001000},
      {"4096usize - 1i64 + 2UL", 4097},
      {"-9223372036854775807 - 1", INT64_MIN},
      {"1 << 62", int64_t{1} << 62},
      {"-1 << 63", INT64_MIN},
      {"-16 >> 2", -4},
  };
  for (const auto& [text, want] : cases) {
    CAPTURE(text);
    const auto got = value_of(text);
    REQUIRE(got);
    CHECK(*got == want);
  }
}

TEST_CASE("names stand for what they are defined as, however qualified") {
  const std::map<std::string, std::string, std::less<>> names = {
      {"kBlock", "64"},
      {"kTile", "kBlock * 2"},
      {"kAll", "config::kTile + Limits.kBlock"},
      {"A", "B"},
      {"B", "A"}};
  CHECK(value_of("kAll - 1", names).value() == 191);
  CHECK(value_of("(kTile)", names).value() == 128);
  CHECK(value_of("A", names).error().message.find("defined by names") != std::string::npos);
  CHECK(value_of("kNone + 1", names).error().message == "kNone is unknown");
  // A name's definition is a value of its own, not text put in its place.
  CHECK(value_of("kSum * 2", {{"kSum", "1 + 2"}}).value() == 6);
}

TEST_CASE("what has no value says why") {
  const std::pair<const char*, const char*> cases[] = {
      {"", "ends too early"},
      {"1 +", "ends too early"},
      {"(1", "')' is missing"},
      {"1)", "not part of an expression"},
      {"1 / 0", "divides by zero"},
      {"5 % (2 - 2)", "divides by zero"},
      {"1 << 64", "shifts by 64"},
      {"1 << 63", "does not fit"},
      {"9223372036854775807 + 1", "does not fit"},
      {"(-9223372036854775807 - 1) / -1", "does not fit"},
      {"9223372036854775808", "no whole number"},
      {"1.5", "not part of"},
      {"089", "no whole number"},
      {"2 ** 3", "not part of"},
      {"7 // 2", "not part of"},
      {"1 && 2", "not part of"},
      {"1 == 1", "not part of"},
      {"12px", "no whole number"},
      {"\"text\"", "no number and no name"},
  };
  for (const auto& [text, why] : cases) {
    CAPTURE(text);
    const auto got = value_of(text);
    REQUIRE(!got);
    CAPTURE(got.error().message);
    CHECK(got.error().message.find(why) != std::string::npos);
  }
  CHECK(!value_of(std::string(1000, '(') + "1" + std::string(1000, ')')));
  CHECK(!value_of(std::string(5000, '-') + "1"));
  CHECK((INT64_MIN == value_of("(-9223372036854775807 - 1) * 1").value()));
  CHECK(value_of("(-9223372036854775807 - 1) % -1").value() == 0);
}

TEST_CASE("any text is a value or an error") {
  std::mt19937 random(7);
  constexpr std::string_view kParts[] = {"1", "0x", "(", ")", "-", "~",  "<<", "k",  " ",
                                         "*", "/",  "%", "'", ".", "::", "9",  "u8", "\xff"};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (size_t n = random() % 12; n > 0; --n) text += kParts[random() % std::size(kParts)];
    CAPTURE(text);
    const auto got = value_of(text, {{"k", "3"}});
    if (!got) CHECK(!got.error().message.empty());
  }
}

TEST_CASE("a definition's expression is found in each language's way to write one") {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"#define LIMIT 10 * 2 // most", "LIMIT", "10 * 2"},
      {"#define LIMIT(x) x", "LIMIT", ""},
      {"constexpr int kLimit = 10;  ///< rows", "kLimit", "10"},
      {"static const int kLimit = kBlock * 2, kOther = 3;", "kOther", "3"},
      {"const LIMIT: usize = 1 << 4;", "LIMIT", "1 << 4"},
      {"LIMIT = 10  # most", "LIMIT", "10"},
      {"const Limit = 0x10", "Limit", "0x10"},
      {"  kLast = 7,", "kLast", "7"},
      {"kLimitOfAll = 3; kLimit = 4;", "kLimit", "4"},
      {"if kLimit == 3", "kLimit", ""},
      {"def LIMIT():\n    x = 3", "LIMIT", ""},
      {"int other = 3;", "LIMIT", ""},
      {"LIMIT", "", ""},
  };
  for (const auto& [definition, name, want] : cases) {
    CAPTURE(definition);
    CHECK(expression_of(definition, name) == want);
  }
}
