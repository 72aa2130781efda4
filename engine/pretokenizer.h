// Splits text into the pieces that byte-pair merges never cross, by the rule a model family was
// trained with. The rules are the regular expressions of the families' own tokenizer files, named
// as in the GGUF key `tokenizer.ggml.pre`.
//
// Immutable after create(); split() may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/result.h"

namespace cambium::engine {

class Pretokenizer {
 public:
  /// "deepseek-coder", "deepseek-llm", "deepseek-v3", "qwen2", "llama-bpe", "starcoder", "gpt-2"
  /// and their aliases in GGUF files. unsupported names those there are.
  static Result<std::unique_ptr<const Pretokenizer>> create(std::string_view family);
  ~Pretokenizer();

  /// Appends the byte offset where each piece of `text` ends, `base` added. Pieces are not empty
  /// and cover the text. Any bytes are taken: a byte that is no part of valid UTF-8 is a piece of
  /// its own.
  void split(std::string_view text, uint32_t base, std::vector<uint32_t>& ends) const;

  /// True if a piece that is a token as a whole is taken without merging (Llama 3).
  bool ignores_merges() const { return ignores_merges_; }

 private:
  struct Pattern;
  struct Scratch;
  Pretokenizer();
  void split_valid(std::string_view text, uint32_t base, std::vector<uint32_t>& ends,
                   Scratch& scratch) const;
  void split_sequence(std::string_view text, uint32_t base, std::vector<uint32_t>& ends,
                      Scratch& scratch) const;

  bool ignores_merges_ = false;
  bool isolates_lines_ = false;     ///< '\r' and '\n' are pieces; nothing crosses them
  std::vector<Pattern> sequence_;   ///< applied one after the other, each to the pieces so far
  std::unique_ptr<Pattern> ascii_;  ///< one pattern with the same result on ASCII text
};

}  // namespace cambium::engine
