// Fetches a large file: goes on where an earlier try stopped, checks the SHA-256, and puts the file in
// its place only when it is whole.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "engine/remote/http_client.h"

namespace cambium::engine {

struct DownloadOptions {
  std::string url;
  std::string path;    ///< of the finished file; PATH.part grows until then
  std::string sha256;  ///< 64 hexadecimal digits; empty: what the server says, if it does
  HttpOptions http;
  /// Bytes there so far and of the whole (0: not known), on another thread.
  std::function<void(uint64_t done, uint64_t whole)> on_progress;
  CancelFlag cancel;  ///< may be null
};

struct Downloaded {
  uint64_t bytes = 0;
  uint64_t resumed_at = 0;  ///< bytes that were there before
  std::string sha256;       ///< of the file, lower case
  bool checked = false;     ///< against a sum that was given or that the server told
};

/// Blocks. Up to five redirects; never from https to http. A checksum in PATH.sha256 (as sha256sum
/// writes it) is left beside the file for verify_checksum(). Errors: one sentence; after a cut or a
/// full disk PATH.part stays and the next call goes on from there, after a wrong sum it is removed.
Result<Downloaded> download(const DownloadOptions& options);

/// Lower-case hexadecimal; reads the whole file. Errors: not_found, io.
Result<std::string> sha256_of(const std::string& path);
/// Compares the file with PATH.sha256. False: there is none. Errors: bad_format (they differ), io.
Result<bool> verify_checksum(const std::string& path);

}  // namespace cambium::engine
