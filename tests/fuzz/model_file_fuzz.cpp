// A model file with changed bytes: opened and read, or refused with a message; nothing else.
//
// The input is a list of patches (two bytes where, one byte what) to a small valid file and, after
// a patch to the file's very end, where to cut it: nearly every input gets past the magic number.
#include <algorithm>
#include <cstdlib>

#include "engine/gguf.h"
#include "engine/prompt_format.h"
#include "engine/tokenizer.h"
#include "tests/engine/vocabulary.h"

using namespace cambium;
using namespace cambium::engine;

namespace {

std::vector<std::byte> valid_file() {
  test::Vocabulary v;
  v.merge("a", "b");
  v.merge("ab", "c");
  v.add("<|fim_prefix|>", test::kControl);
  v.add("<|fim_suffix|>", test::kControl);
  v.add("<|fim_middle|>", test::kControl);
  v.keys.set_string("general.architecture", "llama");
  v.keys.set_u32("tokenizer.ggml.eos_token_id", 258);
  v.keys.add_tensor("token_embd.weight", DType::q8_0, {32, 2}, std::vector<std::byte>(68));
  v.keys.add_tensor("output_norm.weight", DType::f32, {32}, std::vector<std::byte>(128));
  return v.bytes();
}

void use(const GgufFile& file) {
  size_t sum = 0;
  for (const auto& [key, value] : file.metadata()) sum += key.size() + value.to_text().size();
  for (const GgufTensor& tensor : file.tensors()) {
    for (size_t i = 0; i < tensor.bytes; ++i) sum += static_cast<uint8_t>(tensor.data[i]);
  }
  const auto tokenizer = Tokenizer::from_gguf(file);
  if (!tokenizer) return;
  const std::string text = "ab abc\n\xff \u00f5 <|fim_prefix|> " + std::to_string(sum);
  if ((*tokenizer)->decode((*tokenizer)->encode(text)).empty()) std::abort();
  const auto format = PromptFormat::from_gguf(file, **tokenizer);
  if (format && (*format)->fim_layout(FimOrder::psm).has_value() != (*format)->fim.has_value()) {
    // Only the keys cambium.fim.* can take the order away, and this file has none.
    if (!file.has("cambium.fim.psm")) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<std::byte> valid = valid_file();
  std::vector<std::byte> bytes = valid;
  for (; size >= 3; data += 3, size -= 3) {
    const size_t at = static_cast<size_t>(data[0]) << 8 | data[1];
    if (at < bytes.size())
      bytes[at] = static_cast<std::byte>(data[2]);
    else
      bytes.resize(std::min<size_t>(bytes.size(), at % valid.size()));
  }
  const auto file = GgufFile::parse(bytes, "fuzzed.gguf");
  if (file)
    use(**file);
  else if (file.error().message.find("fuzzed.gguf") == std::string::npos)
    std::abort();
  return 0;
}
