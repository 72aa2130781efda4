// Small vocabularies in memory, for tests of the tokenizer and of prompts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/byte_alphabet.h"
#include "engine/gguf.h"
#include "engine/gguf_writer.h"

namespace cambium::test {

/// Token kinds as in `tokenizer.ggml.token_type`.
enum Kind : int32_t { kNormal = 1, kControl = 3, kUserDefined = 4 };

/// The 256 bytes, then what is added; nothing is checked, so that tests can build broken ones.
struct Vocabulary {
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
  std::string model = "gpt2", pre = "starcoder";
  engine::GgufWriter keys;  ///< further keys

  Vocabulary() {
    const engine::ByteAlphabet alphabet;
    for (int b = 0; b < 256; ++b)
      add(alphabet.encode(std::string(1, static_cast<char>(b))), kNormal);
  }
  int32_t add(const std::string& token, Kind kind) {
    tokens.push_back(token);
    types.push_back(kind);
    return static_cast<int32_t>(tokens.size()) - 1;
  }
  /// A merge and the token it makes.
  int32_t merge(const std::string& left, const std::string& right) {
    merges.push_back(left + " " + right);
    return add(left + right, kNormal);
  }
  std::vector<std::byte> bytes() const {
    engine::GgufWriter w = keys;
    w.set_string("tokenizer.ggml.model", model);
    if (!pre.empty()) w.set_string("tokenizer.ggml.pre", pre);
    w.set_strings("tokenizer.ggml.tokens", std::span<const std::string>(tokens));
    w.set_i32s("tokenizer.ggml.token_type", types);
    w.set_strings("tokenizer.ggml.merges", std::span<const std::string>(merges));
    return w.bytes();
  }
};

/// A parsed file with the bytes it views.
struct Parsed {
  std::vector<std::byte> bytes;
  std::shared_ptr<const engine::GgufFile> file;
  explicit Parsed(const Vocabulary& v) : bytes(v.bytes()) {
    auto parsed = engine::GgufFile::parse(bytes, "vocabulary.gguf");
    if (parsed) file = *parsed;
  }
};

}  // namespace cambium::test
