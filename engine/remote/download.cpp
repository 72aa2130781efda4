#include "engine/remote/download.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <optional>

namespace cambium::engine {

namespace {

namespace fs = std::filesystem;

constexpr int kMostRedirects = 5;

class Sha256 {
 public:
  Sha256() { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    EVP_DigestFinal_ex(context_.get(), digest.data(), &size);
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (unsigned i = 0; i < size; ++i) {
      text += kDigits[digest[i] >> 4];
      text += kDigits[digest[i] & 15];
    }
    return text;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_{EVP_MD_CTX_new()};
};

/// A sum as it is written: 64 hexadecimal digits, maybe in quotes; else empty.
std::string checksum_in(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  if (text.size() != 64) return {};
  std::string sum(text);
  for (char& c : sum) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return {};
  }
  return sum;
}

template <class T>
std::optional<T> number_in(std::string_view text) {
  T value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

Result<void> hash_file(const std::string& path, Sha256& hash) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::not_found, path + ": cannot be opened");
  std::vector<char> chunk(1 << 20);
  while (file) {
    file.read(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    hash.add({chunk.data(), static_cast<size_t>(file.gcount())});
  }
  if (file.bad()) return fail(ErrorCode::io, path + ": cannot be read to its end");
  return {};
}

std::string system_error(int number) { return std::strerror(number); }

/// The part of a file that is there, open for more.
class PartFile {
 public:
  explicit PartFile(std::string path) : path_(std::move(path)) {}
  ~PartFile() { close(); }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  /// With what is there counted and hashed, or from the start.
  Result<void> open(bool keep) {
    close();
    hash_ = Sha256();
    size_ = 0;
    if (keep) {
      if (auto read = hash_file(path_, hash_); !read) return read;
      std::error_code error;
      size_ = fs::file_size(path_, error);
    }
    descriptor_ =
        ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (keep ? O_APPEND : O_TRUNC), 0644);
    if (descriptor_ < 0) {
      return fail(ErrorCode::io, path_ + ": cannot be written: " + system_error(errno));
    }
    return {};
  }
  Result<void> write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(descriptor_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        return fail(ErrorCode::io, path_ + ": cannot be written: " + system_error(errno) +
                                       "; make room and pull again, it goes on from there");
      }
      hash_.add(bytes.substr(0, static_cast<size_t>(n)));
      size_ += static_cast<uint64_t>(n);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return {};
  }
  Result<void> sync() {
    if (::fsync(descriptor_) != 0) {
      return fail(ErrorCode::io, path_ + ": cannot be written: " + system_error(errno));
    }
    return {};
  }
  void close() {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
  }
  uint64_t size() const { return size_; }
  std::string hex() { return hash_.hex(); }

 private:
  std::string path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
  Sha256 hash_;
};

/// One answer of the server, written to the part file as it comes.
struct Transfer {
  const DownloadOptions& options;
  PartFile& part;
  uint64_t asked_from = 0;

  HttpHead head;
  uint64_t whole = 0;
  uint64_t resumed_at = 0;
  std::optional<Error> error;

  bool on_head(const HttpHead& got) {
    head = got;
    if (head.status == 206) {
      // "bytes 100-199/200": it must go on exactly where the file ends.
      const std::string_view range = head.get("Content-Range");
      const size_t slash = range.find('/');
      const auto from =
          range.starts_with("bytes ") ? number_in<uint64_t>(range.substr(6)) : std::nullopt;
      if (!from || *from != asked_from) {
        error = Error{ErrorCode::bad_format, "the server sent another part than was asked for"};
        return false;
      }
      if (slash != range.npos) whole = number_in<uint64_t>(range.substr(slash + 1)).value_or(0);
      resumed_at = asked_from;
      return true;
    }
    if (head.status != 200) return head.status < 400 ? false : true;
    if (asked_from > 0) {  // a server without ranges begins again, and so do we
      if (auto opened = part.open(false); !opened) {
        error = opened.error();
        return false;
      }
    }
    whole = number_in<uint64_t>(head.get("Content-Length")).value_or(0);
    return true;
  }
  bool on_body(std::string_view bytes) {
    if (head.status != 200 && head.status != 206) return true;  // an error's page
    if (auto written = part.write(bytes); !written) {
      error = written.error();
      return false;
    }
    if (options.on_progress) options.on_progress(part.size(), whole);
    return true;
  }
};

Result<void> fetch(HttpClient& client, HttpRequest request, Transfer& transfer,
                   const CancelFlag& cancel) {
  std::promise<Result<void>> done;
  HttpHandlers handlers;
  handlers.on_head = [&](const HttpHead& head) { return transfer.on_head(head); };
  handlers.on_body = [&](std::string_view bytes) { return transfer.on_body(bytes); };
  handlers.on_done = [&](Result<void> came) { done.set_value(std::move(came)); };
  client.start(std::move(request), std::move(handlers), cancel);
  return done.get_future().get();
}

std::string refusal(const Url& url, int status) {
  const std::string where = url.origin() + ": ";
  if (status == 404) return where + "has no such file (404); correct the URL";
  if (status == 401 || status == 403) {
    return where + "refuses the file (" + std::to_string(status) +
           "); it may ask for an account, so fetch it in a browser";
  }
  return where + "does not send the file (status " + std::to_string(status) + "); try again later";
}

}  // namespace

