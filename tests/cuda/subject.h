// Model files for the checks that go through whole models.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/gguf.h"
#include "engine/gguf_writer.h"
#include "engine/prompt_format.h"
#include "engine/tokenizer.h"
#include "tests/cuda/check.h"

namespace cambium::engine::cuda::verify {

struct Subject {
  std::shared_ptr<const GgufFile> file;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const PromptFormat> format;
};

/// False, and reported, if the file is none that completes.
bool open_subject(const std::string& path, Subject& subject, Report& report);

/// A new temporary file of random weights, the caller's to remove; nothing, and reported, if it cannot be
/// written.
std::optional<std::string> random_model_file(const ModelShape& shape, DType type, Random& random,
                                             Report& report);

}  // namespace cambium::engine::cuda::verify
