#include "lsp/serve/generations.h"

#include <array>
#include <boost/asio/post.hpp>
#include <ctime>
#include <utility>

namespace cambium::lsp::serve {
namespace {

namespace asio = boost::asio;
using assist::Role;

bool says_something(const engine::Generated& generated) {
  return generated.text.find_first_not_of(" \t\r\n") != std::string::npos;
}

}  // namespace

tl::expected<uint64_t, ApiError> Generations::begin(ApiRequest asked) {
  auto choice = choose(asked);
  if (!choice) return tl::unexpected(std::move(choice.error()));
  const auto open = std::make_shared<Exchange>(io_);
  const uint64_t id = ++answers_;
  const bool chat = asked.endpoint == Endpoint::chat;
  open->head.endpoint = asked.endpoint;
  open->head.logprobs = asked.logprobs;
  open->head.created = std::time(nullptr);
  open->head.id = (chat ? "chatcmpl-" : "cmpl-") + std::to_string(id);
  open->head.route.role = choice->role;
  open->head.route.reason = std::move(choice->reason);
  open->turn = choice->turn;
  if (open->turn == Exchange::Turn::small) {
    open->head.route.cascade = true;
    open->threshold = models_->cascade(choice->role)->threshold;
  }
  open->asked = std::move(asked);
  exchanges_.emplace(id, open);
  acquire(id);
  return id;
}

ExchangePtr Generations::exchange(uint64_t id) const {
  const auto found = exchanges_.find(id);
  return found == exchanges_.end() ? nullptr : found->second;
}

void Generations::end(uint64_t id) {
  const auto found = exchanges_.find(id);
  if (found == exchanges_.end()) return;
  found->second->cancel->store(true);
  exchanges_.erase(found);
}

void Generations::cancel_all() {
  for (const auto& [id, open] : exchanges_) open->cancel->store(true);
}

/// The model of a request: by its `model` if that names one, else by the endpoint.
tl::expected<Generations::Choice, ApiError> Generations::choose(const ApiRequest& asked) const {
  const assist::Models& models = *models_;
  for (const Role role : assist::kRoles) {
    if (asked.model.empty() || !models.has(role)) continue;
    if (asked.model == assist::to_string(role) || asked.model == models.name(role)) {
      return Choice{role, Exchange::Turn::only, "the request names it"};
    }
    if (const auto two = models.cascade(role); two && asked.model == two->larger) {
      return Choice{role, Exchange::Turn::larger, "the request names it"};
    }
  }
  const bool chat = asked.endpoint == Endpoint::chat;
  for (const Role role : chat ? std::array{Role::general, Role::reasoning, Role::completion}
                              : std::array{Role::completion, Role::general, Role::reasoning}) {
    if (!models.has(role)) continue;
    const bool two = !chat && role == Role::completion && models.cascade(role);
    return Choice{role, two ? Exchange::Turn::small : Exchange::Turn::only,
                  std::string("the model of the role ") + assist::to_string(role)};
  }
  return tl::unexpected(ApiError{404, "no model is configured"});
}

/// Gets the model whose turn it is, and has it write.
void Generations::acquire(uint64_t id) {
  const ExchangePtr open = exchange(id);
  ++generating_;
  metrics_.started();
  const auto use = [this, id](const Result<GeneratorPtr>& generator) {
    asio::post(io_, [this, id, generator] {
      if (generator) {
        submit(id, *generator);
      } else {
        finished(id, tl::unexpected(generator.error()));
      }
    });
  };
  open->begun = std::chrono::steady_clock::now();
  if (open->turn == Exchange::Turn::larger)
    models_->acquire_larger(open->head.route.role, use);
  else
    models_->acquire(open->head.route.role, use);
}

void Generations::submit(uint64_t id, const GeneratorPtr& generator) {
  const ExchangePtr open = exchange(id);
  if (!open) return finished(id, fail(ErrorCode::unavailable, "the client has gone"));
  const engine::Capabilities can = generator->capabilities();
  const ApiRequest& asked = open->asked;
  if (asked.form && !can.step_control && !can.json_schema) {
    return finished(id, fail(ErrorCode::unsupported,
                             "the model " + can.model +
                                 " can't be held to a form; ask without response_format"));
  }
  const bool chat = asked.endpoint == Endpoint::chat;
  const bool small = open->turn == Exchange::Turn::small;
  open->head.model = can.model;
  if (small) open->small_model = can.model;
  open->splitter = assist::ThinkingSplitter(chat && can.chat_defaults.thinks);
  engine::Request request = asked.request;
  if (chat && !asked.sampling_given) {
    const uint64_t seed = request.sampling.seed;
    request.sampling = can.chat_defaults.sampling;
    request.sampling.seed = seed;
  }
  if (!asked.max_tokens_given) request.max_tokens = can.context > 0 ? can.context : 4096;
  request.cancel = open->cancel;
  request.logprobs = small || asked.logprobs;
  constraints_.apply(request, generator, asked.form);
  engine::OnText on_text;
  if (!small) {
    on_text = [this, id](std::string_view piece) {
      asio::post(io_, [this, id, text = std::string(piece)] {
        if (const ExchangePtr still = exchange(id)) put(*still, still->splitter.append(text));
      });
    };
  }
  at_work_.emplace(id, generator);
  generator->generate(std::move(request), std::move(on_text),
                      [this, id](Result<engine::Generated> generated) {
                        asio::post(io_, [this, id, generated = std::move(generated)]() mutable {
                          finished(id, std::move(generated));
                        });
                      });
}

void Generations::put(Exchange& open, const assist::ThinkingSplitter::Shown& shown) {
  open.started = true;
  if (open.asked.stream && (!shown.text.empty() || !shown.thinking.empty())) {
    open.pieces.push_back(piece_body(open.head, {shown.text, shown.thinking}));
  }
  open.changed();
}

void Generations::finished(uint64_t id, Result<engine::Generated> generated) {
  metrics_.ended();
  --generating_;
  at_work_.erase(id);
  if (generated) metrics_.generated(generated->timings);
  const ExchangePtr open = exchange(id);
  if (!open) return;
  if (open->turn == Exchange::Turn::small) return judge(id, *open, std::move(generated));
  assist::Route& route = open->head.route;
  if (better_than_larger(*open, generated)) {
    answer_with_small(
        *open, generated ? "the larger model has nothing to show"
                         : models_->cascade(route.role)->larger + ": " + generated.error().message);
  } else {
    if (generated) put(*open, open->splitter.finish());
    open->done = std::move(generated);
  }
  if (route.cascade && *open->done) metrics_.cascaded(route.larger);
  open->changed();
}

/// The small model of a cascade has ended.
void Generations::judge(uint64_t id, Exchange& open, Result<engine::Generated> generated) {
  assist::Route& route = open.head.route;
  route.small_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - open.begun)
          .count();
  const bool cancelled = open.cancel->load();
  if (generated) route.confidence = assist::mean_probability(generated->logprobs);
  const assist::Doubt doubt =
      generated ? assist::doubt_about(route.confidence, says_something(*generated), open.threshold)
                : assist::Doubt{true, "the small model failed: " + generated.error().message};
  route.reason = doubt.reason;
  open.first = std::move(generated);
  if (doubt.ask_larger && !cancelled) {
    open.turn = Exchange::Turn::larger;
    route.larger = true;
    return acquire(id);
  }
  answer_with_small(open, "");
  if (!cancelled) metrics_.cascaded(false);
  open.changed();
}

/// Nothing is no better than an answer that is not sure, and neither is an error.
bool Generations::better_than_larger(const Exchange& open,
                                     const Result<engine::Generated>& larger) {
  if (open.turn != Exchange::Turn::larger || !open.first || !*open.first) return false;
  if ((open.started && open.asked.stream) || open.cancel->load()) return false;
  return !larger || (!says_something(*larger) && says_something(**open.first));
}

/// `but`: why the larger model did not answer; empty: it was not needed.
void Generations::answer_with_small(Exchange& open, const std::string& but) {
  assist::Route& route = open.head.route;
  route.larger = false;
  if (!but.empty()) route.reason += "; " + but;
  open.head.model = open.small_model;
  open.splitter = assist::ThinkingSplitter(false);
  Result<engine::Generated> generated = std::move(*open.first);
  if (generated) {
    put(open, open.splitter.append(generated->text));
    put(open, open.splitter.finish());
  }
  open.done = std::move(generated);
}

}  // namespace cambium::lsp::serve