Result<std::string> sha256_of(const std::string& path) {
  Sha256 hash;
  if (auto read = hash_file(path, hash); !read) return tl::unexpected(read.error());
  return hash.hex();
}

Result<bool> verify_checksum(const std::string& path) {
  std::ifstream file(path + ".sha256");
  std::string sum;
  if (!(file >> sum)) return false;
  const std::string expected = checksum_in(sum);
  if (expected.empty()) {
    return fail(ErrorCode::bad_format, path + ".sha256: holds no SHA-256 sum; remove it");
  }
  auto actual = sha256_of(path);
  if (!actual) return tl::unexpected(actual.error());
  if (*actual != expected) {
    return fail(ErrorCode::bad_format, path + ": is damaged (SHA-256 " + actual->substr(0, 12) +
                                           "…, expected " + expected.substr(0, 12) +
                                           "…); remove it and pull it again");
  }
  return true;
}

Result<Downloaded> download(const DownloadOptions& options) {
  std::string expected = checksum_in(options.sha256);
  if (!options.sha256.empty() && expected.empty()) {
    return fail(ErrorCode::invalid_argument,
                "'" + options.sha256 + "' is no SHA-256 sum; expected 64 hexadecimal digits");
  }
  auto url = parse_url(options.url);
  if (!url) return tl::unexpected(url.error());
  const std::string part_path = options.path + ".part";
  PartFile part(part_path);
  std::error_code missing;
  const uint64_t there = fs::file_size(part_path, missing);
  if (auto opened = part.open(!missing && there > 0); !opened)
    return tl::unexpected(opened.error());

  HttpClient client(options.http);
  std::string told;  // by the server, at whatever redirect
  std::optional<Transfer> transfer;
  bool again = false;  // the part was of no use
  for (int redirects = 0;;) {
    transfer.emplace(Transfer{options, part, part.size(), {}, 0, 0, {}});
    HttpRequest request;
    request.method = "GET";
    request.url = *url;
    if (part.size() > 0) {
      request.headers.emplace_back("Range", "bytes=" + std::to_string(part.size()) + "-");
    }
    const auto came = fetch(client, std::move(request), *transfer, options.cancel);
    if (transfer->error) return tl::unexpected(*transfer->error);
    if (!came) {
      Error error = came.error();
      if (part.size() > 0 && error.code == ErrorCode::unavailable) {
        error.message += "; pulling again goes on from there";
      }
      return tl::unexpected(std::move(error));
    }
    if (told.empty()) told = checksum_in(transfer->head.get("X-Linked-ETag"));
    const int status = transfer->head.status;
    if (status >= 300 && status < 400) {
      auto next = resolve_url(*url, transfer->head.get("Location"));
      if (!next) return tl::unexpected(next.error());
      if (url->secure && !next->secure) {
        return fail(ErrorCode::unavailable, url->origin() +
                                                ": sends us on to an http:// server, "
                                                "where anybody could change the file");
      }
      if (++redirects > kMostRedirects) {
        return fail(ErrorCode::unavailable, url->origin() + ": sends us in circles");
      }
      url = std::move(next);
      continue;
    }
    if (status == 416 && part.size() > 0 && !again) {
      // Nothing is left to send: either the part is all of it, or it is of another file.
      const std::string_view range = transfer->head.get("Content-Range");
      const auto size =
          range.starts_with("bytes */") ? number_in<uint64_t>(range.substr(8)) : std::nullopt;
      if (size == part.size()) break;
      again = true;
      if (auto opened = part.open(false); !opened) return tl::unexpected(opened.error());
      continue;
    }
    if (status != 200 && status != 206) {
      return fail(status == 404 ? ErrorCode::not_found : ErrorCode::unavailable,
                  refusal(*url, status));
    }
    break;
  }

  Downloaded out;
  out.bytes = part.size();
  out.resumed_at = transfer->resumed_at;
  if (transfer->whole > 0 && out.bytes != transfer->whole) {
    return fail(ErrorCode::unavailable,
                url->origin() + ": the file came to " + std::to_string(out.bytes) + " bytes of " +
                    std::to_string(transfer->whole) + "; pulling again goes on from there");
  }
  if (auto synced = part.sync(); !synced) return tl::unexpected(synced.error());
  out.sha256 = part.hex();
  part.close();
  if (expected.empty()) expected = told;
  if (!expected.empty() && expected != out.sha256) {
    std::error_code ignored;
    fs::remove(part_path, ignored);
    return fail(ErrorCode::bad_format, options.path + ": what came has the SHA-256 " + out.sha256 +
                                           ", expected " + expected +
                                           "; it was removed, pull again or correct the sum");
  }
  out.checked = !expected.empty();
  const std::string sum_path = options.path + ".sha256";
  std::ofstream sum(sum_path, std::ios::trunc);
  sum << out.sha256 << "  " << fs::path(options.path).filename().string() << '\n';
  sum.close();
  if (!sum) {
    return fail(ErrorCode::io, sum_path + ": cannot be written; make room and pull again");
  }
  std::error_code moved;
  fs::rename(part_path, options.path, moved);
  if (moved) return fail(ErrorCode::io, options.path + ": " + moved.message());
  return out;
}

}  // namespace cambium::engine
