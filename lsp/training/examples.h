// From a source file to training examples: plain text and fill-in-the-middle in both orders, laid
// out as the prompts of serving are (engine/prompt_format.h).
//
//   plain  [bos] FILE name "\n" text                                        [bos at the file's end]
//   psm    [bos] FILE name "\n" PRE prefix SUF suffix MID middle END
//   spm    [bos] FILE name "\n" PRE SUF suffix MID prefix middle END
//
// A file is cut at line starts into segments, each of which becomes one example, so that every part
// of it is seen about once a pass. Prefix, middle and suffix are tokenized apart, as a cursor
// inside a token asks for. Sequences and labels come from lsp/assist, by the calls that a
// completion makes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/prompt_format.h"
#include "engine/result.h"
#include "engine/tokenizer.h"
#include "lsp/assist/token_structure.h"
#include "lsp/training/container.h"
#include "lsp/training/fill_in_middle.h"

namespace cambium::training {

struct ExampleOptions {
  uint32_t max_tokens = 2048;   ///< of an example
  double fill_in_middle = 0.5;  ///< share of the segments
  double suffix_first = 0.5;    ///< of these, in the order suffix, prefix, middle
  double named = 0.9;           ///< examples that begin with the file's name
  uint32_t max_middle_bytes = 900;
  bool labels = false;  ///< also the structure, and loss only where it gives nothing away
  uint64_t seed = 1;
};

/// Examples one after the other.
struct Examples {
  std::vector<engine::TokenId> tokens;
  /// 1 where the token is to be predicted. With labels that is the plain text, the prefix of psm,
  /// and every middle: elsewhere the labels of earlier tokens tell of later ones (whether a body is
  /// still open at the hole, how far the hole is).
  std::vector<uint8_t> loss;
  std::vector<int32_t> labels;  ///< scope, last, place of each token; empty without labels
  std::vector<uint32_t> sizes;  ///< tokens of each example
  uint64_t bytes = 0;           ///< of source text
  uint64_t middles = 0, middle_tokens = 0;
  std::array<uint64_t, kHoleKinds> kinds{};

  void append(const Examples& other);
};

/// Thread-safe after creation.
class ExampleMaker {
 public:
  /// invalid_argument if holes are wanted and the vocabulary has no fill-in-the-middle tokens. A
  /// model that knows one order only gets its examples in that order.
  static Result<ExampleMaker> create(std::shared_ptr<const engine::Tokenizer> tokenizer,
                                     std::shared_ptr<const engine::PromptFormat> format,
                                     ExampleOptions options);
  void make(const SourceFile& file, Examples& out) const;

 private:
  ExampleMaker() = default;
  using Layout = std::vector<engine::PromptFormat::Part>;
  void plain(const SourceFile& file, ByteRange window, const syntax::ScopeMap& scopes,
             Random& random, Examples& out) const;
  void hole(const SourceFile& file, ByteRange window, const Cuts& cuts, Random& random,
            Examples& out) const;
  Layout layout(engine::FimOrder order, std::string_view name) const;
  void append(engine::TokenId id, bool predicted, engine::TokenLabel label, Examples& out) const;
  void append(const assist::AlignedSequence& sequence, const Layout& layout, size_t n_prefix,
              size_t n_suffix, bool predict_prefix, bool predict_suffix, Examples& out) const;

  std::shared_ptr<const engine::Tokenizer> tokenizer_;
  std::shared_ptr<const engine::PromptFormat> format_;
  engine::TokenId end_ = -1;  ///< of a middle
  ExampleOptions options_;
};

}  // namespace cambium::training
