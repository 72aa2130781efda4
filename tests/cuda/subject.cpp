#include "tests/cuda/subject.h"

#include <filesystem>

namespace cambium::engine::cuda::verify {

bool open_subject(const std::string& path, Subject& subject, Report& report) {
  auto file = GgufFile::open(path);
  if (!report.expect_value(file, "model file")) return false;
  subject.file = *file;
  auto tokenizer = Tokenizer::from_gguf(**file);
  if (!report.expect_value(tokenizer, "tokenizer")) return false;
  subject.tokenizer = *tokenizer;
  auto format = PromptFormat::from_gguf(**file, **tokenizer);
  if (!report.expect_value(format, "prompt format")) return false;
  subject.format = *format;
  return true;
}

std::optional<std::string> random_model_file(const ModelShape& shape, DType type, Random& random,
                                             Report& report) {
  std::string path = (std::filesystem::temp_directory_path() /
                      ("cambium-check-" + std::to_string(random.below(1 << 30)) + ".gguf"))
                         .string();
  RandomModelOptions options;
  options.shape = shape;
  options.type = type;
  options.seed = static_cast<uint64_t>(random.below(1 << 30));
  if (!report.expect_value(write_random_model(path, options), shape.name + " write"))
    return std::nullopt;
  return path;
}

}  // namespace cambium::engine::cuda::verify
