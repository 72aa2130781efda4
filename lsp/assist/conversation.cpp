#include "lsp/assist/conversation.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

namespace cambium::assist {

namespace {

using engine::ChatMessage;

constexpr int32_t kTemplateTokens = 5;
constexpr size_t kMostNames = 6;
constexpr size_t kShortBlock = 2;  ///< blocks of so few lines stay where they are

bool word_byte(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || (c & 0x80) != 0;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.remove_suffix(1);
  }
  return text;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == text.npos) break;
    text.remove_prefix(end + 1);
  }
  return lines;
}

/// Whole words only: `parse` is not in "parser".
bool names_word(std::string_view text, std::string_view word) {
  for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
    const bool begins = at == 0 || !word_byte(text[at - 1]);
    const bool ends = at + word.size() == text.size() || !word_byte(text[at + word.size()]);
    if (begins && ends) return true;
  }
  return false;
}

/// The words that follow a defining keyword at the head of a line.
std::vector<std::string> defined_names(const std::vector<std::string_view>& lines) {
  static constexpr std::array kKeywords = {"def",    "class", "fn",    "func", "function",
                                           "struct", "enum",  "trait", "impl", "interface",
                                           "type",   "void",  "int",   "auto", "bool"};
  std::vector<std::string> names;
  for (const std::string_view line : lines) {
    std::string_view before;
    size_t at = 0;
    while (at < line.size() && names.size() < kMostNames) {
      if (!word_byte(line[at])) {
        if (line[at] == '(' || line[at] == '=' || line[at] == '#') break;
        ++at;
        continue;
      }
      const size_t begin = at;
      while (at < line.size() && word_byte(line[at])) ++at;
      const std::string_view word = line.substr(begin, at - begin);
      if (std::find(kKeywords.begin(), kKeywords.end(), before) != kKeywords.end()) {
        if (std::find(names.begin(), names.end(), word) == names.end()) names.emplace_back(word);
        break;
      }
      before = word;
    }
  }
  return names;
}

/// Appends `content` to `transcript` with its long fenced blocks replaced by references.
void take_out_code(std::string_view content, std::string& transcript,
                   std::vector<CodeReference>& code) {
  const std::vector<std::string_view> lines = lines_of(content);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!trimmed(lines[i]).starts_with("```")) {
      transcript.append(lines[i]) += '\n';
      continue;
    }
    size_t close = i + 1;
    while (close < lines.size() && trimmed(lines[close]) != "```") ++close;
    const std::vector<std::string_view> body(
        lines.begin() + static_cast<std::ptrdiff_t>(i) + 1,
        lines.begin() + static_cast<std::ptrdiff_t>(std::min(close, lines.size())));
    std::string fence;
    for (size_t j = i; j < std::min(close + 1, lines.size()); ++j) fence.append(lines[j]) += '\n';
    i = close;
    if (body.size() <= kShortBlock) {
      transcript += fence;
      continue;
    }
    CodeReference reference;
    reference.names = defined_names(body);
    const std::string_view language = trimmed(trimmed(lines_of(fence).front()).substr(3));
    reference.label = "[code " + std::to_string(code.size() + 1) + ": ";
    if (!language.empty()) reference.label.append(language) += ", ";
    reference.label += std::to_string(body.size()) + " lines";
    for (size_t n = 0; n < reference.names.size(); ++n) {
      reference.label += (n == 0 ? ": " : ", ") + reference.names[n];
    }
    reference.label += ']';
    reference.fence = std::move(fence);
    transcript.append(reference.label) += '\n';
    code.push_back(std::move(reference));
  }
}

const char* speaker(ChatMessage::Role role) {
  return role == ChatMessage::Role::assistant ? "Assistant" : "User";
}

size_t first_turn(const std::vector<ChatMessage>& messages) {
  size_t first = 0;
  while (first < messages.size() && messages[first].role == ChatMessage::Role::system) ++first;
  return first;
}

void write_transcript(const std::vector<ChatMessage>& messages, CompactionPlan& plan,
                      const EarlierSummary* earlier) {
  std::string covered;  // turns that `earlier` stands for: only their code is wanted
  for (size_t i = plan.first; i < plan.end; ++i) {
    const bool known = earlier != nullptr && i < earlier->end;
    std::string& out = known ? covered : plan.transcript;
    out += std::string(speaker(messages[i].role)) + ": ";
    take_out_code(messages[i].content, out, plan.code);
  }
  if (earlier != nullptr) plan.transcript.insert(0, "Before that: " + earlier->text + "\n");
}

/// Does a sentence state something that a later turn may need?
bool states_something(std::string_view sentence) {
  static constexpr std::array kMarks = {"must",     "never",   "always", "only",   "decided",
                                        "use",      "because", "call",   "called", "named",
                                        "remember", "should",  "agreed", "means",  "[code"};
  if (sentence.find('`') != sentence.npos) return true;
  for (const char c : sentence) {
    if (c >= '0' && c <= '9') return true;
  }
  return std::any_of(kMarks.begin(), kMarks.end(),
                     [&](std::string_view mark) { return sentence.find(mark) != sentence.npos; });
}

