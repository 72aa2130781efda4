// Opening a GGUF file: mapping, the checked parser, split files. Typed getters: gguf_metadata.cpp.
#include "engine/gguf.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <system_error>

#include "engine/gguf_scalar.h"

namespace cambium::engine {

static_assert(std::endian::native == std::endian::little, "GGUF files are read in place");

namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF", little-endian
constexpr int kMaxArrayDepth = 4;

/// A file may hold any bytes as a name; messages show printable ones, and not too many.
std::string shown(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, 80)) out += c >= 0x20 && c < 0x7f ? c : '?';
  if (text.size() > 80) out += "…";
  return out + "'";
}

std::string system_error(int code) { return std::system_category().message(code); }

/// Parts of "stem-00002-of-00005.gguf", if the name has that form.
struct SplitName {
  std::string stem;
  uint32_t number = 0, count = 0;

  std::string part(uint32_t n) const {
    char tail[40];
    std::snprintf(tail, sizeof tail, "-%05u-of-%05u.gguf", n, count);
    return stem + tail;
  }
};
std::optional<SplitName> split_name(const std::string& path) {
  constexpr size_t kTail = sizeof("-00001-of-00001.gguf") - 1;
  if (path.size() <= kTail) return std::nullopt;
  SplitName name;
  name.stem = path.substr(0, path.size() - kTail);
  if (std::sscanf(path.c_str() + name.stem.size(), "-%5u-of-%5u.gguf", &name.number, &name.count) !=
      2)
    return std::nullopt;
  if (name.number == 0 || name.part(name.number) != path) return std::nullopt;
  return name;
}

}  // namespace

const char* to_string(GgufType type) {
  switch (type) {
    case GgufType::u8:
      return "u8";
    case GgufType::i8:
      return "i8";
    case GgufType::u16:
      return "u16";
    case GgufType::i16:
      return "i16";
    case GgufType::u32:
      return "u32";
    case GgufType::i32:
      return "i32";
    case GgufType::f32:
      return "f32";
    case GgufType::boolean:
      return "bool";
    case GgufType::string:
      return "string";
    case GgufType::array:
      return "array";
    case GgufType::u64:
      return "u64";
    case GgufType::i64:
      return "i64";
    case GgufType::f64:
      return "f64";
  }
  return "unknown";
}

std::string supported_types() {
  std::string out;
  for (uint32_t id = 0; id < 64; ++id) {
    if (const TypeTraits* traits = type_traits(static_cast<DType>(id))) {
      if (!out.empty()) out += ", ";
      out += traits->name;
    }
  }
  return out;
}

std::string GgufTensor::shape_text() const {
  std::string out = "[";
  for (uint32_t i = 0; i < n_dims; ++i) out += (i ? ", " : "") + std::to_string(ne[i]);
  return out + "]";
}

struct GgufFile::Part {
  std::string name;
  const std::byte* data = nullptr;
  size_t size = 0;
  bool mapped = false;

  ~Part() {
    if (mapped) munmap(const_cast<std::byte*>(data), size);
  }

  static Result<std::unique_ptr<Part>> map(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
      const int code = errno;
      return fail(code == ENOENT || code == ENOTDIR ? ErrorCode::not_found : ErrorCode::io,
                  "cannot open the model file " + path + ": " + system_error(code));
    }
    struct stat info {};
    Result<std::unique_ptr<Part>> result = std::make_unique<Part>();
    if (fstat(fd, &info) != 0) {
      result =
          fail(ErrorCode::io, "cannot read the model file " + path + ": " + system_error(errno));
    } else if (!S_ISREG(info.st_mode)) {
      result = fail(ErrorCode::io, "the model file " + path + " is " +
                                       (S_ISDIR(info.st_mode) ? "a directory" : "no regular file") +
                                       "; name the .gguf file itself");
    } else if (info.st_size == 0) {
      result =
          fail(ErrorCode::bad_format, "the model file " + path + " is empty; download it again");
    } else {
      const auto size = static_cast<size_t>(info.st_size);
      void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
      if (data == MAP_FAILED) {
        result =
            fail(ErrorCode::io, "cannot map the model file " + path + ": " + system_error(errno));
      } else {
        (*result)->name = path;
        (*result)->data = static_cast<const std::byte*>(data);
        (*result)->size = size;
        (*result)->mapped = true;
      }
    }
    close(fd);
    return result;
  }
};

