#include "engine/prompt_format.h"

#include <algorithm>

#include "engine/gguf.h"
#include "engine/tokenizer.h"

namespace cambium::engine {

namespace {

struct KnownFim {
  const char *prefix, *suffix, *middle;
};
constexpr KnownFim kKnownFim[] = {
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},     // DeepSeek-Coder, V2, V3
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},     // Qwen2.5-Coder
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},           // StarCoder
    {"<fim-prefix>", "<fim-suffix>", "<fim-middle>"},           // SantaCoder
    {"<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"},  // GLM-4
};

/// Whatever of these a vocabulary has, none continues a text.
constexpr const char* kKnownEnds[] = {
    "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>",
    "<|EOT|>",       "<|im_end|>",      "<｜end▁of▁sentence｜>",
    "<|fim_end|>",   "<|fim_pad|>",     "<fim_pad>",
    "<|file_sep|>",  "<file_sep>",      "<|repo_name|>",
    "<repo_name>",   "<|User|>",        "<｜User｜>",
};

/// A token id from the metadata: unset if the key is absent, an error if it is no id of the
/// vocabulary. Of several keys the first that is there counts.
Result<std::optional<TokenId>> token_key(const GgufFile& file, const Tokenizer& tokenizer,
                                         std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (!file.has(key)) continue;
    const auto id = file.get_i64(key);
    if (!id) return tl::unexpected(id.error());
    if (*id == -1) continue;  // some converters' way to say "none"
    if (*id < 0 || *id >= tokenizer.size()) {
      return fail(ErrorCode::bad_format, file.path() + ": key '" + key + "' is " +
                                             std::to_string(*id) + "; expected a token id below " +
                                             std::to_string(tokenizer.size()));
    }
    return std::optional(static_cast<TokenId>(*id));
  }
  return std::optional<TokenId>();
}

/// Whether a file that does not say so wants a bos token: the families trained with one.
bool family_adds_bos(std::string_view pre) {
  return pre.starts_with("deepseek") || pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3";
}

}  // namespace

bool PromptFormat::is_end(TokenId id) const {
  return std::binary_search(end.begin(), end.end(), id);
}

Result<std::shared_ptr<const PromptFormat>> PromptFormat::from_gguf(const GgufFile& file,
                                                                    const Tokenizer& tokenizer) {
  auto format = std::make_shared<PromptFormat>();
  const auto name = file.get_string("general.name", file.path());
  if (!name) return tl::unexpected(name.error());
  format->model = *name;

  std::optional<TokenId> found[3];
  constexpr const char* kFimKeys[3][2] = {
      {"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"},
      {"tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"},
      {"tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"},
  };
  for (int i = 0; i < 3; ++i) {
    const auto id = token_key(file, tokenizer, {kFimKeys[i][0], kFimKeys[i][1]});
    if (!id) return tl::unexpected(id.error());
    found[i] = *id;
  }
  for (const KnownFim& known : kKnownFim) {
    if (found[0] && found[1] && found[2]) break;
    found[0] = tokenizer.special(known.prefix);
    found[1] = tokenizer.special(known.suffix);
    found[2] = tokenizer.special(known.middle);
  }
  if (found[0] && found[1] && found[2]) {
    FimTokens fim;
    fim.prefix = *found[0];
    fim.suffix = *found[1];
    fim.middle = *found[2];
    const auto psm = file.get_bool("cambium.fim.psm", true);
    const auto spm = file.get_bool("cambium.fim.spm", false);
    if (!psm) return tl::unexpected(psm.error());
    if (!spm) return tl::unexpected(spm.error());
    fim.psm = *psm;
    fim.spm = *spm;
    format->fim = fim;
  }

  const auto bos = token_key(file, tokenizer, {"tokenizer.ggml.bos_token_id"});
  if (!bos) return tl::unexpected(bos.error());
  const auto pre = file.get_string("tokenizer.ggml.pre", "");
  if (!pre) return tl::unexpected(pre.error());
  const auto add_bos = file.get_bool("tokenizer.ggml.add_bos_token", family_adds_bos(*pre));
  if (!add_bos) return tl::unexpected(add_bos.error());
  if (*add_bos) format->bos = *bos;

  const auto file_token = token_key(file, tokenizer, {"cambium.file_token_id"});
  if (!file_token) return tl::unexpected(file_token.error());
  format->file = *file_token;

  std::vector<TokenId>& end = format->end;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id", "tokenizer.ggml.fim_pad_token_id",
                          "tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_sep_token_id"}) {
    const auto id = token_key(file, tokenizer, {key});
    if (!id) return tl::unexpected(id.error());
    if (*id) end.push_back(**id);
  }
  for (const char* spelling : kKnownEnds) {
    if (const auto id = tokenizer.special(spelling)) end.push_back(*id);
  }
  // A model that begins another document or another hole has finished this one.
  for (const std::optional<TokenId>& id : {found[0], found[1], found[2], *bos, *file_token}) {
    if (id) end.push_back(*id);
  }
  std::sort(end.begin(), end.end());
  end.erase(std::unique(end.begin(), end.end()), end.end());
  return format;
}

Result<std::vector<PromptFormat::Part>> PromptFormat::fim_layout(FimOrder order) const {
  if (!fim) {
    return fail(ErrorCode::unsupported,
                "the model " + model +
                    " has no fill-in-the-middle tokens, so it cannot complete at a cursor; use one "
                    "that has them, for example the bundled Cambium model or a base model of "
                    "DeepSeek-Coder (deepseek-coder-1.3b-base)");
  }
  if (order == FimOrder::psm ? !fim->psm : !fim->spm) {
    return fail(ErrorCode::unsupported,
                "the model " + model + " was not trained with the order " +
                    (order == FimOrder::psm ? "prefix-suffix-middle" : "suffix-prefix-middle") +
                    (fim->psm || fim->spm ? "; use the other one" : ""));
  }
  using Kind = Part::Kind;
  std::vector<Part> parts;
  if (bos) parts.push_back({Kind::special, *bos});
  parts.push_back({Kind::special, fim->prefix});
  if (order == FimOrder::psm) parts.push_back({Kind::prefix});
  parts.push_back({Kind::special, fim->suffix});
  parts.push_back({Kind::suffix});
  parts.push_back({Kind::special, fim->middle});
  if (order == FimOrder::spm) parts.push_back({Kind::prefix});
  return parts;
}

}  // namespace cambium::engine
