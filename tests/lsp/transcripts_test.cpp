// Whole conversations over the real streams: tests/transcripts/*.jsonl against run_server().
//
// A line is one of
//   {"client": MESSAGE}     sent with its Content-Length
//   {"bytes": TEXT}         sent as it is
//   {"server": PATTERN}     the next message: every field of the pattern is in it, recursively; a
//   list
//                           has the same length; "…" stands for anything
//   {"end": CODE}           the client closes its side; the server's exit code (stdio)
//   {"exit": CODE}          the server ended by itself, with this exit code (stdio)
// window/logMessage and cambium/status are skipped unless a pattern names them.
#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "lsp/server.h"
#include "tests/support/fake_generator.h"
#include "tests/support/lsp/wire.h"
#include "tests/support/source_dir.h"

using namespace cambium;
using namespace cambium::test;
using Json = nlohmann::json;

namespace {

lsp::ServerOptions options_with_fake_model() {
  lsp::ServerOptions options;
  options.settings.set_layer(Origin::command_line, {{"log.level", "off"}});
  lsp::PooledModel& model = options.models.emplace_back();
  model.name = "fake.gguf";
  model.roles = {assist::Role::completion};
  model.load = lsp::load_completer([](const std::function<void(double)>& progress)
                                       -> Result<std::shared_ptr<engine::Generator>> {
    progress(0.5);
    return std::make_shared<FakeGenerator>([](const std::string&) { return "a + b\n"; });
  });
  return options;
}

bool matches(const Json& pattern, const Json& value) {
  if (pattern == "…") return true;
  if (pattern.is_object()) {
    if (!value.is_object()) return false;
    return std::all_of(pattern.items().begin(), pattern.items().end(), [&](const auto& field) {
      return value.contains(field.key()) && matches(field.value(), value[field.key()]);
    });
  }
  if (pattern.is_array()) {
    if (!value.is_array() || value.size() != pattern.size()) return false;
    for (size_t i = 0; i < pattern.size(); ++i) {
      if (!matches(pattern[i], value[i])) return false;
    }
    return true;
  }
  return pattern == value;
}

bool is_chatter(const Json& message) {
  const std::string method = message.value("method", "");
  return method == "window/logMessage" || method == "cambium/status";
}

/// Plays the lines up to one that ends the conversation, which is given back.
Json play(Wire& wire, const std::vector<Json>& lines) {
  for (const Json& line : lines) {
    CAPTURE(line.dump());
    if (line.contains("client")) {
      wire.send(line["client"].dump());
    } else if (line.contains("bytes")) {
      wire.send_bytes(line["bytes"].get<std::string>());
    } else if (line.contains("server")) {
      for (;;) {
        const auto body = wire.receive();
        REQUIRE_MESSAGE(body.has_value(), "the server said nothing more");
        const Json message = Json::parse(*body);
        if (is_chatter(message) && !is_chatter(line["server"])) continue;
        const bool fits = matches(line["server"], message);
        CHECK_MESSAGE(fits, "got ", *body);
        break;
      }
    } else {
      return line;
    }
  }
  return Json::object();
}

std::vector<Json> read_lines(const std::filesystem::path& path) {
  std::vector<Json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.starts_with("//")) continue;
    lines.push_back(Json::parse(line, nullptr, false));
    INFO(path.filename().string() << ": " << line);
    REQUIRE_FALSE(lines.back().is_discarded());
  }
  return lines;
}

}  // namespace

TEST_CASE("recorded conversations over stdin and stdout") {
  size_t played = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(cambium::test::source_dir() + "/tests/transcripts")) {
    if (entry.path().extension() != ".jsonl") continue;
    const std::string name = entry.path().filename().string();
    CAPTURE(name);
    ChildServer server(options_with_fake_model());
    const Json last = play(server.wire(), read_lines(entry.path()));
    if (last.contains("end")) server.wire().close_writing();
    const char* key = last.contains("end") ? "end" : "exit";
    REQUIRE(last.contains(key));
    CHECK(server.exit_code() == last[key].get<int>());
    ++played;
  }
  CHECK(played >= 4);
}

