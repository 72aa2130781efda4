#include "engine/adapter.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "engine/cpu/quantize.h"
#include "engine/gguf_writer.h"

namespace cambium::engine {

namespace {

constexpr std::string_view kA = ".lora_a", kB = ".lora_b";

bool is_structure(std::string_view name) {
  return name.starts_with("blk.") &&
         (name.ends_with(".attn_structure_scale") || name.ends_with(".attn_structure_bias") ||
          name.ends_with(".attn_tree_bias"));
}

std::vector<float> values_of(const GgufTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  const size_t step = row_bytes(tensor.type, tensor.cols());
  for (int64_t row = 0; row < tensor.rows(); ++row) {
    cpu::dequantize_row(tensor.type, tensor.data + static_cast<size_t>(row) * step,
                        values.data() + row * tensor.cols(), tensor.cols());
  }
  return values;
}

DType merged_type(const GgufTensor& tensor) {
  if (tensor.type == DType::f32 || tensor.type == DType::f16) return tensor.type;
  return tensor.type != DType::bf16 && tensor.cols() % 32 == 0 ? DType::q8_0 : DType::f16;
}

Result<void> check_update(const std::string& path, const GgufTensor& matrix, const GgufTensor& a,
                          const GgufTensor* b) {
  if (b == nullptr) {
    return fail(ErrorCode::bad_format,
                path + ": tensor " + std::string(a.name) + " has no partner " + std::string(kB));
  }
  if (a.cols() == matrix.cols() && b->rows() == matrix.rows() && b->cols() == a.rows()) return {};
  return fail(ErrorCode::bad_format, path + ": the update of " + std::string(matrix.name) +
                                         " has shapes " + a.shape_text() + " and " +
                                         b->shape_text() + ", expected [" +
                                         std::to_string(matrix.cols()) + ", rank] and [rank, " +
                                         std::to_string(matrix.rows()) + "]");
}

void add_updated(GgufWriter& writer, const GgufTensor& matrix, const GgufTensor& a,
                 const GgufTensor& b, float alpha) {
  const DType type = merged_type(matrix);
  const int64_t cols = matrix.cols(), rank = a.rows();
  const float scale = alpha / static_cast<float>(rank);
  writer.add_tensor(std::string(matrix.name), type, {matrix.cols(), matrix.rows()},
                    [&matrix, type, cols, rank, scale, down = values_of(a), up = values_of(b)](
                        int64_t row, int64_t n_rows, std::byte* out) {
                      std::vector<float> values(static_cast<size_t>(cols));
                      for (int64_t i = row; i < row + n_rows; ++i) {
                        cpu::dequantize_row(
                            matrix.type,
                            matrix.data + static_cast<size_t>(i) * row_bytes(matrix.type, cols),
                            values.data(), cols);
                        for (int64_t r = 0; r < rank; ++r) {
                          const float factor = scale * up[static_cast<size_t>(i * rank + r)];
                          const float* from = down.data() + r * cols;
                          for (int64_t c = 0; c < cols; ++c)
                            values[static_cast<size_t>(c)] += factor * from[c];
                        }
                        out += cpu::quantize_row(type, values.data(), out, cols);
                      }
                    });
}

void add_copy(GgufWriter& writer, const GgufTensor& tensor) {
  std::vector<int64_t> ne(tensor.ne.begin(), tensor.ne.begin() + tensor.n_dims);
  const size_t step = row_bytes(tensor.type, tensor.cols());
  writer.add_tensor(std::string(tensor.name), tensor.type, std::move(ne),
                    [&tensor, step](int64_t row, int64_t n_rows, std::byte* out) {
                      std::memcpy(out, tensor.data + static_cast<size_t>(row) * step,
                                  static_cast<size_t>(n_rows) * step);
                    });
}

/// A file over bytes that it owns.
struct OwnedFile {
  std::vector<std::byte> bytes;
  std::shared_ptr<const GgufFile> file;
};

}  // namespace

bool is_adapter(const GgufFile& file) {
  const auto type = file.get_string("general.type", "");
  return type && *type == "adapter";
}

Result<AdapterInfo> adapter_info(const GgufFile& file) {
  if (!is_adapter(file)) {
    return fail(ErrorCode::bad_format,
                file.path() + ": is no adapter (general.type is not \"adapter\")");
  }
  const auto kind = file.get_string("adapter.type", "lora");
  if (!kind) return tl::unexpected(kind.error());
  if (*kind != "lora") {
    return fail(ErrorCode::unsupported, file.path() + ": adapter.type is \"" + std::string(*kind) +
                                            "\"; this build lays adapters of type lora");
  }
  AdapterInfo info;
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name.ends_with(kA)) {
      ++info.updates;
      info.rank = std::max(info.rank, static_cast<int32_t>(tensor.rows()));
    } else if (is_structure(tensor.name)) {
      ++info.structure;
    } else if (!tensor.name.ends_with(kB)) {
      return fail(ErrorCode::unsupported, file.path() + ": tensor " + std::string(tensor.name) +
                                              " is neither a low-rank update nor of the structure");
    }
  }
  if (info.updates > 0) {
    const auto alpha = file.get_f32("adapter.lora.alpha");
    if (!alpha) return tl::unexpected(alpha.error());
    info.alpha = *alpha;
  }
  return info;
}

Result<std::shared_ptr<const GgufFile>> lay_adapter(const GgufFile& base, const std::string& path) {
  auto opened = GgufFile::open(path);
  if (!opened) return tl::unexpected(opened.error());
  const GgufFile& adapter = **opened;
  const auto info = adapter_info(adapter);
  if (!info) return tl::unexpected(info.error());
  const auto architecture = base.architecture();
  if (!architecture) return tl::unexpected(architecture.error());
  if (*architecture != "llama" || base.has("cambium.structure.mode")) {
    return fail(ErrorCode::unsupported,
                base.path() +
                    ": adapters are laid over files of architecture llama without a "
                    "structure of their own; this is " +
                    std::string(*architecture));
  }
  for (const GgufTensor& tensor : adapter.tensors()) {
    for (const std::string_view end : {kA, kB}) {
      if (!tensor.name.ends_with(end)) continue;
      const auto target = tensor.name.substr(0, tensor.name.size() - end.size());
      if (base.find_tensor(target) != nullptr) continue;
      return fail(ErrorCode::bad_format, path + ": tensor " + std::string(tensor.name) +
                                             " updates what " + base.path() + " does not have");
    }
  }
  GgufWriter writer;
  writer.copy_metadata(base, "");
  writer.copy_metadata(adapter, "cambium.structure.");
  for (const GgufTensor& tensor : base.tensors()) {
    const std::string name(tensor.name);
    const GgufTensor* a = adapter.find_tensor(name + std::string(kA));
    if (a == nullptr) {
      add_copy(writer, tensor);
      continue;
    }
    const GgufTensor* b = adapter.find_tensor(name + std::string(kB));
    if (auto fits = check_update(path, tensor, *a, b); !fits) return tl::unexpected(fits.error());
    add_updated(writer, tensor, *a, *b, info->alpha);
  }
  for (const GgufTensor& tensor : adapter.tensors()) {
    if (is_structure(tensor.name)) add_copy(writer, tensor);
  }
  auto owned = std::make_shared<OwnedFile>();
  owned->bytes = writer.bytes();
  auto file = GgufFile::parse(owned->bytes, base.path() + " with " + path);
  if (!file) return tl::unexpected(file.error());
  owned->file = std::move(*file);
  const GgufFile* inside = owned->file.get();
  return std::shared_ptr<const GgufFile>(std::move(owned), inside);
}

}  // namespace cambium::engine
