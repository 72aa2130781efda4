// Generations on their way to clients of `cambium serve`: by one model, or by two in a cascade.
//
// In a cascade (assist/cascade.h) the small model's text is held back until it has ended, for only then is it
// known how sure it was: a client never sees text that is replaced. It then comes at once, or the larger
// model's as it is written. Who asks for a model by a name gets that one.
//
// Threading: the server's thread alone; engines and models call back on theirs, and what they call posts to it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "lsp/assist/cascade.h"
#include "lsp/assist/json_constraint.h"
#include "lsp/assist/models.h"
#include "lsp/assist/thinking.h"
#include "lsp/serve/api.h"
#include "lsp/serve/metrics.h"

namespace cambium::lsp::serve {

/// What an engine keeps of a request may outlive the server, so its callbacks know it by number only.
struct Exchange {
  explicit Exchange(boost::asio::io_context& io) : wake(io) { wake.expires_at(kNever); }
  static constexpr auto kNever = std::chrono::steady_clock::time_point::max();

  void changed() { wake.cancel(); }

  ApiRequest asked;
  AnswerHead head;
  engine::CancelFlag cancel = engine::make_cancel_flag();
  assist::ThinkingSplitter splitter{false};
  std::deque<std::string> pieces;  ///< events not yet sent
  std::optional<Result<engine::Generated>> done;
  bool started = false;  ///< something was generated: the answer's status is 200
  boost::asio::steady_timer wake;

  enum class Turn : uint8_t { only, small, larger };
  Turn turn = Turn::only;
  double threshold = 0;  ///< of a cascade
  std::optional<Result<engine::Generated>>
      first;  ///< the small model's, until the larger one's shows
  std::string small_model;
  std::chrono::steady_clock::time_point begun;
};
using ExchangePtr = std::shared_ptr<Exchange>;

class Generations {
 public:
  Generations(boost::asio::io_context& io, std::shared_ptr<assist::Models> models, Metrics& metrics)
      : io_(io), models_(std::move(models)), metrics_(metrics) {}

  /// A number for exchange(), until it is ended. The error says that no model answers this.
  tl::expected<uint64_t, ApiError> begin(ApiRequest asked);
  /// Null once it is ended.
  ExchangePtr exchange(uint64_t id) const;
  /// The client has all it will get: nobody wants the rest.
  void end(uint64_t id);
  void cancel_all();
  /// Callbacks are still to come.
  bool busy() const { return generating_ > 0; }
  void drop_models() { models_.reset(); }

 private:
  using GeneratorPtr = std::shared_ptr<engine::Generator>;
  struct Choice {
    assist::Role role = assist::Role::completion;
    Exchange::Turn turn = Exchange::Turn::only;
    std::string reason;
  };
  tl::expected<Choice, ApiError> choose(const ApiRequest& asked) const;
  void acquire(uint64_t id);
  void submit(uint64_t id, const GeneratorPtr& generator);
  void finished(uint64_t id, Result<engine::Generated> generated);
  void judge(uint64_t id, Exchange& open, Result<engine::Generated> generated);
  static bool better_than_larger(const Exchange& open, const Result<engine::Generated>& larger);
  static void answer_with_small(Exchange& open, const std::string& but);
  static void put(Exchange& open, const assist::ThinkingSplitter::Shown& shown);

  boost::asio::io_context& io_;
  std::shared_ptr<assist::Models> models_;
  Metrics& metrics_;
  assist::JsonConstraints constraints_;
  std::map<uint64_t, ExchangePtr> exchanges_;
  /// Models that write, which may be unloaded meanwhile. Held here and not by the engine's callbacks: an
  /// engine whose last reference its own thread drops would wait for itself.
  std::map<uint64_t, GeneratorPtr> at_work_;
  size_t generating_ = 0;
  uint64_t answers_ = 0;
};

}  // namespace cambium::lsp::serve