/// Reads one part. Every read compares with what is left of the file first; counts are bounded by
/// the bytes their elements need at least, so that a wrong count cannot ask for memory.
class GgufFile::Parser {
 public:
  Parser(GgufFile& file, const Part& part) : file_(file), part_(part) {}

  Result<void> run(bool first_part) {
    uint32_t magic = 0, version = 0;
    if (!scalar(magic) || magic != kMagic) {
      return bad("it does not begin with \"GGUF\"; expected a GGUF model file");
    }
    if (!scalar(version)) return truncated("the header");
    if (version != 0 && (version & 0xffffu) == 0) {
      return fail(ErrorCode::unsupported,
                  part_.name + " is a big-endian GGUF file; only little-endian ones are read");
    }
    if (version != 2 && version != 3) {
      return fail(ErrorCode::unsupported, part_.name + " has GGUF version " +
                                              std::to_string(version) +
                                              "; versions 2 and 3 are supported");
    }
    uint64_t n_tensors = 0, n_keys = 0;
    if (!scalar(n_tensors) || !scalar(n_keys)) return truncated("the header");
    // A key takes at least 8 + 4 + 1 bytes, a tensor's entry 8 + 4 + 8 + 4 + 8.
    if (n_keys > left() / 13) return bad("its header claims " + std::to_string(n_keys) + " keys");
    if (n_tensors > left() / 32) {
      return bad("its header claims " + std::to_string(n_tensors) + " tensors");
    }
    if (first_part) file_.version_ = version;
    for (uint64_t i = 0; i < n_keys; ++i) {
      if (auto r = key_value(first_part); !r) return r;
    }
    return tensors(n_tensors);
  }

  uint64_t split_count = 1, split_number = 0;

 private:
  size_t left() const { return part_.size - pos_; }

  tl::unexpected<Error> bad(const std::string& what) const {
    return fail(ErrorCode::bad_format, part_.name + " is damaged or not a model file: " + what +
                                           " (at byte " + std::to_string(pos_) + ")");
  }
  tl::unexpected<Error> truncated(const std::string& in) const {
    return fail(ErrorCode::bad_format, part_.name + " is truncated: it ends inside " + in + " (" +
                                           std::to_string(part_.size) +
                                           " bytes); download it again");
  }

  template <class T>
  bool scalar(T& value) {
    if (left() < sizeof(T)) return false;
    std::memcpy(&value, part_.data + pos_, sizeof(T));
    pos_ += sizeof(T);
    return true;
  }
  bool string(std::string_view& value) {
    uint64_t n = 0;
    if (!scalar(n) || n > left()) return false;
    value = {reinterpret_cast<const char*>(part_.data + pos_), static_cast<size_t>(n)};
    pos_ += n;
    return true;
  }

  Result<void> key_value(bool keep) {
    std::string_view key;
    if (!string(key)) return truncated("the name of a key");
    const std::string where = "the value of key " + shown(key);
    uint32_t type = 0;
    if (!scalar(type)) return truncated(where);
    GgufValue value;
    value.type = static_cast<GgufType>(type);
    if (auto r = read_value(value, where, 0); !r) return r;

    if (key == "split.count") split_count = as_unsigned(value);
    if (key == "split.no") split_number = as_unsigned(value);
    if (key == "general.alignment") {
      const uint64_t alignment = as_unsigned(value);
      if (alignment < 8 || alignment > (1u << 20) || !std::has_single_bit(alignment)) {
        return bad("key 'general.alignment' is " + value.to_text() +
                   "; expected a power of two from 8 to 1048576");
      }
      alignment_ = alignment;
    }
    if (!keep) return {};
    if (!file_.key_index_.emplace(key, file_.metadata_.size()).second) {
      return bad("key " + shown(key) + " occurs twice");
    }
    file_.metadata_.emplace_back(key, std::move(value));
    return {};
  }

