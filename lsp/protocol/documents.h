// textDocument/didOpen, didChange, didSave, didClose.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lsp/protocol/basics.h"

namespace cambium::lsp {

struct DidOpenParams {
  std::string uri, language_id, text;
  int32_t version = 0;
};
bool read(const Json& json, DidOpenParams& out, Path path);

struct ContentChange {
  std::optional<Range> range;  ///< none: `text` is the whole document
  std::string text;
};
bool read(const Json& json, ContentChange& out, Path path);

struct DidChangeParams {
  std::string uri;
  std::optional<int32_t> version;
  std::vector<ContentChange> changes;
};
bool read(const Json& json, DidChangeParams& out, Path path);

struct DidSaveParams {
  std::string uri;
};
bool read(const Json& json, DidSaveParams& out, Path path);

struct DidCloseParams {
  std::string uri;
};
bool read(const Json& json, DidCloseParams& out, Path path);

}  // namespace cambium::lsp