TEST_CASE("two editors on one process, over a socket") {
  std::string folder = (std::filesystem::temp_directory_path() / "cambium-wire-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const std::string address = "unix:" + folder + "/s.sock";
  {
    lsp::ServerOptions options = options_with_fake_model();
    options.listen = {address};
    // The child says over stdout that it listens; its protocol is on the socket.
    options.on_listening = [](const std::string& bound) {
      const std::string line = lsp::frame_header(bound.size()) + bound;
      [[maybe_unused]] const auto written = ::write(STDOUT_FILENO, line.data(), line.size());
    };
    ChildServer server(std::move(options));
    REQUIRE(server.wire().receive() == address);
    auto first = Wire::connect(address), second = Wire::connect(address);
    REQUIRE(first.has_value());
    REQUIRE(second.has_value());
    const auto lines = read_lines(cambium::test::source_dir() + "/tests/transcripts/session.jsonl");
    play(*first, lines);
    CHECK(first->closed());  // its exit ends its session only
    play(*second, lines);
    server.signal(SIGTERM);
    CHECK(server.exit_code() == 0);
    CHECK_FALSE(std::filesystem::exists(folder + "/s.sock"));
  }
  std::filesystem::remove_all(folder);
}

TEST_CASE("a 100 MB file over the wire is skipped; asking about it is answered") {
  ChildServer server(options_with_fake_model());
  Wire& wire = server.wire();
  const auto send = [&](const char* text) { play(wire, {Json{{"client", Json::parse(text)}}}); };
  send(R"({"id":1,"method":"initialize","params":{"capabilities":{}}})");
  play(wire, {Json{{"server", {{"id", 1}}}}});
  const std::string before =
      R"({"method":"textDocument/didOpen","params":{"textDocument":{"uri":"file:///huge.c","text":")";
  const std::string after = "\"}}}";
  const size_t size = size_t{100} << 20;
  wire.send_bytes(lsp::frame_header(before.size() + size + after.size()) + before);
  const std::string piece(size_t{1} << 20, 'x');
  for (size_t sent = 0; sent < size; sent += piece.size()) wire.send_bytes(piece);
  wire.send_bytes(after);
  send(R"({"id":2,"method":"textDocument/inlineCompletion","params":)"
       R"({"textDocument":{"uri":"file:///huge.c"},"position":{"line":0,"character":1}}})");
  play(wire, {Json{{"server", {{"id", nullptr}, {"error", {{"code", -32600}}}}}},
              Json{{"server", {{"id", 2}, {"result", {{"items", Json::array()}}}}}}});
}

TEST_CASE("a large file and all that follows it is answered, though the input ends at once") {
  ChildServer server(options_with_fake_model());
  Wire& wire = server.wire();
  const auto send = [&](const Json& message) { wire.send(message.dump()); };
  send({{"id", 1}, {"method", "initialize"}, {"params", {{"capabilities", Json::object()}}}});
  std::string text = "int f() {\n  \n}\n";
  while (text.size() < 1'000'000) text += "// a line of a large file\n";
  send({{"method", "textDocument/didOpen"},
        {"params",
         {{"textDocument",
           {{"uri", "file:///l.c"}, {"languageId", "c"}, {"version", 1}, {"text", text}}}}}});
  send({{"id", 2}, {"method", "no/such"}});
  send({{"id", 3}, {"method", "shutdown"}});
  send({{"method", "exit"}});
  wire.close_writing();
  play(wire,
       {Json{{"server", {{"id", 1}}}}, Json{{"server", {{"id", 2}, {"error", {{"code", -32601}}}}}},
        Json{{"server", {{"id", 3}, {"result", nullptr}}}}});
  CHECK(server.exit_code() == 0);
}

TEST_CASE("an address that cannot be had is exit code 2") {
  lsp::ServerOptions options = options_with_fake_model();
  options.listen = {"0.0.0.0:1"};
  ChildServer server(std::move(options));
  CHECK(server.exit_code() == 2);
}
