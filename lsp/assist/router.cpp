#include "lsp/assist/router.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <vector>

namespace cambium::assist {

namespace {

constexpr size_t kLookedAt = 4096;

struct Cue {
  std::string_view words;
  int weight;
};
/// Words that speak for a topic; whole words, lower case.
constexpr Cue kCodeCues[] = {
    {"function", 2},  {"method", 2},   {"class", 1},       {"variable", 2},     {"compile", 3},
    {"compiler", 3},  {"bug", 2},      {"refactor", 3},    {"implement", 2},    {"unit test", 3},
    {"exception", 2}, {"segfault", 3}, {"stack trace", 3}, {"api", 2},          {"regex", 3},
    {"python", 2},    {"c++", 3},      {"rust", 2},        {"typescript", 3},   {"javascript", 3},
    {"java", 2},      {"sql", 3},      {"code", 2},        {"snippet", 2},      {"syntax", 2},
    {"library", 1},   {"import", 1},   {"return type", 3}, {"null pointer", 3}, {"loop", 1},
};
constexpr Cue kReasoningCues[] = {
    {"why", 2},
    {"prove", 3},
    {"proof", 3},
    {"derive", 3},
    {"how many", 2},
    {"step by step", 3},
    {"trade-off", 3},
    {"trade-offs", 3},
    {"compare", 2},
    {"which is better", 3},
    {"complexity", 2},
    {"deadlock", 2},
    {"race condition", 2},
    {"optimal", 2},
    {"probability", 3},
    {"solve", 2},
    {"calculate", 3},
    {"cause", 2},
    {"root cause", 3},
    {"diagnose", 3},
    {"plan", 1},
    {"design", 1},
    {"correct", 1},
    {"guarantee", 2},
    {"invariant", 3},
};

bool word_byte(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

std::string head_and_tail(std::string_view text) {
  std::string out(text.substr(0, kLookedAt));
  if (text.size() > kLookedAt) {
    const size_t rest = std::min(kLookedAt, text.size() - kLookedAt);
    out.append("\n").append(text.substr(text.size() - rest));
  }
  return out;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool has_words(std::string_view text, std::string_view words) {
  for (size_t at = text.find(words); at != text.npos; at = text.find(words, at + 1)) {
    const size_t end = at + words.size();
    if ((at == 0 || !word_byte(text[at - 1])) && (end == text.size() || !word_byte(text[end]))) {
      return true;
    }
  }
  return false;
}

template <size_t N>
int weigh(std::string_view text, const Cue (&cues)[N], std::string& strongest) {
  int sum = 0, best = 0;
  for (const Cue& cue : cues) {
    if (!has_words(text, cue.words)) continue;
    sum += cue.weight;
    if (cue.weight > best) {
      best = cue.weight;
      strongest = "says \"" + std::string(cue.words) + "\"";
    }
  }
  return sum;
}

/// Spellings that occur in programs and hardly in prose; the first found, or empty.
std::string code_spelling(const std::string& text) {
  if (text.find("```") != text.npos) return "holds a code block";
  const size_t tick = text.find('`');
  if (tick != text.npos && text.find('`', tick + 1) != text.npos) return "names code in backquotes";
  for (size_t i = 1; i + 1 < text.size(); ++i) {
    const bool between = word_byte(text[i - 1]);
    if (between && text[i] == '(' && text[i + 1] == ')') return "names a call";
    if (between && text.compare(i, 2, "::") == 0) return "names a member";
    if (between && text.compare(i, 2, "->") == 0) return "names a member";
    const auto lower_case = [](char c) { return c >= 'a' && c <= 'z'; };
    if (lower_case(text[i - 1]) && text[i] == '_' && lower_case(text[i + 1])) {
      return "names an identifier";
    }
    if (i + 2 < text.size() && lower_case(text[i - 1]) && text[i] >= 'A' && text[i] <= 'Z' &&
        lower_case(text[i + 1])) {
      return "names an identifier";
    }
  }
  static constexpr std::array kEndings = {".py", ".cpp", ".h", ".rs", ".ts", ".js", ".go", ".java"};
  for (const std::string_view ending : kEndings) {
    const size_t at = text.find(ending);
    if (at == text.npos || at == 0 || !word_byte(text[at - 1])) continue;
    if (at + ending.size() < text.size() && word_byte(text[at + ending.size()])) continue;
    return "names a source file";
  }
  return {};
}

/// The first of these roles that has a model fit for it; the reason says what was passed over.
Result<Route> first_of(std::string what, const std::vector<Role>& wanted, const Models& models) {
  Route route;
  for (const Role role : wanted) {
    const bool completes = role == Role::completion;
    if (models.has(role) && (completes ? models.chats(role) : true)) {
      route.role = role;
      route.model = models.name(role);
      route.reason = std::move(what);
      return route;
    }
    what += completes ? ", the completion model is no instruct model"
                      : std::string(", no ") + to_string(role) + " model is configured";
  }
  return fail(ErrorCode::not_found,
              "no model that answers in words is configured; give the role \"general\" or "
              "\"reasoning\" one in models.json");
}

}  // namespace

const char* to_string(Intent intent) {
  switch (intent) {
    case Intent::completion:
      return "completion";
    case Intent::review:
      return "review";
    case Intent::fix:
      return "fix";
    case Intent::why:
      return "why";
    case Intent::explain:
      return "explain";
    case Intent::chat:
      return "chat";
    case Intent::commit_message:
      return "commit message";
  }
  return "chat";
}

const char* to_string(Topic topic) {
  switch (topic) {
    case Topic::code:
      return "code";
    case Topic::reasoning:
      return "reasoning";
    case Topic::general:
      return "general";
  }
  return "general";
}

Classified classify(std::string_view question) {
  const auto start = std::chrono::steady_clock::now();
  const std::string text = head_and_tail(question);
  const std::string small = lower(text);
  std::string code_why, reasoning_why;
  int code = weigh(small, kCodeCues, code_why);
  const int reasoning = weigh(small, kReasoningCues, reasoning_why);
  if (std::string spelling = code_spelling(text); !spelling.empty()) {
    code += 4;
    code_why = std::move(spelling);
  }
  Classified out;
  // Asking why about code is reasoning about it; naming code while asking for it is not.
  if (reasoning >= 2 && reasoning * 2 >= code) {
    out.topic = Topic::reasoning;
    out.why = reasoning_why;
  } else if (code >= 2) {
    out.topic = Topic::code;
    out.why = code_why;
  } else {
    out.why = "names neither code nor a problem to reason about";
  }
  out.ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return out;
}

Route completion_route(std::string model) {
  Route route;
  route.model = std::move(model);
  route.reason = "completion wants the lowest latency";
  return route;
}

Result<Route> route(Intent intent, const std::optional<Classified>& topic, const Models& models) {
  const std::string what = to_string(intent);
  switch (intent) {
    case Intent::completion:
      return completion_route(models.name(Role::completion));
    case Intent::review:
    case Intent::fix:
    case Intent::why:
      return first_of(what + " wants reasoning", {Role::reasoning, Role::general, Role::completion},
                      models);
    case Intent::explain:
    case Intent::commit_message:
      return first_of(what + " wants a general model",
                      {Role::general, Role::reasoning, Role::completion}, models);
    case Intent::chat:
      break;
  }
  const Classified found = topic.value_or(Classified{Topic::general, "not classified", 0});
  const std::string about =
      "a question about " + std::string(to_string(found.topic)) + " (" + found.why + ")";
  std::vector<Role> wanted = {Role::general, Role::reasoning, Role::completion};
  if (found.topic == Topic::code) wanted = {Role::completion, Role::general, Role::reasoning};
  if (found.topic == Topic::reasoning) wanted = {Role::reasoning, Role::general, Role::completion};
  auto chosen = first_of(about, wanted, models);
  if (chosen) chosen->classify_ms = found.ms;
  return chosen;
}

}  // namespace cambium::assist
