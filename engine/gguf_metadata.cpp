// Typed access to the keys and tensors of a GgufFile.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <optional>

#include "engine/gguf.h"

namespace cambium::engine {

namespace {

template <class T>
T load(const std::byte* raw, uint64_t index) {
  T value;
  std::memcpy(&value, raw + index * sizeof(T), sizeof(T));
  return value;
}

/// Element `index` as a 64-bit integer; nullopt if the type is none or it does not fit.
std::optional<int64_t> integer_at(GgufType type, const std::byte* raw, uint64_t index) {
  switch (type) {
    case GgufType::u8:
      return load<uint8_t>(raw, index);
    case GgufType::i8:
      return load<int8_t>(raw, index);
    case GgufType::u16:
      return load<uint16_t>(raw, index);
    case GgufType::i16:
      return load<int16_t>(raw, index);
    case GgufType::u32:
      return load<uint32_t>(raw, index);
    case GgufType::i32:
      return load<int32_t>(raw, index);
    case GgufType::i64:
      return load<int64_t>(raw, index);
    case GgufType::boolean:
      return load<uint8_t>(raw, index) != 0;
    case GgufType::u64: {
      const auto v = load<uint64_t>(raw, index);
      if (v > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
      return static_cast<int64_t>(v);
    }
    default:
      return std::nullopt;
  }
}

std::optional<float> float_at(GgufType type, const std::byte* raw, uint64_t index) {
  if (type == GgufType::f32) return load<float>(raw, index);
  if (type == GgufType::f64) return static_cast<float>(load<double>(raw, index));
  return std::nullopt;
}

template <class T>
std::optional<T> narrowed(std::optional<int64_t> value) {
  if (!value || *value < int64_t{std::numeric_limits<T>::min()} ||
      *value > int64_t{std::numeric_limits<T>::max()}) {
    return std::nullopt;
  }
  return static_cast<T>(*value);
}

std::string element_text(GgufType type, const std::byte* raw, uint64_t index) {
  if (type == GgufType::boolean) return load<uint8_t>(raw, index) ? "true" : "false";
  if (const auto v = float_at(type, raw, index)) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", static_cast<double>(*v));
    return text;
  }
  if (type == GgufType::u64) return std::to_string(load<uint64_t>(raw, index));
  const auto v = integer_at(type, raw, index);
  return v ? std::to_string(*v) : "?";
}

Error missing_key(const std::string& path, std::string_view key) {
  return {ErrorCode::not_found,
          path + " has no key '" + std::string(key) +
              "', which a model of its kind needs; it may have been converted "
              "by an incompatible tool"};
}

}  // namespace

std::string GgufValue::to_text() const {
  if (type == GgufType::string) return std::string(string);
  if (type != GgufType::array) return element_text(type, raw, 0);
  constexpr uint64_t kShown = 8;
  std::string out = "[";
  for (uint64_t i = 0; i < count && i < kShown; ++i) {
    if (i) out += ", ";
    if (element == GgufType::string)
      out += '"' + std::string(strings[i]) + '"';
    else if (element == GgufType::array)
      out += "[…]";
    else
      out += element_text(element, raw, i);
  }
  if (count > kShown) out += ", … (" + std::to_string(count) + ")";
  return out + "]";
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto it = key_index_.find(key);
  return it == key_index_.end() ? nullptr : &metadata_[it->second].second;
}

Error GgufFile::key_error(std::string_view key, const GgufValue& value,
                          std::string_view wanted) const {
  std::string found = to_string(value.type);
  if (value.type == GgufType::array) found = "array of " + std::string(to_string(value.element));
  return {ErrorCode::bad_format, path_ + ": key '" + std::string(key) + "' is " + value.to_text() +
                                     " (" + found + "); expected " + std::string(wanted)};
}

Result<int64_t> GgufFile::get_i64(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return tl::unexpected(missing_key(path_, key));
  if (const auto v = integer_at(value->type, value->raw, 0)) return *v;
  return tl::unexpected(key_error(key, *value, "an integer"));
}

Result<uint32_t> GgufFile::get_u32(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return tl::unexpected(missing_key(path_, key));
  if (const auto v = narrowed<uint32_t>(integer_at(value->type, value->raw, 0))) return *v;
  return tl::unexpected(key_error(key, *value, "an unsigned 32-bit integer"));
}
Result<uint32_t> GgufFile::get_u32(std::string_view key, uint32_t fallback) const {
  if (!has(key)) return fallback;
  return get_u32(key);
}

Result<float> GgufFile::get_f32(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return tl::unexpected(missing_key(path_, key));
  const auto v = float_at(value->type, value->raw, 0);
  // Infinities and NaNs would turn into silent nonsense far from here.
  if (v && std::isfinite(*v)) return *v;
  return tl::unexpected(key_error(key, *value, "a finite number"));
}
Result<float> GgufFile::get_f32(std::string_view key, float fallback) const {
  if (!has(key)) return fallback;
  return get_f32(key);
}

Result<bool> GgufFile::get_bool(std::string_view key, bool fallback) const {
  const GgufValue* value = find(key);
  if (!value) return fallback;
  if (value->type == GgufType::boolean) return load<uint8_t>(value->raw, 0) != 0;
  return tl::unexpected(key_error(key, *value, "true or false"));
}

Result<std::string_view> GgufFile::get_string(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return tl::unexpected(missing_key(path_, key));
  if (value->type == GgufType::string) return value->string;
  return tl::unexpected(key_error(key, *value, "a string"));
}
Result<std::string_view> GgufFile::get_string(std::string_view key,
                                              std::string_view fallback) const {
  if (!has(key)) return fallback;
  return get_string(key);
}

template <class T>
Result<std::vector<T>> GgufFile::get_integers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return tl::unexpected(missing_key(path_, key));
  const bool array = value->type == GgufType::array;
  const GgufType type = array ? value->element : value->type;
  const uint64_t n = array ? value->count : 1;
  std::vector<T> out;
  // The file's size bounds the count of numeric arrays; for others the first element fails.
  for (uint64_t i = 0; i < n; ++i) {
    const auto v = narrowed<T>(integer_at(type, value->raw, i));
    if (!v) return tl::unexpected(key_error(key, *value, "an array of 32-bit integers"));
    if (i == 0) out.reserve(n);
    out.push_back(*v);
  }
  return out;
}
Result<std::vector<uint32_t>> GgufFile::get_u32s(std::string_view key) const {
  return get_integers<uint32_t>(key);
}
Result<std::vector<int32_t>> GgufFile::get_i32s(std::string_view key) const {
  return get_integers<int32_t>(key);
}

