// Any bytes: decoding what was encoded gives them back, offsets ascend, no control token appears.
#include <cstdlib>

#include "engine/gguf.h"
#include "engine/tokenizer.h"

using namespace cambium::engine;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto tokenizer = [] {
    const auto file = GgufFile::open(CAMBIUM_SOURCE_DIR "/tests/golden/vocabulary.gguf");
    if (!file) std::abort();
    auto loaded = Tokenizer::from_gguf(**file);
    if (!loaded) std::abort();
    return *loaded;
  }();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<uint32_t> offsets;
  const auto ids = tokenizer->encode(text, offsets);
  if (offsets.size() != ids.size() || tokenizer->decode(ids) != text) std::abort();
  size_t at = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (offsets[i] != at || tokenizer->is_control(ids[i])) std::abort();
    at += tokenizer->piece(ids[i]).size();
  }
  return 0;
}
