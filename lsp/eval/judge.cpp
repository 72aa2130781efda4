#include "lsp/eval/judge.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "lsp/assist/completion_plan.h"
#include "syntax/closes.h"
#include "syntax/languages.h"

namespace cambium::eval {
namespace {

constexpr int kTab = 4;
constexpr size_t kLongestMatch = 4096;  ///< bytes; longer ones do not tell places apart

std::string without_cr(std::string_view text) {
  std::string out(text);
  std::erase(out, '\r');
  return out;
}

bool blank(std::string_view line) { return assist::trim(line).empty(); }

/// Of `text` from `at` on, the lines at least as deep as the first; its column is given.
std::string_view block_from(std::string_view text, size_t at, int column) {
  size_t end = std::min(text.find('\n', at), text.size()), kept = end;
  while (end < text.size()) {
    const size_t next = std::min(text.find('\n', end + 1), text.size());
    const std::string_view line = text.substr(end + 1, next - end - 1);
    end = next;
    if (blank(line)) continue;
    if (assist::column_of(line, kTab) < column) break;
    kept = next;
  }
  return text.substr(at, kept - at);
}

}  // namespace

double edit_similarity(std::string_view a, std::string_view b) {
  if (a.size() < b.size()) std::swap(a, b);
  if (a.empty()) return 1;
  std::vector<uint32_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0u);
  for (size_t i = 0; i < a.size(); ++i) {
    uint32_t diagonal = row[0];
    row[0] = static_cast<uint32_t>(i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const uint32_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] == b[j] ? 0u : 1u)});
      diagonal = above;
    }
  }
  return 1 - static_cast<double>(row.back()) / static_cast<double>(a.size());
}

Judgement judge(const Case& asked, std::string_view answer) {
  Judgement result;
  if (blank(answer)) return result;
  result.shown = true;
  const std::string wanted = without_cr(asked.middle), got = without_cr(answer);
  const std::string_view wanted_text = assist::trim_right(wanted), text = assist::trim_right(got);
  result.exact = wanted_text == text;
  result.similarity = edit_similarity(wanted_text, text);
  syntax::InsertionCheck check(syntax::language_of_file(asked.path, asked.text->substr(0, 256)),
                               *asked.text, asked.cursor);
  result.adds_errors = check.adds_errors(answer);
  result.ends_node = check.ends_node(answer);
  return result;
}

std::string copy_continuation(const Case& asked) {
  const std::string_view text = *asked.text;
  const size_t cursor = asked.cursor;
  size_t best = text.npos, best_length = 0;
  for (size_t at = 1; at < text.size(); ++at) {
    if (at == cursor || cursor == 0 || text[at - 1] != text[cursor - 1]) continue;
    // What is compared with the prefix must not reach over the hole.
    const size_t begin = at > cursor ? cursor : 0;
    const size_t most = std::min({at - begin, cursor, kLongestMatch});
    size_t length = 0;
    while (length < most && text[at - 1 - length] == text[cursor - 1 - length]) ++length;
    const bool nearer = at < cursor || best == text.npos;
    if (length > best_length || (length == best_length && length > 0 && nearer)) {
      best = at, best_length = length;
    }
  }
  if (best == text.npos) return {};
  const size_t limit = best < cursor ? cursor : text.size();
  const std::string_view source = text.substr(0, limit);
  std::string_view copied = source.substr(best, source.find('\n', best) - best);
  if (asked.kind == CaseKind::block) {
    const size_t newline = text.rfind('\n', cursor == 0 ? 0 : cursor - 1);
    const std::string_view line = text.substr(newline == text.npos ? 0 : newline + 1, cursor);
    copied = block_from(source, best, assist::column_of(line, kTab));
  } else {
    // What the editor has closed already is not written again.
    const size_t end = std::min(text.find('\n', cursor), text.size());
    const std::string_view rest = assist::trim(text.substr(cursor, end - cursor));
    if (!rest.empty() && assist::trim_right(copied).ends_with(rest)) {
      copied = assist::trim_right(copied);
      copied.remove_suffix(rest.size());
    }
  }
  return std::string(assist::trim_right(copied));
}

}  // namespace cambium::eval
