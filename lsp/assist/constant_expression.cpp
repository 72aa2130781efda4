#include "lsp/assist/constant_expression.h"

#include <charconv>
#include <optional>

#include "lsp/assist/completion_plan.h"
#include "syntax/bytes.h"

namespace cambium::assist {
namespace {

using syntax::is_digit;

constexpr int kDeepest = 64;    ///< parentheses and unary operators
constexpr int kMostNames = 16;  ///< one defined by the next

Result<int64_t> refuse(std::string message) {
  return fail(ErrorCode::invalid_argument, std::move(message));
}

/// A literal's digits in its base, or nothing.
std::optional<int64_t> number_of(std::string_view literal) {
  int base = 10;
  if (literal.size() > 1 && literal[0] == '0') {
    const char kind = static_cast<char>(literal[1] | 0x20);
    base = kind == 'x' ? 16 : kind == 'b' ? 2 : 8;
    literal.remove_prefix(kind == 'x' || kind == 'b' || kind == 'o' ? 2 : 1);
  }
  std::string digits;
  size_t at = 0;
  for (; at < literal.size(); ++at) {
    const char c = literal[at], low = static_cast<char>(c | 0x20);
    if (c == '\'' || c == '_') continue;
    if (!is_digit(c) && !(base == 16 && low >= 'a' && low <= 'f')) break;
    digits += c;
  }
  const std::string_view suffix = literal.substr(at);
  const bool rust = !suffix.empty() && (suffix[0] == 'i' || suffix[0] == 'u') &&
                    suffix.size() > 1 &&
                    suffix.find_first_not_of("0123456789size", 1) == suffix.npos;
  if (!rust && suffix.find_first_not_of("uUlLzZ") != suffix.npos) return std::nullopt;
  int64_t value = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (read.ec != std::errc() || read.ptr != digits.data() + digits.size()) return std::nullopt;
  return value;
}

class Reader {
 public:
  Reader(std::string_view text, const WrittenAs& written_as, int names)
      : text_(text), written_as_(written_as), names_(names) {}

  Result<int64_t> all() {
    auto value = binary(0, 0);
    if (!value) return value;
    skip_gap();
    if (at_ < text_.size())
      return refuse("'" + std::string(text_.substr(at_, 20)) +
                    "' is not part of an expression of whole numbers");
    return value;
  }

 private:
  void skip_gap() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }
  bool take(std::string_view sign) {
    skip_gap();
    if (!text_.substr(at_).starts_with(sign)) return false;
    at_ += sign.size();
    return true;
  }

  /// The operator that comes next, if it binds as `level` says: | ^ & shift + *.
  std::string_view sign_of(int level) {
    static constexpr std::string_view kSigns[][3] = {{"|"},        {"^"},      {"&"},
                                                     {"<<", ">>"}, {"+", "-"}, {"*", "/", "%"}};
    skip_gap();
    const std::string_view rest = text_.substr(at_);
    if (rest.starts_with("||") || rest.starts_with("&&") || rest.starts_with("**") ||
        rest.starts_with("//"))
      return {};
    for (const std::string_view sign : kSigns[level])
      if (!sign.empty() && rest.starts_with(sign)) return sign;
    return {};
  }

  Result<int64_t> binary(int level, int depth) {
    if (level == 6) return unary(depth);
    auto left = binary(level + 1, depth);
    while (left) {
      const std::string_view sign = sign_of(level);
      if (sign.empty()) break;
      at_ += sign.size();
      const auto right = binary(level + 1, depth);
      if (!right) return right;
      left = apply(sign, *left, *right);
    }
    return left;
  }

