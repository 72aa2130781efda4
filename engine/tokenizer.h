// Byte-level byte-pair encoding (Sennrich et al. 2016; byte alphabet as in GPT-2), read from a GGUF
// file's metadata. Exact: encode() gives the ids the model was trained with, decode(encode(x)) == x
// for every byte string. One exception: DeepSeek's vocabularies have no token for the 13 bytes that
// never occur in UTF-8; in text that is not valid UTF-8 these are encoded as U+FFFD.
//
// Immutable after load; every member function may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "engine/result.h"

namespace cambium::engine {

class GgufFile;

class Tokenizer {
 public:
  static Result<std::shared_ptr<const Tokenizer>> from_gguf(const GgufFile& file);
  virtual ~Tokenizer() = default;

  /// Plain text only: a special token's spelling inside `text` is text, never the token. `text` may
  /// hold any bytes. No bos or eos is added.
  virtual std::vector<TokenId> encode(std::string_view text) const = 0;
  /// As encode(), and where each token begins in `text`: offsets[i] is a byte offset, ascending.
  virtual std::vector<TokenId> encode(std::string_view text,
                                      std::vector<uint32_t>& offsets) const = 0;
  /// The token's bytes; empty for control tokens. Markers that a model writes for the reader to see
  /// ("<think>") have bytes, though text never becomes them.
  virtual std::string_view piece(TokenId id) const = 0;
  virtual std::string decode(std::span<const TokenId> ids) const = 0;

  virtual int32_t size() const = 0;
  /// The id of a special token by its exact spelling ("<｜fim▁hole｜>"), if the vocabulary has it.
  virtual std::optional<TokenId> special(std::string_view spelling) const = 0;
  virtual bool is_control(TokenId id) const = 0;
  /// Tokens whose bytes begin with `bytes`, or are a prefix of it; for token healing.
  virtual std::vector<TokenId> compatible_with(std::string_view bytes) const = 0;
};

}  // namespace cambium::engine
