#include "engine/remote/download.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/support/engine/scripted_server.h"

using namespace cambium;
using namespace cambium::engine;
using namespace cambium::test;
namespace fs = std::filesystem;
using Connection = ScriptedServer::Connection;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("cambium-pull-" + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  std::string at(const std::string& name) const { return (path / name).string(); }
};

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string content() {
  std::string bytes;
  for (int i = 0; i < 200000; ++i) bytes += static_cast<char>(i * 7919 >> 3);
  return bytes;
}

size_t asked_from(const std::string& request) {
  const size_t at = request.find("Range: bytes=");
  return at == request.npos ? 0 : std::stoul(request.substr(at + 13));
}

/// Serves `bytes` as a good server does.
void serve(Connection& client, const std::string& request, const std::string& bytes,
           const std::string& headers = "") {
  const size_t from = asked_from(request);
  if (from == 0) {
    client.send(response(200, "application/octet-stream", bytes, headers));
  } else if (from >= bytes.size()) {
    client.send(response(416, "text/plain", "",
                         "Content-Range: bytes */" + std::to_string(bytes.size()) + "\r\n"));
  } else {
    client.send(response(206, "application/octet-stream", bytes.substr(from),
                         "Content-Range: bytes " + std::to_string(from) + "-" +
                             std::to_string(bytes.size() - 1) + "/" + std::to_string(bytes.size()) +
                             "\r\n" + headers));
  }
}

