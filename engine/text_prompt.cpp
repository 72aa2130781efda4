#include "engine/text_prompt.h"

#include <optional>

namespace cambium::engine {

namespace {

void append(std::vector<TokenId>& tokens, const std::vector<TokenId>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
}

/// The longest special token spelled at the head of `text`: "<|…|>", "<｜…｜>", "<…>", "[…]".
std::optional<std::pair<TokenId, size_t>> special_at(std::string_view text,
                                                     const Tokenizer& tokenizer) {
  constexpr size_t kLongest = 64;
  if (text.empty() || (text.front() != '<' && text.front() != '[')) return std::nullopt;
  const char close = text.front() == '<' ? '>' : ']';
  const size_t end = text.substr(0, kLongest).find(close);
  if (end == text.npos) return std::nullopt;
  const auto id = tokenizer.special(text.substr(0, end + 1));
  if (!id) return std::nullopt;
  return std::pair(*id, end + 1);
}

std::vector<TokenId> encode_raw(const RawPrompt& prompt, const Tokenizer& tokenizer,
                                const PromptFormat& format) {
  std::vector<TokenId> tokens;
  if (format.bos) tokens.push_back(*format.bos);
  if (!prompt.parse_special) {
    append(tokens, tokenizer.encode(prompt.text));
    return tokens;
  }
  const std::string_view text = prompt.text;
  size_t plain = 0;
  for (size_t at = 0; at < text.size();) {
    const auto special = special_at(text.substr(at), tokenizer);
    if (!special) {
      ++at;
      continue;
    }
    append(tokens, tokenizer.encode(text.substr(plain, at - plain)));
    // A prompt that spells the bos out gets one, not two.
    if (!(tokens.size() == 1 && format.bos == special->first)) tokens.push_back(special->first);
    at += special->second;
    plain = at;
  }
  append(tokens, tokenizer.encode(text.substr(plain)));
  return tokens;
}

Result<std::vector<TokenId>> encode_fim(const FimPrompt& prompt, const Tokenizer& tokenizer,
                                        const PromptFormat& format) {
  const bool spm_only = format.fim && !format.fim->psm;
  auto layout = format.fim_layout(spm_only ? FimOrder::spm : FimOrder::psm);
  if (!layout) return tl::unexpected(layout.error());
  std::vector<TokenId> tokens;
  for (const PromptFormat::Part& part : *layout) {
    switch (part.kind) {
      case PromptFormat::Part::Kind::special:
        tokens.push_back(part.special);
        break;
      case PromptFormat::Part::Kind::prefix:
        append(tokens, tokenizer.encode(prompt.prefix));
        break;
      case PromptFormat::Part::Kind::suffix:
        append(tokens, tokenizer.encode(prompt.suffix));
        break;
    }
  }
  return tokens;
}

Result<EncodedPrompt> encode_chat(const ChatPrompt& prompt, const Tokenizer& tokenizer,
                                  const PromptFormat& format,
                                  const std::optional<ChatTemplate>& chat) {
  if (!chat) {
    return fail(ErrorCode::unsupported,
                "the model " + format.model +
                    " has no chat template that is known here; use an instruct model of DeepSeek, "
                    "Qwen or Llama, or serve this one elsewhere and name the endpoint in "
                    "models.json");
  }
  EncodedPrompt out;
  out.opening = chat->opening();
  if (format.bos) out.tokens.push_back(*format.bos);
  for (const ChatTemplate::Piece& piece : chat->render(prompt.messages)) {
    if (!piece.special) {
      append(out.tokens, tokenizer.encode(piece.text));
    } else if (const auto id = tokenizer.special(piece.text)) {
      out.tokens.push_back(*id);
    } else if (piece.text == "<think>") {
      append(out.tokens, tokenizer.encode(piece.text));  // plain text in the first distills
    } else {
      return fail(ErrorCode::unsupported, "the chat template of " + format.model + " (" +
                                              chat->name() + ") wants the token " + piece.text +
                                              ", which its vocabulary lacks; the file was "
                                              "converted wrongly, use another");
    }
  }
  return out;
}

}  // namespace

Result<EncodedPrompt> encode_prompt(const TextPrompt& prompt, const Tokenizer& tokenizer,
                                    const PromptFormat& format,
                                    const std::optional<ChatTemplate>& chat) {
  if (const auto* raw = std::get_if<RawPrompt>(&prompt)) {
    return EncodedPrompt{encode_raw(*raw, tokenizer, format), ""};
  }
  if (const auto* fim = std::get_if<FimPrompt>(&prompt)) {
    auto tokens = encode_fim(*fim, tokenizer, format);
    if (!tokens) return tl::unexpected(tokens.error());
    return EncodedPrompt{std::move(*tokens), ""};
  }
  if (const auto* asked = std::get_if<ChatPrompt>(&prompt)) {
    return encode_chat(*asked, tokenizer, format, chat);
  }
  return fail(ErrorCode::invalid_argument, "the request has no prompt");
}

}  // namespace cambium::engine