  static Result<int64_t> apply(std::string_view sign, int64_t a, int64_t b) {
    int64_t out = 0;
    bool fits = true;
    switch (sign[0]) {
      case '|':
        return a | b;
      case '^':
        return a ^ b;
      case '&':
        return a & b;
      case '+':
        fits = !__builtin_add_overflow(a, b, &out);
        break;
      case '-':
        fits = !__builtin_sub_overflow(a, b, &out);
        break;
      case '*':
        fits = !__builtin_mul_overflow(a, b, &out);
        break;
      case '/':
      case '%':
        if (b == 0) return refuse("it divides by zero");
        if (b == -1) {  // INT64_MIN / -1 does not fit
          fits = sign[0] == '%' || !__builtin_sub_overflow(int64_t{0}, a, &out);
          break;
        }
        out = sign[0] == '/' ? a / b : a % b;
        break;
      default:
        if (b < 0 || b > 63) return refuse("it shifts by " + std::to_string(b));
        if (sign == ">>") return a >> b;
        if (b == 63) {  // 2^63 is no int64_t, -2^63 is one
          fits = a == 0 || a == -1;
          out = a == 0 ? 0 : INT64_MIN;
          break;
        }
        fits = !__builtin_mul_overflow(a, int64_t{1} << b, &out);
    }
    if (!fits) return refuse("the value does not fit 64 bits");
    return out;
  }

  Result<int64_t> unary(int depth) {
    if (depth == kDeepest) return refuse("it is nested too deep");
    if (take("-")) {
      const auto value = unary(depth + 1);
      return value ? apply("-", 0, *value) : value;
    }
    if (take("+")) return unary(depth + 1);
    if (take("~")) {
      const auto value = unary(depth + 1);
      if (!value) return value;
      return ~*value;
    }
    if (take("(")) {
      auto value = binary(0, depth + 1);
      if (value && !take(")")) return refuse("a ')' is missing");
      return value;
    }
    return operand();
  }

  Result<int64_t> operand() {
    skip_gap();
    const size_t begin = at_;
    const auto goes_on = [&] {
      if (at_ >= text_.size()) return false;
      const char c = text_[at_];
      const bool number = is_digit(text_[begin]);
      return syntax::is_word_byte(c) || (number && c == '\'') ||
             (!number && at_ > begin && (c == ':' || c == '.'));
    };
    while (goes_on()) ++at_;
    const std::string_view word = text_.substr(begin, at_ - begin);
    if (word.empty())
      return refuse(begin < text_.size()
                        ? "'" + std::string(text_.substr(begin, 20)) + "' is no number and no name"
                        : "it ends too early");
    if (is_digit(word[0])) {
      if (const auto number = number_of(word)) return *number;
      return refuse("'" + std::string(word) + "' is no whole number that fits 64 bits");
    }
    if (names_ == kMostNames)
      return refuse("names are defined by names, " + std::to_string(kMostNames) + " deep");
    const size_t last = word.find_last_of(":.");
    const std::string_view name = last == word.npos ? word : word.substr(last + 1);
    const auto written = written_as_(name);
    if (!written) return tl::unexpected(written.error());
    return Reader(*written, written_as_, names_ + 1).all();
  }

  std::string_view text_;
  const WrittenAs& written_as_;
  int names_;
  size_t at_ = 0;
};

}  // namespace

Result<int64_t> constant_value(std::string_view expression, const WrittenAs& written_as) {
  return Reader(expression, written_as, 0).all();
}

std::string_view expression_of(std::string_view definition, std::string_view name) {
  const auto trimmed = [](std::string_view text) {
    text = text.substr(0, text.find('\n'));
    text = text.substr(
        0, std::min({text.find(';'), text.find("//"), text.find("/*"), text.find('#')}));
    text = trim(text);
    while (text.ends_with(',')) text = trim_right(text.substr(0, text.size() - 1));
    return text;
  };
  size_t at = definition.find(name);
  while (at != definition.npos && ((at > 0 && syntax::is_word_byte(definition[at - 1])) ||
                                   (at + name.size() < definition.size() &&
                                    syntax::is_word_byte(definition[at + name.size()]))))
    at = definition.find(name, at + 1);
  if (name.empty() || at == definition.npos) return {};
  const std::string_view after = definition.substr(at + name.size());
  if (definition.starts_with("#define"))
    return after.starts_with("(") ? std::string_view() : trimmed(after);
  const size_t sign = after.substr(0, after.find('\n')).find('=');
  if (sign == after.npos || after.substr(sign).starts_with("==")) return {};
  return trimmed(after.substr(sign + 1));
}

}  // namespace cambium::assist
