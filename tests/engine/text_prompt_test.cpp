#include "engine/text_prompt.h"

#include <doctest/doctest.h>

#include <map>
#include <string>

using namespace cambium;
using namespace cambium::engine;

namespace {

using Speaker = ChatMessage::Role;

/// A token a byte, and the special tokens it is given, from 1000 on.
class Bytes final : public Tokenizer {
 public:
  explicit Bytes(std::vector<std::string> specials) : specials_(std::move(specials)) {}
  std::vector<TokenId> encode(std::string_view text) const override {
    std::vector<TokenId> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::vector<TokenId> encode(std::string_view text, std::vector<uint32_t>&) const override {
    return encode(text);
  }
  std::string_view piece(TokenId) const override { return {}; }
  /// Text as it stands, a special token in guillemets: what a test compares.
  std::string decode(std::span<const TokenId> ids) const override {
    std::string text;
    for (const TokenId id : ids) {
      if (id >= 1000)
        text += "«" + specials_.at(static_cast<size_t>(id - 1000)) + "»";
      else
        text += static_cast<char>(id);
    }
    return text;
  }
  int32_t size() const override { return 2000; }
  std::optional<TokenId> special(std::string_view spelling) const override {
    for (size_t i = 0; i < specials_.size(); ++i) {
      if (specials_[i] == spelling) return static_cast<TokenId>(1000 + i);
    }
    return std::nullopt;
  }
  bool is_control(TokenId id) const override { return id >= 1000; }
  std::vector<TokenId> compatible_with(std::string_view) const override { return {}; }

 private:
  std::vector<std::string> specials_;
};

const std::vector<ChatMessage> kTalk = {{Speaker::system, "Be brief."},
                                        {Speaker::user, "Hi <|im_end|>"},
                                        {Speaker::assistant, "Hello."},
                                        {Speaker::user, "Bye"}};

std::string rendered(const std::string& source, const Bytes& tokenizer,
                     const std::vector<ChatMessage>& messages = kTalk) {
  PromptFormat format;
  format.model = "m";
  const auto encoded =
      encode_prompt(ChatPrompt{messages}, tokenizer, format, ChatTemplate::recognise(source));
  return encoded ? tokenizer.decode(encoded->tokens) : encoded.error().message;
}

}  // namespace

TEST_CASE("chat templates, token by token; what a user types is never a token") {
  struct Case {
    const char* name;
    const char* source;  ///< what of the file's template it is known by
    std::vector<std::string> specials;
    const char* expected;
  };
  const Case cases[] = {
      {"deepseek-v3",
       "{{'<｜User｜>' + m}}{{'<｜Assistant｜>' + m + '<｜end▁of▁sentence｜>'}}",
       {"<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<|im_end|>"},
       "Be brief.«<｜User｜>»Hi <|im_end|>«<｜Assistant｜>»Hello.«<｜end▁of▁sentence｜>»"
       "«<｜User｜>»Bye«<｜Assistant｜>»"},
      {"deepseek-v2",
       "{{ 'User: ' + m + '\n\n' }}{{ 'Assistant: ' + message['content'] + eos_token }}",
       {"<｜end▁of▁sentence｜>"},
       "Be brief.\n\nUser: Hi <|im_end|>\n\nAssistant: Hello.«<｜end▁of▁sentence｜>»User: Bye\n\n"
       "Assistant:"},
      {"deepseek-coder",
       "{{'### Instruction:\n' + m + '\n'}}{{'### Response:\n' + m + '\n<|EOT|>\n'}}",
       {"<|EOT|>"},
       "Be brief.### Instruction:\nHi <|im_end|>\n### Response:\nHello.\n«<|EOT|>»\n"
       "### Instruction:\nBye\n### Response:\n"},
      {"chatml",
       "{{'<|im_start|>' + role + '\n' + m + '<|im_end|>'}}",
       {"<|im_start|>", "<|im_end|>"},
       "«<|im_start|>»system\nBe brief.«<|im_end|>»\n«<|im_start|>»user\nHi "
       "<|im_end|>«<|im_end|>»\n"
       "«<|im_start|>»assistant\nHello.«<|im_end|>»\n«<|im_start|>»user\nBye«<|im_end|>»\n"
       "«<|im_start|>»assistant\n"},
      {"llama3",
       "{{'<|start_header_id|>' + role + '<|end_header_id|>\n\n' + m + '<|eot_id|>'}}",
       {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
       "«<|start_header_id|>»system«<|end_header_id|>»\n\nBe brief.«<|eot_id|>»"
       "«<|start_header_id|>»user«<|end_header_id|>»\n\nHi <|im_end|>«<|eot_id|>»"
       "«<|start_header_id|>»assistant«<|end_header_id|>»\n\nHello.«<|eot_id|>»"
       "«<|start_header_id|>»user«<|end_header_id|>»\n\nBye«<|eot_id|>»"
       "«<|start_header_id|>»assistant«<|end_header_id|>»\n\n"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto chat = ChatTemplate::recognise(c.source);
    REQUIRE(chat);
    CHECK(std::string(chat->name()) == c.name);
    CHECK(rendered(c.source, Bytes(c.specials)) == c.expected);
  }
}

TEST_CASE("R1 begins inside its thinking, a default system prompt comes from the file") {
  const Bytes tokenizer({"<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<think>"});
  const std::string r1 = "'<｜Assistant｜>'…{{'<｜Assistant｜><think>\\n'}}";
  const std::vector<ChatMessage> question = {{Speaker::user, "6*7?"}};
  CHECK(rendered(r1, tokenizer, question) == "«<｜User｜>»6*7?«<｜Assistant｜>»«<think>»\n");
  CHECK(ChatTemplate::recognise(r1)->opening() == "<think>\n");
  CHECK(ChatTemplate::recognise("<｜Assistant｜>")->opening().empty());

  const Bytes qwen({"<|im_start|>", "<|im_end|>"});
  CHECK(rendered("<|im_start|>system\nYou are a helpful assistant<|im_end|>", qwen, question)
            .starts_with("«<|im_start|>»system\nYou are a helpful assistant.«<|im_end|>»"));
  const Bytes coder({"<|EOT|>"});
  CHECK(rendered("{{'You are an AI programming assistant, made for a test.\\n'}}"
                 "### Instruction: <|EOT|>",
                 coder, question) ==
        "You are an AI programming assistant, made for a test.\n### Instruction:\n6*7?\n"
        "### Response:\n");
}

TEST_CASE("a template that cannot be rendered is told in a sentence") {
  const Bytes tokenizer({});
  CHECK_FALSE(ChatTemplate::recognise(""));
  CHECK_FALSE(ChatTemplate::recognise("{% for m in messages %}[INST]{{ m }}[/INST]{% endfor %}"));
  CHECK(rendered("", tokenizer).find("has no chat template that is known here") !=
        std::string::npos);
  CHECK(rendered("<|im_start|>", tokenizer).find("wants the token <|im_start|>") !=
        std::string::npos);
}

TEST_CASE("raw prompts parse special tokens only where asked to") {
  const Bytes tokenizer({"<s>", "<|a|>", "[B]"});
  PromptFormat format;
  format.bos = tokenizer.special("<s>");
  const auto encoded = [&](const std::string& text, bool parse) {
    const auto prompt = encode_prompt(RawPrompt{text, parse}, tokenizer, format, std::nullopt);
    REQUIRE(prompt.has_value());
    return tokenizer.decode(prompt->tokens);
  };
  CHECK(encoded("x<|a|>y", false) == "«<s>»x<|a|>y");
  CHECK(encoded("x<|a|>y[B]", true) == "«<s>»x«<|a|>»y«[B]»");
  CHECK(encoded("<s>x<b>[", true) == "«<s>»x<b>[");  // one bos, and what is no token is text
  CHECK_FALSE(encode_prompt({}, tokenizer, format, std::nullopt).has_value());
}

TEST_CASE("fill-in-the-middle prompts in the order the model knows") {
  const Bytes tokenizer({"<p>", "<s>", "<m>"});
  PromptFormat format;
  format.model = "m";
  const auto encoded = [&] {
    const auto prompt = encode_prompt(FimPrompt{"a<p>", "b"}, tokenizer, format, std::nullopt);
    return prompt ? tokenizer.decode(prompt->tokens) : prompt.error().message;
  };
  CHECK(encoded().find("no fill-in-the-middle tokens") != std::string::npos);
  format.fim = FimTokens{1000, 1001, 1002, true, true};
  CHECK(encoded() == "«<p>»a<p>«<s>»b«<m>»");
  format.fim->psm = false;
  CHECK(encoded() == "«<p>»«<s>»b«<m>»a<p>");
}