  Result<void> read_value(GgufValue& value, const std::string& where, int depth) {
    if (value.type == GgufType::string) {
      if (!string(value.string)) return truncated(where);
      return {};
    }
    if (value.type != GgufType::array) {
      const size_t bytes = scalar_bytes(value.type);
      if (bytes == 0) {
        return bad(where + " has the unknown type " +
                   std::to_string(static_cast<uint32_t>(value.type)));
      }
      if (bytes > left()) return truncated(where);
      value.raw = part_.data + pos_;
      pos_ += bytes;
      return {};
    }
    uint32_t element = 0;
    if (!scalar(element) || !scalar(value.count)) return truncated(where);
    value.element = static_cast<GgufType>(element);
    if (value.element == GgufType::string) {
      if (value.count > left() / 8) return truncated(where);
      value.strings.resize(value.count);
      for (auto& s : value.strings) {
        if (!string(s)) return truncated(where);
      }
      return {};
    }
    if (value.element == GgufType::array) {
      // Allowed by the format, used by nobody we know: checked, stepped over, kept without
      // elements.
      if (depth >= kMaxArrayDepth) return bad(where + " nests arrays too deeply");
      if (value.count > left() / 12) return truncated(where);
      for (uint64_t i = 0; i < value.count; ++i) {
        GgufValue inner;
        inner.type = GgufType::array;
        if (auto r = read_value(inner, where, depth + 1); !r) return r;
      }
      return {};
    }
    const size_t bytes = scalar_bytes(value.element);
    if (bytes == 0) {
      return bad(where + " is an array of the unknown type " + std::to_string(element));
    }
    if (value.count > left() / bytes) return truncated(where);
    value.raw = part_.data + pos_;
    pos_ += value.count * bytes;
    return {};
  }

  static uint64_t as_unsigned(const GgufValue& value) {
    uint64_t out = 0;
    const bool integer = value.type != GgufType::string && value.type != GgufType::array &&
                         value.type != GgufType::f32 && value.type != GgufType::f64;
    if (integer) std::memcpy(&out, value.raw, scalar_bytes(value.type));
    return out;
  }

  Result<void> tensors(uint64_t n_tensors) {
    const size_t begin = file_.tensors_.size();
    std::vector<uint64_t> offsets;
    offsets.reserve(n_tensors);
    file_.tensors_.reserve(begin + n_tensors);
    for (uint64_t i = 0; i < n_tensors; ++i) {
      GgufTensor tensor;
      uint64_t offset = 0;
      if (auto r = tensor_info(tensor, offset); !r) return r;
      if (!file_.tensor_index_.emplace(tensor.name, file_.tensors_.size()).second) {
        return bad("tensor " + shown(tensor.name) + " occurs twice");
      }
      file_.tensors_.push_back(tensor);
      offsets.push_back(offset);
    }
    // pos_ <= size, and alignment_ <= 2^20, so that this cannot overflow on a mapped file.
    const uint64_t data_begin = (pos_ + alignment_ - 1) / alignment_ * alignment_;
    for (uint64_t i = 0; i < n_tensors; ++i) {
      GgufTensor& tensor = file_.tensors_[begin + i];
      const uint64_t offset = offsets[i];
      if (offset % alignment_ != 0) {
        return bad("tensor " + shown(tensor.name) + " begins at offset " + std::to_string(offset) +
                   ", which is no multiple of the alignment " + std::to_string(alignment_));
      }
      const uint64_t available = part_.size > data_begin ? part_.size - data_begin : 0;
      if (offset > available || tensor.bytes > available - offset) {
        return fail(ErrorCode::bad_format,
                    part_.name + " is truncated: tensor " + shown(tensor.name) + " needs " +
                        std::to_string(tensor.bytes) + " bytes at offset " +
                        std::to_string(offset) + " of the data, which has only " +
                        std::to_string(available) + "; download it again");
      }
      tensor.data = part_.data + data_begin + offset;
    }
    return {};
  }

  Result<void> tensor_info(GgufTensor& tensor, uint64_t& offset) {
    if (!string(tensor.name)) return truncated("the name of a tensor");
    const std::string where = "tensor " + shown(tensor.name);
    if (!scalar(tensor.n_dims)) return truncated("the entry of " + where);
    if (tensor.n_dims < 1 || tensor.n_dims > 4) {
      return bad(where + " has " + std::to_string(tensor.n_dims) + " dimensions; expected 1 to 4");
    }
    uint64_t elements = 1;
    for (uint32_t d = 0; d < tensor.n_dims; ++d) {
      uint64_t n = 0;
      if (!scalar(n)) return truncated("the entry of " + where);
      // 2^50 elements leave room for the largest block's bytes in 64 bits.
      if (n == 0 || n > (uint64_t{1} << 50) / elements) {
        return bad("dimension " + std::to_string(d) + " of " + where + " is " + std::to_string(n));
      }
      elements *= n;
      tensor.ne[d] = static_cast<int64_t>(n);
    }
    uint32_t type = 0;
    if (!scalar(type) || !scalar(offset)) return truncated("the entry of " + where);
    tensor.type = static_cast<DType>(type);
    const TypeTraits* traits = type_traits(tensor.type);
    if (!traits) {
      return fail(ErrorCode::unsupported,
                  part_.name + ": " + where + " has the element type " + std::to_string(type) +
                      ", which this build does not read; supported are " + supported_types());
    }
    if (tensor.ne[0] % traits->block_elements != 0) {
      return bad(where + " of type " + std::string(traits->name) + " has rows of " +
                 std::to_string(tensor.ne[0]) + " elements; expected a multiple of " +
                 std::to_string(traits->block_elements));
    }
    tensor.bytes = elements / traits->block_elements * traits->block_bytes;
    return {};
  }