DownloadOptions options_for(const std::string& url, const std::string& path) {
  DownloadOptions options;
  options.url = url;
  options.path = path;
  options.http.back_off = std::chrono::milliseconds(1);
  return options;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a file comes whole, with progress and its sum beside it") {
  Folder folder;
  const std::string bytes = content();
  ScriptedServer server(
      [&](Connection& client, const std::string& request) { serve(client, request, bytes); });
  auto options = options_for(server.url("/m.gguf"), folder.at("m.gguf"));
  uint64_t last = 0, whole = 0;
  options.on_progress = [&](uint64_t done, uint64_t of) {
    CHECK(done >= last);
    last = done;
    whole = of;
  };
  auto pulled = download(options);
  REQUIRE_MESSAGE(pulled.has_value(), pulled.error().message);
  CHECK(pulled->bytes == bytes.size());
  CHECK_FALSE(pulled->checked);
  CHECK(last == bytes.size());
  CHECK(whole == bytes.size());
  CHECK(read(folder.at("m.gguf")) == bytes);
  CHECK_FALSE(fs::exists(folder.at("m.gguf.part")));
  CHECK(*verify_checksum(folder.at("m.gguf")));
  CHECK(*sha256_of(folder.at("m.gguf")) == pulled->sha256);
  std::ofstream(folder.at("abc")) << "abc";
  CHECK(*sha256_of(folder.at("abc")) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK_FALSE(*verify_checksum(folder.at("abc")));

  // One byte turned over is found.
  std::fstream file(folder.at("m.gguf"), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(100000);
  file.put('~');
  file.close();
  const auto damaged = verify_checksum(folder.at("m.gguf"));
  REQUIRE_FALSE(damaged.has_value());
  CHECK(contains(damaged.error().message, "is damaged"));
}

TEST_CASE("a cut download goes on, and begins again where the server has no ranges") {
  const std::string bytes = content();
  for (const bool ranges : {true, false}) {
    CAPTURE(ranges);
    Folder folder;
    int connections = 0;
    ScriptedServer server([&](Connection& client, const std::string& request) {
      if (++connections == 1) {
        const std::string whole = response(200, "application/octet-stream", bytes);
        client.send(whole.substr(0, whole.size() / 2));
      } else {
        serve(client, ranges ? request : std::string(), bytes);
      }
    });
    const auto options = options_for(server.url("/m.gguf"), folder.at("m.gguf"));
    const auto cut = download(options);
    REQUIRE_FALSE(cut.has_value());
    CHECK(contains(cut.error().message, "pulling again goes on from there"));
    CHECK_FALSE(fs::exists(folder.at("m.gguf")));
    const auto size = fs::file_size(folder.at("m.gguf.part"));
    CHECK(size > 0);
    const auto pulled = download(options);
    REQUIRE_MESSAGE(pulled.has_value(), pulled.error().message);
    CHECK(pulled->resumed_at == (ranges ? size : 0));
    CHECK(read(folder.at("m.gguf")) == bytes);
    CHECK(asked_from(server.requests().at(1)) == size);
  }
}

TEST_CASE("a part that is whole, and one of another file") {
  Folder folder;
  const std::string bytes = content();
  ScriptedServer server(
      [&](Connection& client, const std::string& request) { serve(client, request, bytes); });
  const auto options = options_for(server.url("/m.gguf"), folder.at("m.gguf"));
  std::ofstream(folder.at("m.gguf.part"), std::ios::binary) << bytes;
  auto pulled = download(options);
  REQUIRE_MESSAGE(pulled.has_value(), pulled.error().message);
  CHECK(read(folder.at("m.gguf")) == bytes);

  fs::remove(folder.at("m.gguf"));
  std::ofstream(folder.at("m.gguf.part"), std::ios::binary) << bytes << "and more";
  pulled = download(options);
  REQUIRE_MESSAGE(pulled.has_value(), pulled.error().message);
  CHECK(read(folder.at("m.gguf")) == bytes);
}

TEST_CASE("a wrong sum leaves no file behind") {
  Folder folder;
  const std::string bytes = content();
  const std::string other(64, 'a');
  ScriptedServer server([&](Connection& client, const std::string& request) {
    serve(client, request, bytes,
          contains(request, "GET /linked") ? "X-Linked-ETag: \"" + other + "\"\r\n" : "");
  });
  auto options = options_for(server.url("/m.gguf"), folder.at("m.gguf"));
  for (const bool told : {false, true}) {
    options.url = server.url(told ? "/linked" : "/m.gguf");
    options.sha256 = told ? "" : other;
    const auto wrong = download(options);
    REQUIRE_FALSE(wrong.has_value());
    CHECK(contains(wrong.error().message, "expected " + other));
    CHECK(fs::is_empty(folder.path));
  }
  std::ofstream(folder.at("sum")) << bytes;
  options.url = server.url("/m.gguf");
  options.sha256 = *sha256_of(folder.at("sum"));
  CHECK(download(options)->checked);
  options.sha256 = "1234";
  CHECK(contains(download(options).error().message, "is no SHA-256 sum"));
}

TEST_CASE("a full disk is told, and what came stays for the next try") {
  Folder folder;
  const std::string bytes = content();
  ScriptedServer server(
      [&](Connection& client, const std::string& request) { serve(client, request, bytes); });
  const auto options = options_for(server.url("/m.gguf"), folder.at("m.gguf"));
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{100000, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  const auto full = download(options);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  REQUIRE_FALSE(full.has_value());
  CHECK(full.error().code == ErrorCode::io);
  CHECK(contains(full.error().message, "make room and pull again"));
  CHECK(fs::file_size(folder.at("m.gguf.part")) == 100000);
  const auto pulled = download(options);
  REQUIRE_MESSAGE(pulled.has_value(), pulled.error().message);
  CHECK(pulled->resumed_at == 100000);
  CHECK(read(folder.at("m.gguf")) == bytes);
  CHECK(contains(download(options_for(server.url("/m"), "/nonexistent/m")).error().message,
                 "cannot be written"));
}

TEST_CASE("redirects are followed, but not in circles; refusals are told") {
  Folder folder;
  ScriptedServer server([&](Connection& client, const std::string& request) {
    if (contains(request, "GET /a")) {
      client.send(response(302, "text/plain", "", "Location: /b\r\n"));
    } else if (contains(request, "GET /b")) {
      serve(client, request, "content");
    } else if (contains(request, "GET /circle")) {
      client.send(response(302, "text/plain", "", "Location: /circle\r\n"));
    } else if (contains(request, "GET /lost")) {
      client.send(response(404, "text/html", "<html>not here"));
    } else {
      client.send(response(403, "text/plain", "who are you"));
    }
  });
  const auto pull = [&](const char* path) {
    return download(options_for(server.url(path), folder.at("m")));
  };
  REQUIRE(pull("/a").has_value());
  CHECK(read(folder.at("m")) == "content");
  CHECK(contains(pull("/circle").error().message, "in circles"));
  CHECK(contains(pull("/lost").error().message, "no such file (404)"));
  CHECK(contains(pull("/x").error().message, "refuses the file (403)"));
  CHECK(contains(download(options_for("ftp://h/x", folder.at("m"))).error().message, "is no URL"));
}
