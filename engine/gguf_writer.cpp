#include "engine/gguf_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "engine/gguf_scalar.h"

namespace cambium::engine {

namespace {

/// Bytes a tensor is made in at a time while a file is written.
constexpr size_t kChunk = size_t{4} << 20;

template <class T>
void append(std::vector<std::byte>& out, const T& value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}
void append(std::vector<std::byte>& out, std::string_view text) {
  append(out, static_cast<uint64_t>(text.size()));
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  out.insert(out.end(), bytes, bytes + text.size());
}

size_t aligned(size_t n, size_t alignment) { return (n + alignment - 1) / alignment * alignment; }

}  // namespace

GgufWriter::GgufWriter(uint32_t alignment) : alignment_(alignment) {
  if (alignment != 32) set_u32("general.alignment", alignment);
}

void GgufWriter::key(std::string_view name, GgufType type) {
  ++n_keys_;
  append(metadata_, name);
  append(metadata_, static_cast<uint32_t>(type));
}
void GgufWriter::array(std::string_view name, GgufType element, uint64_t count) {
  key(name, GgufType::array);
  append(metadata_, static_cast<uint32_t>(element));
  append(metadata_, count);
}

void GgufWriter::set_u32(std::string_view name, uint32_t value) {
  key(name, GgufType::u32);
  append(metadata_, value);
}
void GgufWriter::set_i32(std::string_view name, int32_t value) {
  key(name, GgufType::i32);
  append(metadata_, value);
}
void GgufWriter::set_u64(std::string_view name, uint64_t value) {
  key(name, GgufType::u64);
  append(metadata_, value);
}
void GgufWriter::set_f32(std::string_view name, float value) {
  key(name, GgufType::f32);
  append(metadata_, value);
}
void GgufWriter::set_bool(std::string_view name, bool value) {
  key(name, GgufType::boolean);
  append(metadata_, static_cast<uint8_t>(value));
}
void GgufWriter::set_string(std::string_view name, std::string_view value) {
  key(name, GgufType::string);
  append(metadata_, value);
}
void GgufWriter::set_strings(std::string_view name, std::span<const std::string> values) {
  array(name, GgufType::string, values.size());
  for (const std::string& value : values) append(metadata_, std::string_view(value));
}
void GgufWriter::set_strings(std::string_view name, std::span<const std::string_view> values) {
  array(name, GgufType::string, values.size());
  for (const std::string_view value : values) append(metadata_, value);
}
void GgufWriter::set_i32s(std::string_view name, std::span<const int32_t> values) {
  array(name, GgufType::i32, values.size());
  for (const int32_t value : values) append(metadata_, value);
}
void GgufWriter::set_u32s(std::string_view name, std::span<const uint32_t> values) {
  array(name, GgufType::u32, values.size());
  for (const uint32_t value : values) append(metadata_, value);
}
void GgufWriter::set_f32s(std::string_view name, std::span<const float> values) {
  array(name, GgufType::f32, values.size());
  for (const float value : values) append(metadata_, value);
}

void GgufWriter::copy_metadata(const GgufFile& from, std::string_view prefix) {
  const auto raw = [this](const std::byte* data, size_t n) {
    metadata_.insert(metadata_.end(), data, data + n);
  };
  for (const auto& [name, value] : from.metadata()) {
    if (!name.starts_with(prefix)) continue;
    // How that file lies on disk says nothing of this one.
    if (name == "general.alignment" || name.starts_with("split.")) continue;
    if (value.type == GgufType::string) {
      set_string(name, value.string);
    } else if (value.type != GgufType::array) {
      key(name, value.type);
      raw(value.raw, scalar_bytes(value.type));
    } else if (value.element == GgufType::string) {
      set_strings(name, value.strings);
    } else if (value.element != GgufType::array) {
      array(name, value.element, value.count);
      raw(value.raw, value.count * scalar_bytes(value.element));
    }
  }
}

void GgufWriter::add_tensor(std::string name, DType type, std::vector<int64_t> ne,
                            std::vector<std::byte> data) {
  const size_t row = row_bytes(type, ne[0]);
  add_tensor(std::move(name), type, std::move(ne),
             [data = std::move(data), row](int64_t first, int64_t n, std::byte* out) {
               std::memcpy(out, data.data() + static_cast<size_t>(first) * row,
                           static_cast<size_t>(n) * row);
             });
}

void GgufWriter::add_tensor(std::string name, DType type, std::vector<int64_t> ne, Fill fill) {
  Tensor tensor{std::move(name), type, std::move(ne), std::move(fill), 1, 0, 0};
  tensor.cols = tensor.ne[0];
  for (size_t i = 1; i < tensor.ne.size(); ++i) tensor.rows *= tensor.ne[i];
  tensor.bytes = row_bytes(type, tensor.cols) * static_cast<size_t>(tensor.rows);
  tensors_.push_back(std::move(tensor));
}

std::vector<std::byte> GgufWriter::header() const {
  std::vector<std::byte> out;
  append(out, uint32_t{0x46554747});
  append(out, uint32_t{3});
  append(out, static_cast<uint64_t>(tensors_.size()));
  append(out, n_keys_);
  out.insert(out.end(), metadata_.begin(), metadata_.end());
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    append(out, std::string_view(tensor.name));
    append(out, static_cast<uint32_t>(tensor.ne.size()));
    for (const int64_t n : tensor.ne) append(out, n);
    append(out, static_cast<uint32_t>(tensor.type));
    append(out, offset);
    offset += aligned(tensor.bytes, alignment_);
  }
  out.resize(aligned(out.size(), alignment_));
  return out;
}

bool GgufWriter::emit(const std::function<bool(const std::byte*, size_t)>& sink) const {
  const std::vector<std::byte> head = header();
  if (!sink(head.data(), head.size())) return false;
  std::vector<std::byte> chunk;
  for (const Tensor& tensor : tensors_) {
    const size_t row = row_bytes(tensor.type, tensor.cols);
    const auto step = static_cast<int64_t>(std::max<size_t>(1, kChunk / row));
    for (int64_t first = 0; first < tensor.rows; first += step) {
      const int64_t n = std::min(step, tensor.rows - first);
      chunk.resize(static_cast<size_t>(n) * row);
      tensor.fill(first, n, chunk.data());
      if (!sink(chunk.data(), chunk.size())) return false;
    }
    chunk.assign(aligned(tensor.bytes, alignment_) - tensor.bytes, std::byte{0});
    if (!sink(chunk.data(), chunk.size())) return false;
  }
  return true;
}

Result<void> GgufWriter::write(const std::string& path) const {
  // Under another name first, so that nobody ever opens half a file.
  const std::string partial = path + ".part";
  std::FILE* file = std::fopen(partial.c_str(), "wb");
  const auto failed = [&] {
    const std::string why = std::system_category().message(errno);
    if (file) std::fclose(file);
    std::remove(partial.c_str());
    return fail(ErrorCode::io, "cannot write " + path + ": " + why);
  };
  if (!file) return failed();
  const bool written =
      emit([file](const std::byte* data, size_t n) { return std::fwrite(data, 1, n, file) == n; });
  if (!written || std::fflush(file) != 0) return failed();
  const bool closed = std::fclose(file) == 0;
  file = nullptr;
  if (!closed || std::rename(partial.c_str(), path.c_str()) != 0) return failed();
  return {};
}

std::vector<std::byte> GgufWriter::bytes() const {
  std::vector<std::byte> out;
  emit([&out](const std::byte* data, size_t n) {
    out.insert(out.end(), data, data + n);
    return true;
  });
  return out;
}

}  // namespace cambium::engine
