#include "engine/chat_template.h"

#include <algorithm>

namespace cambium::engine {

namespace {

using Piece = ChatTemplate::Piece;
using Role = ChatMessage::Role;

constexpr const char* kEndOfSentence = "<｜end▁of▁sentence｜>";

/// Pieces as they grow; text goes to the text before it.
class Pieces {
 public:
  Pieces& text(std::string_view text) {
    if (text.empty()) return *this;
    if (pieces_.empty() || pieces_.back().special) pieces_.push_back({false, ""});
    pieces_.back().text += text;
    return *this;
  }
  Pieces& special(const char* spelling) {
    pieces_.push_back({true, spelling});
    return *this;
  }
  std::vector<Piece> take() { return std::move(pieces_); }

 private:
  std::vector<Piece> pieces_;
};

const char* role_name(Role role) {
  switch (role) {
    case Role::system:
      return "system";
    case Role::user:
      return "user";
    case Role::assistant:
      return "assistant";
  }
  return "user";
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  const size_t end = text.find_last_not_of(" \t\r\n");
  return end == text.npos ? std::string_view() : text.substr(begin, end + 1 - begin);
}

void deepseek_coder(Pieces& out, const ChatMessage& message) {
  switch (message.role) {
    case Role::system:
      out.text(message.content);
      break;
    case Role::user:
      out.text("### Instruction:\n").text(message.content).text("\n");
      break;
    case Role::assistant:
      out.text("### Response:\n").text(message.content).text("\n").special("<|EOT|>").text("\n");
      break;
  }
}

void deepseek_v2(Pieces& out, const ChatMessage& message) {
  switch (message.role) {
    case Role::system:
      out.text(message.content).text("\n\n");
      break;
    case Role::user:
      out.text("User: ").text(message.content).text("\n\n");
      break;
    case Role::assistant:
      out.text("Assistant: ").text(message.content).special(kEndOfSentence);
      break;
  }
}

void deepseek_v3(Pieces& out, const ChatMessage& message) {
  switch (message.role) {
    case Role::system:
      out.text(message.content);
      break;
    case Role::user:
      out.special("<｜User｜>").text(message.content);
      break;
    case Role::assistant:
      out.special("<｜Assistant｜>").text(message.content).special(kEndOfSentence);
      break;
  }
}

void chatml(Pieces& out, const ChatMessage& message) {
  out.special("<|im_start|>").text(role_name(message.role)).text("\n").text(message.content);
  out.special("<|im_end|>").text("\n");
}

void llama3(Pieces& out, const ChatMessage& message) {
  out.special("<|start_header_id|>").text(role_name(message.role)).special("<|end_header_id|>");
  out.text("\n\n").text(trimmed(message.content)).special("<|eot_id|>");
}

}  // namespace

std::optional<ChatTemplate> ChatTemplate::recognise(std::string_view source) {
  const auto has = [&](std::string_view part) { return source.find(part) != source.npos; };
  if (has("<｜Assistant｜>")) {
    ChatTemplate out(Style::deepseek_v3);
    // Written so in the generation prompt of R1 and its first distills.
    out.opens_thinking_ = has("<｜Assistant｜><think>");
    return out;
  }
  if (has("<|start_header_id|>") && has("<|end_header_id|>")) return ChatTemplate(Style::llama3);
  if (has("<|im_start|>")) {
    ChatTemplate out(Style::chatml);
    constexpr std::string_view kHelpful = "You are a helpful assistant";
    if (has(kHelpful)) out.default_system_ = std::string(kHelpful) + ".";
    return out;
  }
  if (has("### Instruction:") && has("<|EOT|>")) {
    ChatTemplate out(Style::deepseek_coder);
    // The template's own words, taken from the file.
    const size_t begin = source.find("You are an AI programming assistant");
    const size_t end = begin == source.npos ? begin : source.find_first_of("'\"{\\\n", begin);
    if (end != source.npos)
      out.default_system_ = std::string(source.substr(begin, end - begin)) + "\n";
    return out;
  }
  if (has("User: ") && has("Assistant:")) return ChatTemplate(Style::deepseek_v2);
  return std::nullopt;
}

const char* ChatTemplate::name() const {
  switch (style_) {
    case Style::deepseek_coder:
      return "deepseek-coder";
    case Style::deepseek_v2:
      return "deepseek-v2";
    case Style::deepseek_v3:
      return "deepseek-v3";
    case Style::chatml:
      return "chatml";
    case Style::llama3:
      return "llama3";
  }
  return "chatml";
}

std::vector<Piece> ChatTemplate::render(const std::vector<ChatMessage>& messages) const {
  std::vector<ChatMessage> all = messages;
  const bool has_system = !all.empty() && all.front().role == Role::system;
  if (!has_system && !default_system_.empty()) {
    all.insert(all.begin(), {Role::system, default_system_});
  }
  Pieces out;
  for (const ChatMessage& message : all) {
    switch (style_) {
      case Style::deepseek_coder:
        deepseek_coder(out, message);
        break;
      case Style::deepseek_v2:
        deepseek_v2(out, message);
        break;
      case Style::deepseek_v3:
        deepseek_v3(out, message);
        break;
      case Style::chatml:
        chatml(out, message);
        break;
      case Style::llama3:
        llama3(out, message);
        break;
    }
  }
  switch (style_) {
    case Style::deepseek_coder:
      out.text("### Response:\n");
      break;
    case Style::deepseek_v2:
      out.text("Assistant:");
      break;
    case Style::deepseek_v3:
      out.special("<｜Assistant｜>");
      break;
    case Style::chatml:
      out.special("<|im_start|>").text("assistant\n");
      break;
    case Style::llama3:
      out.special("<|start_header_id|>")
          .text("assistant")
          .special("<|end_header_id|>")
          .text("\n\n");
      break;
  }
  if (opens_thinking_) out.special("<think>").text("\n");
  return out.take();
}

}  // namespace cambium::engine
