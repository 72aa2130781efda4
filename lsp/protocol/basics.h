// What every feature's messages share.
#pragma once

#include <string>
#include <vector>

#include "lsp/protocol/reader.h"
#include "lsp/text.h"

namespace cambium::lsp {

bool read(const Json& json, Position& out, Path path);
bool read(const Json& json, Range& out, Path path);
Json to_json(const Position& position);
Json to_json(const Range& range);

struct TextDocumentIdentifier {
  std::string uri;
};
bool read(const Json& json, TextDocumentIdentifier& out, Path path);

struct TextDocumentPosition {
  std::string uri;
  Position position;
};
bool read(const Json& json, TextDocumentPosition& out, Path path);

struct ExecuteCommandParams {
  std::string command;
  std::vector<Json> arguments;
  Json work_done_token;  ///< null where the client wants no progress
};
bool read(const Json& json, ExecuteCommandParams& out, Path path);

struct WorkDoneCancelParams {
  Json token;
};
bool read(const Json& json, WorkDoneCancelParams& out, Path path);

enum class MessageType : int { error = 1, warning = 2, info = 3, log = 4 };

/// The path a file: URI names, percent-decoded; empty for other schemes and damaged URIs.
std::string path_of_uri(std::string_view uri);
/// The decoded path part of any URI, for its file name: "/dir/a.py" of
/// "vscode-remote://host/dir/a.py".
std::string path_part_of_uri(std::string_view uri);
std::string uri_of_path(std::string_view path);

}  // namespace cambium::lsp
