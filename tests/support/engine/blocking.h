// A Generator's calls made to wait, for tests: callbacks become return values.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <future>
#include <memory>
#include <string>

#include "engine/engine.h"
#include "engine/generator.h"

namespace cambium::test {

inline std::shared_ptr<engine::Generator> load(const std::string& path,
                                               engine::LoadOptions options = {}) {
  options.engine.threads = 1;
  auto generator = engine::load_model(path, options);
  REQUIRE_MESSAGE(generator.has_value(), generator.error().message);
  return *generator;
}

inline Result<engine::Generated> try_generate(engine::Generator& generator, engine::Request request,
                                              engine::OnText on_text = nullptr) {
  std::promise<Result<engine::Generated>> promise;
  generator.generate(std::move(request), std::move(on_text), [&](Result<engine::Generated> result) {
    promise.set_value(std::move(result));
  });
  return promise.get_future().get();
}

inline engine::Generated generate(engine::Generator& generator, engine::Request request,
                                  engine::OnText on_text = nullptr) {
  auto result = try_generate(generator, std::move(request), std::move(on_text));
  REQUIRE_MESSAGE(result.has_value(), result.error().message);
  return std::move(*result);
}

inline Result<engine::Scored> try_score(engine::Generator& generator,
                                        engine::ScoreRequest request) {
  std::promise<Result<engine::Scored>> promise;
  generator.score(std::move(request),
                  [&](Result<engine::Scored> result) { promise.set_value(std::move(result)); });
  return promise.get_future().get();
}

/// A controller made of two functions.
class Controller final : public engine::StepController {
 public:
  using OnToken = std::function<engine::StepDecision(const engine::Step&)>;
  using Required = std::function<std::string_view()>;
  explicit Controller(OnToken on_token, Required required = nullptr)
      : on_token_(std::move(on_token)), required_(std::move(required)) {}
  engine::StepDecision on_token(const engine::Step& step) override { return on_token_(step); }
  std::string_view required_prefix() const override {
    return required_ ? required_() : std::string_view{};
  }

 private:
  OnToken on_token_;
  Required required_;
};

inline std::shared_ptr<Controller> controller(Controller::OnToken on_token,
                                              Controller::Required required = nullptr) {
  return std::make_shared<Controller>(std::move(on_token), std::move(required));
}

}  // namespace cambium::test