std::vector<std::string> sentences_of(std::string_view text) {
  std::vector<std::string> sentences;
  for (const std::string_view line : lines_of(text)) {
    size_t begin = 0;
    for (size_t i = 0; i < line.size(); ++i) {
      const bool ends = (line[i] == '.' || line[i] == '!' || line[i] == '?' || line[i] == ';') &&
                        (i + 1 == line.size() || line[i + 1] == ' ');
      if (!ends && i + 1 < line.size()) continue;
      const std::string_view sentence = trimmed(line.substr(begin, i + 1 - begin));
      if (!sentence.empty()) sentences.emplace_back(sentence);
      begin = i + 1;
    }
  }
  return sentences;
}

}  // namespace

int32_t estimated_tokens(std::string_view text) {
  return static_cast<int32_t>((text.size() * 2 + 6) / 7);
}

int32_t conversation_tokens(const std::vector<ChatMessage>& messages, const CountTokens& count) {
  int32_t tokens = 0;
  for (const ChatMessage& message : messages) tokens += count(message.content) + kTemplateTokens;
  return tokens;
}

CompactionPlan plan_compaction(const std::vector<ChatMessage>& messages, int32_t budget,
                               const CountTokens& count, const EarlierSummary* earlier) {
  CompactionPlan plan;
  plan.first = plan.end = first_turn(messages);
  if (conversation_tokens(messages, count) <= budget) return plan;
  // From the newest back: whole turns, as many as fit.
  int32_t kept = 0;
  size_t begin = messages.size();
  while (begin > plan.first) {
    const int32_t cost = count(messages[begin - 1].content) + kTemplateTokens;
    if (kept + cost > budget / 2) break;
    kept += cost;
    --begin;
  }
  // Templates want the user to speak first.
  while (begin < messages.size() && messages[begin].role != ChatMessage::Role::user) ++begin;
  plan.end = std::min(begin, messages.size() - 1);
  plan.summary_tokens = std::max(64, budget / 5);
  write_transcript(messages, plan, earlier);
  return plan;
}

CompactionPlan plan_again(const std::vector<ChatMessage>& messages, const EarlierSummary& earlier) {
  CompactionPlan plan;
  plan.first = first_turn(messages);
  plan.end = std::min(earlier.end, messages.size() - 1);
  write_transcript(messages, plan, &earlier);
  return plan;
}

std::vector<ChatMessage> summary_request(const CompactionPlan& plan) {
  return {{ChatMessage::Role::user,
           "Summarise the conversation below for an assistant that goes on with it. Keep every "
           "decision, constraint, number, file name and identifier; leave out greetings and "
           "explanations. Keep references such as [code 1: ...] as they stand. Write short "
           "lines, nothing else.\n\n" +
               plan.transcript}};
}

std::string summary_by_rule(const CompactionPlan& plan, const CountTokens& count) {
  std::vector<std::string> sentences = sentences_of(plan.transcript);
  std::erase_if(sentences, [](const std::string& s) { return !states_something(s); });
  std::set<std::string> seen;
  std::vector<std::string> kept;
  int32_t tokens = 0;
  for (size_t i = sentences.size(); i-- > 0;) {
    const int32_t cost = count(sentences[i]) + 1;
    if (tokens + cost > plan.summary_tokens) continue;  // a shorter, older one may still fit
    if (!seen.insert(sentences[i]).second) continue;
    tokens += cost;
    kept.push_back(std::move(sentences[i]));
  }
  std::string summary;
  for (size_t i = kept.size(); i-- > 0;) summary.append(kept[i]) += '\n';
  return summary;
}

std::vector<ChatMessage> compacted(const std::vector<ChatMessage>& messages,
                                   const CompactionPlan& plan, std::string_view summary) {
  if (!plan.needed()) return messages;
  std::vector<ChatMessage> out(messages.begin(),
                               messages.begin() + static_cast<std::ptrdiff_t>(plan.first));
  std::string lead = "What was said before, in short:\n" + std::string(trimmed(summary)) + '\n';
  const std::string& question = messages.back().content;
  for (const CodeReference& code : plan.code) {
    const std::string number = code.label.substr(0, code.label.find(':'));  // "[code 2"
    const bool wanted =
        question.find(number) != question.npos || names_word(question, number.substr(1)) ||
        std::any_of(code.names.begin(), code.names.end(),
                    [&](const std::string& name) { return names_word(question, name); });
    if (wanted) lead += '\n' + code.label + '\n' + code.fence;
  }
  out.insert(out.end(), messages.begin() + static_cast<std::ptrdiff_t>(plan.end), messages.end());
  ChatMessage& bearer = out[plan.first];
  bearer.content = lead + "\n---\n\n" + bearer.content;
  return out;
}

}  // namespace cambium::assist
