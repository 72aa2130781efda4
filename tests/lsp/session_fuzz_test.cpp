// Random sessions: whatever a client sends, each request gets one answer and the text is the
// client's.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/support/lsp/lsp_client.h"

using namespace cambium;
using namespace cambium::test;
using lsp::Json;

namespace {

class RandomClient {
 public:
  explicit RandomClient(unsigned seed) : random_(seed), client_(server_) {
    server_.completion->hold = true;
    static const char* kNames[] = {"utf-8", "utf-16", "utf-32"};
    client_.initialize(
        {{"capabilities", {{"general", {{"positionEncodings", {kNames[random_() % 3]}}}}}}});
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step();
      check_documents();
    }
    if (random_() % 2 == 0) {
      ids_.push_back(client_.send_request("shutdown"));
      for (int i = 0; i < 5; ++i) request();
    }
    // The model loads on a thread of its own, so the last requests may reach it only now.
    server_.run_until([this] {
      while (!server_.completion->held.empty()) answer_one();
      return std::all_of(ids_.begin(), ids_.end(),
                         [this](auto id) { return client_.answered(id); });
    });
    for (const auto id : ids_) {
      CAPTURE(id);
      CHECK(client_.answer_counts[Json(id).dump()] == 1);
    }
  }

 private:
  std::string any_uri() { return "file:///d/" + std::to_string(random_() % 3) + ".py"; }

  std::string any_text(size_t most) {
    static const char* kPieces[] = {"a", "if x:\n", "\r\n", "\n",   "é",
                                    "😀", "(",       "\"",   "    ", "日"};
    std::string out;
    for (size_t n = random_() % (most + 1); n > 0; --n)
      out += kPieces[random_() % std::size(kPieces)];
    return out;
  }

  void step() {
    switch (random_() % 12) {
      case 0: {
        const std::string uri = any_uri(), text = any_text(30);
        client_.open(uri, text, "python");
        texts_[uri] = text;
        break;
      }
      case 1: {
        const std::string uri = any_uri();
        client_.notify("textDocument/didClose", {{"textDocument", {{"uri", uri}}}});
        texts_.erase(uri);
        break;
      }
      case 2:
      case 3:
      case 4:
        change();
        break;
      case 5:
      case 6:
      case 7:
        request();
        break;
      case 8:
        if (!ids_.empty()) {
          client_.notify("$/cancelRequest", {{"id", ids_[random_() % ids_.size()]}});
        }
        break;
      case 9:
        if (!server_.completion->held.empty()) answer_one();
        break;
      case 10:
        ids_.push_back(client_.send_request("workspace/executeCommand",
                                            {{"command", random_() % 2 ? "cambium.stats" : "x"}}));
        break;
      default:
        garbage();
    }
  }

  void change() {
    const std::string uri = any_uri();
    const auto found = texts_.find(uri);
    if (found == texts_.end()) return;
    std::string& text = found->second;
    Json changes = Json::array();
    for (size_t n = 1 + random_() % 3; n > 0; --n) {
      const std::string inserted = any_text(4);
      if (random_() % 10 == 0) {
        text = inserted;
        changes.push_back({{"text", inserted}});
        continue;
      }
      const lsp::LineIndex lines(text);
      const auto encoding = client_.session().encoding();
      auto start = lines.position(text, random_() % (text.size() + 1), encoding);
      auto end = lines.position(text, random_() % (text.size() + 1), encoding);
      if (end < start) std::swap(start, end);
      const size_t begin = *lines.offset(text, start, encoding);
      const size_t stop = *lines.offset(text, end, encoding);
      text.replace(begin, stop - begin, inserted);
      changes.push_back({{"range", lsp::to_json(lsp::Range{start, end})}, {"text", inserted}});
    }
    client_.notify("textDocument/didChange",
                   {{"textDocument", {{"uri", uri}, {"version", ++version_}}},
                    {"contentChanges", std::move(changes)}});
  }

  void request() {
    const char* method =
        random_() % 2 ? "textDocument/inlineCompletion" : "textDocument/completion";
    ids_.push_back(client_.send_request(
        method, client_.position_params(any_uri(), random_() % 4, random_() % 6)));
  }

  void garbage() {
    static const char* kBodies[] = {
        "{",
        "[]",
        "null",
        R"({"id":[]})",
        R"({"method":"$/x"})",
        R"({"method":"textDocument/didChange","params":7})",
        R"({"id":987654,"result":null})",
        R"({"method":"textDocument/didOpen","params":{"textDocument":{}}})"};
    client_.send_raw(kBodies[random_() % std::size(kBodies)]);
  }

  void answer_one() {
    auto& held = server_.completion->held;
    const size_t i = random_() % held.size();
    const auto done = std::move(held[i]);
    held.erase(held.begin() + static_cast<ptrdiff_t>(i));
    switch (random_() % 4) {
      case 0:
        done(fail(ErrorCode::cancelled, "cancelled"));
        break;
      case 1:
        done(assist::CompletionOutput{});
        break;
      case 2:
        break;  // forgotten
      default: {
        assist::CompletionOutput output;
        output.items.push_back({"text", 0, 0});
        done(output);
      }
    }
    server_.run();
  }

  void check_documents() {
    for (const auto& [uri, text] : texts_) {
      const auto snapshot = client_.session().documents().snapshot(uri);
      REQUIRE(snapshot);
      REQUIRE(*snapshot->text == text);
      REQUIRE(snapshot->scopes->size() == text.size());
    }
    REQUIRE(client_.session().documents().size() == texts_.size());
  }

  std::mt19937 random_;
  LspServer server_;
  LspClient client_;
  std::map<std::string, std::string> texts_;
  std::vector<int64_t> ids_;
  int version_ = 1;
};

}  // namespace

TEST_CASE("random sessions: one answer a request, the client's text") {
  for (unsigned seed = 0; seed < 40; ++seed) {
    CAPTURE(seed);
    RandomClient(seed).run(120);
  }
}
