#include "engine/prompt_format.h"

#include <doctest/doctest.h>

#include "engine/tokenizer.h"
#include "tests/engine/vocabulary.h"

using namespace cambium;
using namespace cambium::engine;
using namespace cambium::test;

namespace {

Result<std::shared_ptr<const PromptFormat>> format_of(const Vocabulary& vocabulary) {
  const Parsed parsed(vocabulary);
  REQUIRE(parsed.file);
  const auto tokenizer = Tokenizer::from_gguf(*parsed.file);
  REQUIRE_MESSAGE(tokenizer.has_value(), (tokenizer ? "" : tokenizer.error().message));
  return PromptFormat::from_gguf(*parsed.file, **tokenizer);
}

std::shared_ptr<const PromptFormat> must_format(const Vocabulary& vocabulary) {
  const auto format = format_of(vocabulary);
  REQUIRE_MESSAGE(format.has_value(), (format ? "" : format.error().message));
  return *format;
}

/// "257 P 258 S 259": ids, P and S for the parts of the document.
std::string text_of(const Result<std::vector<PromptFormat::Part>>& layout) {
  if (!layout) return layout.error().message;
  std::string out;
  for (const PromptFormat::Part& part : *layout) {
    if (!out.empty()) out += ' ';
    using Kind = PromptFormat::Part::Kind;
    if (part.kind == Kind::special)
      out += std::to_string(part.special);
    else
      out += part.kind == Kind::prefix ? 'P' : 'S';
  }
  return out;
}

}  // namespace

TEST_CASE("prompt format: known spellings") {
  struct Case {
    const char *prefix, *suffix, *middle;
  };
  for (const Case& c : {Case{"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},
                        Case{"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
                        Case{"<fim_prefix>", "<fim_suffix>", "<fim_middle>"}}) {
    CAPTURE(c.prefix);
    Vocabulary v;
    v.add(c.prefix, kUserDefined);  // 256
    v.add(c.suffix, kUserDefined);
    v.add(c.middle, kUserDefined);
    const auto format = must_format(v);
    REQUIRE(format->fim);
    CHECK(text_of(format->fim_layout(FimOrder::psm)) == "256 P 257 S 258");
    CHECK(text_of(format->fim_layout(FimOrder::spm)).find("not trained") != std::string::npos);
    CHECK(format->end == std::vector<TokenId>{256, 257, 258});
  }
}

TEST_CASE("prompt format: keys come before spellings, and name the orders") {
  for (const bool older : {false, true}) {
    Vocabulary v;
    for (const char* name : {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<A>", "<B>",
                             "<C>", "<|bos|>", "<|file_name|>"}) {
      v.add(name, kControl);  // from 256
    }
    v.keys.set_u32(older ? "tokenizer.ggml.prefix_token_id" : "tokenizer.ggml.fim_pre_token_id",
                   259);
    v.keys.set_u32(older ? "tokenizer.ggml.suffix_token_id" : "tokenizer.ggml.fim_suf_token_id",
                   260);
    v.keys.set_u32(older ? "tokenizer.ggml.middle_token_id" : "tokenizer.ggml.fim_mid_token_id",
                   261);
    v.keys.set_u32("tokenizer.ggml.bos_token_id", 262);
    v.keys.set_bool("tokenizer.ggml.add_bos_token", true);
    v.keys.set_u32("cambium.file_token_id", 263);
    v.keys.set_bool("cambium.fim.psm", !older);
    v.keys.set_bool("cambium.fim.spm", true);
    const auto format = must_format(v);
    CHECK(text_of(format->fim_layout(FimOrder::spm)) == "262 259 260 S 261 P");
    CHECK(format->file == std::optional<TokenId>(263));
    const std::string psm = text_of(format->fim_layout(FimOrder::psm));
    if (older)
      CHECK(psm.find("prefix-suffix-middle") != std::string::npos);
    else
      CHECK(psm == "262 259 P 260 S 261");
  }
}

TEST_CASE("prompt format: bos only where the file asks for it") {
  struct Case {
    const char* pre;
    std::optional<bool> add;
    bool expected;
  };
  for (const Case& c : {Case{"starcoder", {}, false}, Case{"starcoder", true, true},
                        Case{"deepseek-coder", {}, true}, Case{"deepseek-coder", false, false},
                        Case{"llama-bpe", {}, true}, Case{"qwen2", {}, false}}) {
    CAPTURE(c.pre);
    Vocabulary v;
    v.pre = c.pre;
    v.keys.set_u32("tokenizer.ggml.bos_token_id", 65);
    if (c.add) v.keys.set_bool("tokenizer.ggml.add_bos_token", *c.add);
    CHECK(must_format(v)->bos.has_value() == c.expected);
  }
}

TEST_CASE("prompt format: every kind of end token") {
  Vocabulary v;
  const TokenId eos = v.add("<|a|>", kControl), eot = v.add("<|EOT|>", kUserDefined),
                pad = v.add("<|b|>", kControl), other = v.add("<|c|>", kControl),
                separator = v.add("<|file_sep|>", kControl);
  v.keys.set_u32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(eos));
  v.keys.set_u32("tokenizer.ggml.fim_pad_token_id", static_cast<uint32_t>(pad));
  v.keys.set_i32("tokenizer.ggml.eot_token_id", -1);
  const auto format = must_format(v);
  CHECK(format->end == std::vector<TokenId>{eos, eot, pad, separator});
  CHECK(format->is_end(eot));
  CHECK_FALSE(format->is_end(other));
  CHECK_FALSE(format->is_end('a'));
}

TEST_CASE("prompt format: errors say what to do") {
  Vocabulary chat;
  chat.keys.set_string("general.name", "some chat model");
  const std::string message = text_of(must_format(chat)->fim_layout(FimOrder::psm));
  CHECK(message.find("some chat model") != std::string::npos);
  CHECK(message.find("deepseek-coder") != std::string::npos);

  Vocabulary wrong;
  wrong.keys.set_u32("tokenizer.ggml.eos_token_id", 256);
  const auto format = format_of(wrong);
  REQUIRE_FALSE(format.has_value());
  CHECK(format.error().code == ErrorCode::bad_format);
  CHECK(format.error().message.find("eos_token_id") != std::string::npos);
  CHECK(format.error().message.find("below 256") != std::string::npos);
}
