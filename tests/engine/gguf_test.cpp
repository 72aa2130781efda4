#include "engine/gguf.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "engine/cpu/quantize.h"
#include "engine/gguf_writer.h"
#include "tests/support/source_dir.h"

using namespace cambium;
using namespace cambium::engine;
namespace fs = std::filesystem;

namespace {

/// A folder of the test's own, removed with it.
struct Scratch {
  fs::path path;
  explicit Scratch(const char* name)
      : path(fs::temp_directory_path() / (std::string(name) + "-" + std::to_string(::getpid()))) {
    fs::create_directories(path);
  }
  ~Scratch() { fs::remove_all(path); }
  std::string file(const std::string& name) const { return (path / name).string(); }
};

void write_file(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
}

std::vector<std::byte> floats(size_t n, float first = 0) {
  std::vector<std::byte> out(n * sizeof(float));
  for (size_t i = 0; i < n; ++i) {
    const float v = first + static_cast<float>(i);
    std::memcpy(out.data() + i * sizeof v, &v, sizeof v);
  }
  return out;
}

GgufWriter small_file() {
  GgufWriter w;
  w.set_string("general.architecture", "llama");
  w.set_u32("a.u32", 7);
  w.set_i32("a.negative", -7);
  w.set_u64("a.large", uint64_t{1} << 40);
  w.set_f32("a.float", 0.5f);
  w.set_bool("a.bool", true);
  const std::vector<std::string> words = {"one", "", "three"};
  w.set_strings("a.words", std::span<const std::string>(words));
  w.set_i32s("a.ints", std::vector<int32_t>{1, -2, 3});
  w.set_f32s("a.floats", std::vector<float>{1.5f, 2.5f});
  w.add_tensor("vector", DType::f32, {5}, floats(5));
  w.add_tensor("matrix", DType::f32, {4, 3}, floats(12, 100));
  w.add_tensor("blocks", DType::q8_0, {32, 2}, std::vector<std::byte>(68, std::byte{1}));
  return w;
}

std::shared_ptr<const GgufFile> must_parse(std::span<const std::byte> bytes) {
  auto file = GgufFile::parse(bytes, "test.gguf");
  REQUIRE_MESSAGE(file.has_value(), (file ? "" : file.error().message));
  return *file;
}

/// Reads everything a parsed file offers; a wrong bound shows under the address sanitizer.
uint64_t touch_everything(const GgufFile& file) {
  uint64_t sum = 0;
  for (const auto& [key, value] : file.metadata()) sum += key.size() + value.to_text().size();
  for (const GgufTensor& tensor : file.tensors()) {
    sum += tensor.name.size() + tensor.shape_text().size();
    for (size_t i = 0; i < tensor.bytes; ++i) sum += static_cast<uint8_t>(tensor.data[i]);
  }
  return sum;
}

template <class T>
void poke(std::vector<std::byte>& bytes, size_t at, T value) {
  REQUIRE(at + sizeof value <= bytes.size());
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

size_t position_of(const std::vector<std::byte>& bytes, std::string_view text) {
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const size_t at = all.find(text);
  REQUIRE(at != std::string_view::npos);
  return at;
}

}  // namespace

TEST_CASE("gguf: what is written is read") {
  const auto bytes = small_file().bytes();
  const auto file = must_parse(bytes);
  CHECK(file->version() == 3);
  CHECK(*file->architecture() == "llama");
  CHECK(*file->get_u32("a.u32") == 7);
  CHECK(*file->get_i64("a.negative") == -7);
  CHECK(*file->get_i64("a.large") == int64_t{1} << 40);
  CHECK(*file->get_f32("a.float") == 0.5f);
  CHECK(*file->get_bool("a.bool", false));
  CHECK(*file->get_bool("absent", true));
  CHECK(*file->get_u32("absent", 3) == 3);
  CHECK(*file->get_string("absent", "x") == "x");
  const auto words = file->get_strings("a.words");
  REQUIRE(words);
  CHECK(std::vector<std::string_view>(words->begin(), words->end()) ==
        std::vector<std::string_view>{"one", "", "three"});
  CHECK(*file->get_i32s("a.ints") == std::vector<int32_t>{1, -2, 3});
  CHECK(*file->get_f32s("a.floats") == std::vector<float>{1.5f, 2.5f});
  CHECK(*file->get_u32s("a.u32") == std::vector<uint32_t>{7});

  REQUIRE(file->tensors().size() == 3);
  const auto matrix = file->get_tensor("matrix", 3, 4);
  REQUIRE(matrix);
  float last = 0;
  std::memcpy(&last, matrix->data + 11 * sizeof last, sizeof last);
  CHECK(last == 111.0f);
  CHECK(file->find_tensor("vector")->view().rows == 1);
  CHECK(file->find_tensor("blocks")->bytes == 68);
  for (const GgufTensor& tensor : file->tensors()) {
    CHECK((tensor.data - bytes.data()) % 32 == 0);
  }
}

TEST_CASE("gguf: a wrong key or tensor is named, with what was expected and found") {
  const auto bytes = small_file().bytes();
  const auto file = must_parse(bytes);
  const auto check = [](const Error& error, ErrorCode code, std::vector<std::string> parts) {
    CHECK(error.code == code);
    CHECK(error.message.find("test.gguf") != std::string::npos);
    for (const auto& part : parts) {
      CHECK_MESSAGE(error.message.find(part) != std::string::npos, error.message);
    }
  };
  check(file->get_u32("missing").error(), ErrorCode::not_found, {"'missing'"});
  check(file->get_u32("a.negative").error(), ErrorCode::bad_format,
        {"a.negative", "-7", "unsigned"});
  check(file->get_u32("a.large").error(), ErrorCode::bad_format, {"a.large", "1099511627776"});
  check(file->get_u32("a.words").error(), ErrorCode::bad_format, {"array of string"});
  check(file->get_f32("a.u32").error(), ErrorCode::bad_format, {"a.u32", "number"});
  check(file->get_string("a.u32").error(), ErrorCode::bad_format, {"a.u32", "a string"});
  check(file->get_strings("a.ints").error(), ErrorCode::bad_format, {"a.ints", "array of strings"});
  check(file->get_u32s("a.ints").error(), ErrorCode::bad_format, {"a.ints"});
  check(file->get_f32s("a.words").error(), ErrorCode::bad_format, {"a.words"});
  check(file->get_bool("a.u32", true).error(), ErrorCode::bad_format, {"a.u32", "true or false"});
  check(file->get_tensor("gone", 1, 1).error(), ErrorCode::bad_format, {"'gone'"});
  check(file->get_tensor("matrix", 4, 4).error(), ErrorCode::bad_format,
        {"'matrix'", "[4, 3]", "[4, 4]"});
}

TEST_CASE("gguf: cut anywhere, a file is refused by name") {
  const auto whole = small_file().bytes();
  const size_t data_end = whole.size() - (96 - 68);  // the last tensor's padding is not needed
  for (size_t n = 0; n < data_end; ++n) {
    // A copy of its own, so that reading past the end is caught.
    const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
    const auto file = GgufFile::parse(cut, "cut.gguf");
    REQUIRE_MESSAGE(!file.has_value(), n);
    REQUIRE(file.error().code == ErrorCode::bad_format);
    REQUIRE(file.error().message.find("cut.gguf") != std::string::npos);
  }
  CHECK(GgufFile::parse(std::span(whole).first(data_end), "whole.gguf").has_value());
}

TEST_CASE("gguf: any flipped bytes give a file in bounds or an error, never more") {
  const auto whole = small_file().bytes();
  std::mt19937 random(1);
  int read = 0, refused = 0;
  for (int i = 0; i < 30000; ++i) {
    auto bytes = whole;
    const int flips = 1 + static_cast<int>(random() % 4);
    for (int f = 0; f < flips; ++f) {
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    const auto file = GgufFile::parse(bytes, "flipped.gguf");
    if (file) {
      touch_everything(**file);
      ++read;
    } else {
      REQUIRE(file.error().message.find("flipped.gguf") != std::string::npos);
      ++refused;
    }
  }
  CHECK(read > 1000);
  CHECK(refused > 1000);
}

TEST_CASE("gguf: damage of each kind is told apart") {
  const auto whole = small_file().bytes();
  struct Case {
    const char* what;
    std::function<void(std::vector<std::byte>&)> damage;
    ErrorCode code;
    std::vector<std::string> parts;
  };
  // Of a tensor's entry: the name, n_dims (4 bytes), each dimension (8), the type (4), the offset
  // (8).
  const size_t matrix = position_of(whole, "matrix") + 6, blocks = position_of(whole, "blocks") + 6;
  const size_t words = position_of(whole, "a.words") + 7;
  const Case cases[] = {
      {"magic", [](auto& b) { poke(b, 0, 'X'); }, ErrorCode::bad_format, {"GGUF"}},
      {"version 1",
       [](auto& b) { poke(b, 4, uint32_t{1}); },
       ErrorCode::unsupported,
       {"version 1"}},
      {"big-endian",
       [](auto& b) { poke(b, 4, uint32_t{3} << 24); },
       ErrorCode::unsupported,
       {"endian"}},
      {"tensor count", [](auto& b) { poke(b, 8, UINT64_MAX); }, ErrorCode::bad_format, {"tensors"}},
      {"key count", [](auto& b) { poke(b, 16, UINT64_MAX / 13); }, ErrorCode::bad_format, {"keys"}},
      {"name length", [](auto& b) { poke(b, 24, UINT64_MAX - 5); }, ErrorCode::bad_format, {"key"}},
      {"array length",
       [&](auto& b) { poke(b, words + 8, UINT64_MAX / 8); },
       ErrorCode::bad_format,
       {"a.words"}},
      {"array type",
       [&](auto& b) { poke(b, words + 4, uint32_t{99}); },
       ErrorCode::bad_format,
       {"a.words", "99"}},
      {"dimensions",
       [&](auto& b) { poke(b, matrix, uint32_t{9}); },
       ErrorCode::bad_format,
       {"'matrix'", "9 dimensions"}},
      {"overflow",
       [&](auto& b) {
         poke(b, matrix + 4, uint64_t{1} << 33);
         poke(b, matrix + 12, uint64_t{1} << 33);
       },
       ErrorCode::bad_format,
       {"'matrix'", "8589934592"}},
      {"zero",
       [&](auto& b) { poke(b, matrix + 4, uint64_t{0}); },
       ErrorCode::bad_format,
       {"'matrix'"}},
      {"too large",
       [&](auto& b) { poke(b, matrix + 12, uint64_t{1000}); },
       ErrorCode::bad_format,
       {"'matrix'", "truncated", "16000"}},
      {"type",
       [&](auto& b) { poke(b, matrix + 20, uint32_t{77}); },
       ErrorCode::unsupported,
       {"'matrix'", "77", "Q4_K", "Q8_0"}},
      {"row of blocks",
       [&](auto& b) { poke(b, blocks + 4, uint64_t{33}); },
       ErrorCode::bad_format,
       {"'blocks'", "Q8_0", "33", "32"}},
      {"offset",
       [&](auto& b) { poke(b, matrix + 24, UINT64_MAX - 31); },
       ErrorCode::bad_format,
       {"'matrix'"}},
      {"alignment",
       [&](auto& b) { poke(b, matrix + 24, uint64_t{4}); },
       ErrorCode::bad_format,
       {"'matrix'", "alignment"}},
      {"same name",
       [&](auto& b) { std::memcpy(b.data() + blocks - 6, "matrix", 6); },
       ErrorCode::bad_format,
       {"'matrix'", "twice"}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    auto bytes = whole;
    c.damage(bytes);
    const auto file = GgufFile::parse(bytes, "bad.gguf");
    REQUIRE_FALSE(file.has_value());
    CHECK(file.error().code == c.code);
    for (const auto& part : c.parts) {
      CHECK_MESSAGE(file.error().message.find(part) != std::string::npos, file.error().message);
    }
  }
}

TEST_CASE("gguf: paths that are no model file") {
  const Scratch scratch("cambium-gguf-paths");
  CHECK(GgufFile::open(scratch.file("none.gguf")).error().code == ErrorCode::not_found);
  CHECK(GgufFile::open(scratch.path.string()).error().message.find("directory") !=
        std::string::npos);
  write_file(scratch.file("empty.gguf"), {});
  CHECK(GgufFile::open(scratch.file("empty.gguf")).error().message.find("empty") !=
        std::string::npos);
}

TEST_CASE("gguf: a mapped file keeps its bytes when pages are dropped") {
  const Scratch scratch("cambium-gguf-pages");
  GgufWriter w;
  w.set_string("general.architecture", "llama");
  w.add_tensor("big", DType::f32, {1024, 64}, floats(1024 * 64));
  REQUIRE(w.write(scratch.file("m.gguf")));
  const auto file = GgufFile::open(scratch.file("m.gguf"));
  REQUIRE(file);
  const TensorView view = (*file)->find_tensor("big")->view();
  (*file)->prefetch(view);
  (*file)->drop_pages(view);
  const auto expected = floats(1024 * 64);
  CHECK(std::memcmp(view.data, expected.data(), expected.size()) == 0);
  CHECK((*file)->file_bytes() == fs::file_size(scratch.file("m.gguf")));
}

TEST_CASE("gguf: split files") {
  const Scratch scratch("cambium-gguf-split");
  const auto part = [&](int n, const char* tensor) {
    GgufWriter w;
    if (n == 1) w.set_string("general.architecture", "llama");
    w.set_u32("split.no", static_cast<uint32_t>(n - 1));
    w.set_u32("split.count", 3);
    w.add_tensor(tensor, DType::f32, {4}, floats(4, static_cast<float>(10 * n)));
    const std::string path = scratch.file("m-0000" + std::to_string(n) + "-of-00003.gguf");
    REQUIRE(w.write(path));
    return path;
  };
  const std::string first = part(1, "one");
  const std::string second = part(2, "two");
  CHECK(GgufFile::open(first).error().message.find("m-00003-of-00003.gguf") != std::string::npos);
  const std::string third = part(3, "three");
  const auto file = GgufFile::open(first);
  REQUIRE(file);
  CHECK((*file)->parts() == 3);
  CHECK((*file)->tensors().size() == 3);
  float v = 0;
  std::memcpy(&v, (*file)->find_tensor("three")->data, sizeof v);
  CHECK(v == 30.0f);
  CHECK(*(*file)->architecture() == "llama");
  CHECK(GgufFile::open(second).error().message.find("m-00001-of-00003.gguf") != std::string::npos);
  fs::rename(first, scratch.file("renamed.gguf"));
  CHECK(GgufFile::open(scratch.file("renamed.gguf")).error().message.find("original names") !=
        std::string::npos);
  fs::rename(scratch.file("renamed.gguf"), first);
  fs::copy_file(second, third, fs::copy_options::overwrite_existing);
  CHECK_FALSE(GgufFile::open(first).has_value());
}

TEST_CASE("gguf: files of the Python exporter dequantize to what it says") {
  const auto file = GgufFile::open(cambium::test::source_dir() + "/tests/golden/quantized.gguf");
  REQUIRE_MESSAGE(file.has_value(), (file ? "" : file.error().message));
  int types = 0;
  for (const GgufTensor& tensor : (*file)->tensors()) {
    const GgufTensor* values = (*file)->find_tensor(std::string(tensor.name) + ".values");
    if (!values) continue;
    ++types;
    CAPTURE(tensor.name);
    CHECK(type_traits(tensor.type)->name == tensor.name);
    const auto n = static_cast<size_t>(tensor.elements());
    std::vector<float> expected(n), got(n);
    std::memcpy(expected.data(), values->data, values->bytes);
    cpu::dequantize_row(tensor.type, tensor.data, got.data(), tensor.elements());
    size_t different = 0;
    for (size_t i = 0; i < n; ++i) {
      // One more or less rounding of d·scale is allowed.
      different += !(std::abs(got[i] - expected[i]) <= 1e-6f * std::abs(expected[i]) + 1e-12f);
    }
    CHECK(different == 0);
  }
  CHECK(types == 9);
}

TEST_CASE("random model: shapes, stock fallbacks, tied output") {
  auto shape = model_shape("tiny");
  REQUIRE(shape);
  CHECK(model_shape("huge").error().message.find("deepseek-coder-1.3b") != std::string::npos);
  shape->n_ff = 43 * 32;  // no multiple of 256, as in DeepSeek-Coder 1.3B
  shape->tied = false;
  shape->n_embd = 256;
  RandomModelOptions options;
  options.shape = *shape;
  options.type = DType::q4_k;
  const auto writer = random_model(options);
  REQUIRE(writer);
  const auto bytes = writer->bytes();
  const auto file = must_parse(bytes);
  CHECK(file->find_tensor("blk.0.attn_q.weight")->type == DType::q4_k);
  CHECK(file->find_tensor("blk.1.ffn_up.weight")->type == DType::q4_k);
  CHECK(file->find_tensor("blk.1.ffn_down.weight")->type == DType::q5_0);
  CHECK(file->find_tensor("output.weight")->type == DType::q6_k);
  CHECK(file->get_tensor("blk.0.ffn_down.weight", shape->n_embd, shape->n_ff).has_value());
  CHECK(file->get_tensor("blk.0.attn_k.weight", shape->n_kv_head * shape->head_dim, shape->n_embd)
            .has_value());

  options.shape.tied = true;
  options.type = DType::q8_0;
  const auto tied = random_model(options)->bytes();
  CHECK(tied == random_model(options)->bytes());
  options.seed = 2;
  CHECK(tied != random_model(options)->bytes());
  CHECK(must_parse(tied)->find_tensor("output.weight") == nullptr);
  CHECK(must_parse(tied)->find_tensor("token_embd.weight")->type == DType::q8_0);
  options.shape.architecture = "gpt9";
  CHECK(random_model(options).error().message.find("gpt9") != std::string::npos);
}

TEST_CASE("random model: repeated panels give no two equal rows") {
  RandomModelOptions options;
  options.shape = *model_shape("tiny");
  options.shape.n_vocab = 40000;  // more rows than a panel has
  options.type = DType::q8_0;
  const auto bytes = random_model(options)->bytes();
  const auto file = must_parse(bytes);
  const TensorView view = file->find_tensor("token_embd.weight")->view();
  const size_t row = row_bytes(view.type, view.cols);
  std::vector<std::string_view> rows;
  for (int64_t r = 0; r < view.rows; ++r) {
    rows.emplace_back(reinterpret_cast<const char*>(view.data) + static_cast<size_t>(r) * row, row);
  }
  std::sort(rows.begin(), rows.end());
  CHECK(std::adjacent_find(rows.begin(), rows.end()) == rows.end());
}