  GgufFile& file_;
  const Part& part_;
  size_t pos_ = 0;
  uint64_t alignment_ = 32;
};

GgufFile::GgufFile() = default;
GgufFile::~GgufFile() = default;

uint64_t GgufFile::file_bytes() const {
  uint64_t sum = 0;
  for (const auto& part : parts_) sum += part->size;
  return sum;
}

Result<std::shared_ptr<const GgufFile>> GgufFile::parse(std::span<const std::byte> bytes,
                                                        std::string name) {
  std::shared_ptr<GgufFile> file(new GgufFile);
  file->path_ = name;
  auto part = std::make_unique<Part>();
  part->name = std::move(name);
  part->data = bytes.data();
  part->size = bytes.size();
  Parser parser(*file, *part);
  if (auto r = parser.run(true); !r) return tl::unexpected(r.error());
  file->parts_.push_back(std::move(part));
  return file;
}

Result<std::shared_ptr<const GgufFile>> GgufFile::open(const std::string& path) {
  std::shared_ptr<GgufFile> file(new GgufFile);
  file->path_ = path;
  auto first = Part::map(path);
  if (!first) return tl::unexpected(first.error());
  Parser parser(*file, **first);
  if (auto r = parser.run(true); !r) return tl::unexpected(r.error());
  file->parts_.push_back(std::move(*first));
  if (parser.split_count <= 1) return file;

  const auto name = split_name(path);
  if (!name || name->count != parser.split_count) {
    return fail(ErrorCode::bad_format,
                path + " is one of " + std::to_string(parser.split_count) +
                    " parts of a split model, but its name does not end in -00001-of-0000N.gguf; "
                    "give the parts their original names");
  }
  if (name->number != 1 || parser.split_number != 0) {
    return fail(ErrorCode::invalid_argument,
                path + " is a later part of a split model; open the first one, " + name->part(1));
  }
  for (uint32_t n = 2; n <= name->count; ++n) {
    auto part = Part::map(name->part(n));
    if (!part) {
      return fail(part.error().code, part.error().message + "; it is part " + std::to_string(n) +
                                         " of " + std::to_string(name->count) + " of the model " +
                                         path);
    }
    Parser next(*file, **part);
    if (auto r = next.run(false); !r) return tl::unexpected(r.error());
    if (next.split_count != parser.split_count || next.split_number != n - 1) {
      return fail(ErrorCode::bad_format,
                  (*part)->name + " says it is part " + std::to_string(next.split_number + 1) +
                      " of " + std::to_string(next.split_count) + "; expected part " +
                      std::to_string(n) + " of " + std::to_string(name->count));
    }
    file->parts_.push_back(std::move(*part));
  }
  return file;
}

namespace {

/// madvise over the pages that lie in [data, data + bytes): only whole ones, or also those shared
/// with a neighbour.
void advise(const std::byte* data, size_t bytes, int advice, bool whole_pages_only) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  auto begin = reinterpret_cast<uintptr_t>(data);
  uintptr_t end = begin + bytes;
  begin = whole_pages_only ? (begin + page - 1) / page * page : begin / page * page;
  if (whole_pages_only) end = end / page * page;
  // A hint: where the system refuses it nothing is lost but memory or time.
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace

void GgufFile::drop_pages(const TensorView& view) const {
  // On memory of the caller's (parse()) MADV_DONTNEED would throw the bytes away.
  for (const auto& part : parts_) {
    if (part->mapped && view.data >= part->data && view.data < part->data + part->size) {
      advise(view.data, row_bytes(view.type, view.cols) * static_cast<size_t>(view.rows),
             MADV_DONTNEED, true);
    }
  }
}

void GgufFile::prefetch(const TensorView& view) const {
  for (const auto& part : parts_) {
    if (part->mapped && view.data >= part->data && view.data < part->data + part->size) {
      advise(view.data, row_bytes(view.type, view.cols) * static_cast<size_t>(view.rows),
             MADV_WILLNEED, false);
    }
  }
}

}  // namespace cambium::engine