Result<std::vector<float>> GgufFile::get_f32s(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return tl::unexpected(missing_key(path_, key));
  const bool array = value->type == GgufType::array;
  const GgufType type = array ? value->element : value->type;
  const uint64_t n = array ? value->count : 1;
  std::vector<float> out;
  for (uint64_t i = 0; i < n; ++i) {
    const auto v = float_at(type, value->raw, i);
    if (!v) return tl::unexpected(key_error(key, *value, "an array of numbers"));
    if (i == 0) out.reserve(n);
    out.push_back(*v);
  }
  return out;
}

Result<std::span<const std::string_view>> GgufFile::get_strings(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return tl::unexpected(missing_key(path_, key));
  if (value->type == GgufType::array && value->element == GgufType::string) {
    return std::span<const std::string_view>(value->strings);
  }
  return tl::unexpected(key_error(key, *value, "an array of strings"));
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto it = tensor_index_.find(name);
  return it == tensor_index_.end() ? nullptr : &tensors_[it->second];
}

Result<TensorView> GgufFile::get_tensor(std::string_view name, int64_t rows, int64_t cols) const {
  const GgufTensor* tensor = find_tensor(name);
  if (!tensor) {
    return fail(ErrorCode::bad_format, path_ + " has no tensor '" + std::string(name) +
                                           "', which a model of its architecture needs");
  }
  if (tensor->rows() != rows || tensor->cols() != cols) {
    const std::string expected =
        rows == 1 ? "[" + std::to_string(cols) + "]"
                  : "[" + std::to_string(cols) + ", " + std::to_string(rows) + "]";
    return fail(ErrorCode::bad_format, path_ + ": tensor '" + std::string(name) +
                                           "' has the shape " + tensor->shape_text() +
                                           "; expected " + expected + " from the file's metadata");
  }
  return tensor->view();
}

}  // namespace cambium::engine
