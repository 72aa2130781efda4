// Which special tokens a model uses and how a fill-in-the-middle prompt is laid out; from the GGUF
// metadata, with known families filled in where a file says nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/request.h"
#include "engine/result.h"

namespace cambium::engine {

class GgufFile;
class Tokenizer;

/// Order of a fill-in-the-middle prompt.
///   psm: [bos] PRE prefix SUF suffix MID middle           (DeepSeek-Coder: begin, hole, end)
///   spm: [bos] PRE SUF suffix MID prefix middle           (Bavarian et al. 2022, variant with the
///        prefix and middle contiguous): typing appends to the sequence, the suffix's cells stay.
enum class FimOrder : uint8_t { psm, spm };

struct FimTokens {
  TokenId prefix = -1, suffix = -1, middle = -1;
  bool psm = true;  ///< trained with that order
  bool spm = false;
  /// DeepSeek-Coder puts the hole's token between prefix and suffix and the end after both; that is
  /// psm with these three ids in the same places.
};

class PromptFormat {
 public:
  static Result<std::shared_ptr<const PromptFormat>> from_gguf(const GgufFile& file,
                                                               const Tokenizer& tokenizer);
  std::string model;             ///< its name, for messages
  std::optional<FimTokens> fim;  ///< absent: not a completion model
  std::optional<TokenId> bos;    ///< put first where the file asks for it
  std::vector<TokenId> end;      ///< tokens that end a generation, ascending
  /// Introduces a line with the file's name at the start of a prompt (`cambium.file_token_id`).
  std::optional<TokenId> file;
  bool is_end(TokenId id) const;

  struct Part {
    enum class Kind : uint8_t { special, prefix, suffix } kind;
    TokenId special = -1;
  };
  /// The sequence of parts for an order, special tokens in their places; error if the model has no
  /// FIM tokens (names what would have) or was not trained with the order.
  Result<std::vector<Part>> fim_layout(FimOrder order) const;
};

}  // namespace cambium::engine
