// Any bytes on the stream of a language server: framing, JSON-RPC, parameters, documents. Nothing
// but well-formed messages may come back.
#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "lsp/session.h"

namespace {

using namespace cambium;

/// Answers every request at once, at the cursor.
class Completion final : public assist::CompletionService {
 public:
  void complete(assist::CompletionInput input,
                std::function<void(Result<assist::CompletionOutput>)> done) override {
    if (input.cursor > input.text->size()) std::abort();
    assist::CompletionOutput output;
    output.items.push_back({"text", input.cursor, input.cursor});
    done(output);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  boost::asio::io_context io{1};
  auto context = std::make_shared<lsp::ServerContext>();
  context->strand = io.get_executor();
  context->log = lsp::null_logger();
  lsp::PooledModel pooled;
  pooled.roles = {assist::Role::completion};
  pooled.load = [](const std::function<void(double)>&) -> Result<lsp::LoadedModel> {
    lsp::LoadedModel model;
    model.completion = std::make_shared<Completion>();
    return model;
  };
  lsp::PoolOptions options;
  options.idle = std::chrono::minutes(0);
  context->use(lsp::ModelPool::create(context->strand, {pooled}, options));
  const auto session = lsp::Session::create(
      context,
      [](const std::string& body) {
        if (!lsp::Json::accept(body)) std::abort();
      },
      nullptr);
  const auto send = [&](std::string body) {
    lsp::Frame frame;
    frame.body = std::move(body);
    session->receive(frame);
    io.restart();
    io.poll();
  };
  send(R"({"id":0,"method":"initialize","params":{"capabilities":{}}})");
  send(
      R"({"method":"textDocument/didOpen","params":{"textDocument":)"
      R"({"uri":"file:///f/a.py","languageId":"python","version":1,"text":"def f(x):\n  é\r\n"}}})");

  // A byte says how the next piece is cut: a raw piece of the stream, or the body of a message.
  std::string_view input(reinterpret_cast<const char*>(data), size);
  lsp::FrameReader reader(1 << 16);
  while (!input.empty()) {
    const auto head = static_cast<unsigned char>(input.front());
    input.remove_prefix(1);
    const size_t end = std::min<size_t>(input.size(), head / 2 * 8);
    const std::string_view piece = input.substr(0, end);
    input.remove_prefix(end);
    if (head % 2 == 0) {
      reader.feed(piece);
    } else {
      reader.feed(lsp::frame_header(piece.size()) + std::string(piece));
    }
    while (const auto frame = reader.next()) {
      session->receive(*frame);
      io.restart();
      io.poll();
    }
  }
  session->disconnected();
  context->close();
  io.restart();
  io.poll();
  return 0;
}
