// How a model wants a conversation written. Templates come with the file as programs (Jinja); the ones
// that the supported families use are recognised by their text and rendered here, with the exact
// special tokens, so that no file brings a program that runs.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/request.h"

namespace cambium::engine {

class ChatTemplate {
 public:
  /// `source` is tokenizer.chat_template. Nothing: not one that is known here.
  static std::optional<ChatTemplate> recognise(std::string_view source);

  const char* name() const;  ///< "deepseek-coder", "deepseek-v2", "deepseek-v3", "chatml", "llama3"

  /// A conversation as pieces of text, of which some are a special token's spelling. Text beside
  /// text is one piece: a tokenizer sees it whole, as in training. Ends with what opens the answer.
  struct Piece {
    bool special = false;
    std::string text;
  };
  std::vector<Piece> render(const std::vector<ChatMessage>& messages) const;
  /// What of the answer render() has written already: "<think>\n", or nothing.
  std::string_view opening() const { return opens_thinking_ ? "<think>\n" : ""; }

 private:
  enum class Style : uint8_t { deepseek_coder, deepseek_v2, deepseek_v3, chatml, llama3 };
  explicit ChatTemplate(Style style) : style_(style) {}

  Style style_;
  bool opens_thinking_ = false;  ///< the answer begins inside <think>
  std::string default_system_;   ///< where the conversation has no system message
};

}  // namespace cambium::engine
