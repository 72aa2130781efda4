#include "lsp/model_pool.h"

#include <doctest/doctest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <map>
#include <string>

#include "tests/support/lsp/lsp_client.h"
#include "tests/support/scripted_generator.h"

using namespace cambium;
using namespace cambium::test;
using assist::Role;
using GeneratorPtr = std::shared_ptr<engine::Generator>;

namespace {

using namespace std::chrono_literals;

/// Models that load at once and count it; a clock that goes when told.
struct Pool {
  boost::asio::io_context io{1};
  std::chrono::steady_clock::time_point clock{};
  std::map<std::string, int> loads;
  std::map<std::string, std::string> broken;  ///< by name: what its load says
  std::map<std::string, uint64_t> really;     ///< by name: bytes when loaded, if not as thought
  std::shared_ptr<lsp::ModelPool> pool;

  std::map<std::string, std::map<Role, double>> larger_of;  ///< by name

  void make(std::vector<std::tuple<std::string, std::vector<Role>, uint64_t>> models,
            uint64_t memory, std::chrono::minutes idle = 10min) {
    std::vector<lsp::PooledModel> list;
    for (auto& [name, roles, bytes] : models) {
      lsp::PooledModel model;
      model.name = name;
      model.roles = roles;
      model.larger_of = larger_of[name];
      model.bytes = bytes;
      model.load = [this, name = name,
                    bytes = bytes](const std::function<void(double)>&) -> Result<lsp::LoadedModel> {
        ++loads[name];
        if (broken.contains(name)) return fail(ErrorCode::bad_format, broken[name]);
        lsp::LoadedModel loaded;
        auto generator = std::make_shared<ScriptedGenerator>(name);
        generator->can.memory_bytes = really.contains(name) ? really[name] : bytes;
        loaded.capabilities = generator->can;
        loaded.generator = std::move(generator);
        loaded.completion = std::make_shared<FakeCompletion>();
        return loaded;
      };
      list.push_back(std::move(model));
    }
    lsp::PoolOptions options;
    options.memory_bytes = memory;
    options.idle = idle;
    options.now = [this] { return clock; };
    pool = lsp::ModelPool::create(io.get_executor(), std::move(list), std::move(options));
  }
  ~Pool() {
    if (pool) pool->close();
    io.restart();
    io.poll();
  }

  Result<GeneratorPtr> get(Role role, bool larger = false) {
    Result<GeneratorPtr> out = fail(ErrorCode::io, "never called");
    bool done = false;
    const auto use = [&](const Result<GeneratorPtr>& generator) {
      out = generator;
      done = true;
    };
    larger ? pool->acquire_larger(role, use) : pool->acquire(role, use);
    const auto work = boost::asio::make_work_guard(io);
    io.restart();
    while (!done) io.run_one();
    io.poll();
    return out;
  }
  void run() {
    io.restart();
    io.poll();
  }
  bool loaded(Role role) const { return pool->host(role)->state() == lsp::ModelHost::State::ready; }
};

}  // namespace

TEST_CASE("two roles of one model load it once") {
  Pool p;
  p.make({{"shared", {Role::completion, Role::general}, 10}, {"r1", {Role::reasoning}, 10}}, 100);
  CHECK(p.get(Role::completion).has_value());
  CHECK(p.get(Role::general).has_value());
  CHECK(p.loads["shared"] == 1);
  CHECK(p.loads["r1"] == 0);
  CHECK(p.pool->host(Role::completion) == p.pool->host(Role::general));
  CHECK(p.pool->rows().size() == 2);
}

TEST_CASE("one budget: the least recently used makes room") {
  Pool p;
  p.make({{"a", {Role::completion}, 40}, {"b", {Role::reasoning}, 40}, {"c", {Role::general}, 40}},
         100);
  p.get(Role::completion);
  p.clock += 1s;
  p.get(Role::reasoning);
  p.clock += 1s;
  p.get(Role::completion);  // used again: b is now the older
  p.clock += 1s;
  CHECK(p.pool->loaded_bytes() == 80);
  CHECK(p.get(Role::general).has_value());
  CHECK(p.loaded(Role::completion));
  CHECK_FALSE(p.loaded(Role::reasoning));
  CHECK(p.pool->loaded_bytes() == 80);
  p.get(Role::reasoning);
  CHECK(p.loads["b"] == 2);
  CHECK(p.loads["a"] == 1);
}

TEST_CASE("what is at work is not evicted, and what cannot fit says so") {
  Pool p;
  p.make({{"a", {Role::completion}, 60}, {"b", {Role::reasoning}, 60}, {"c", {Role::general}, 600}},
         100);
  auto busy = p.get(Role::completion);
  auto refused = p.get(Role::reasoning);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == ErrorCode::out_of_memory);
  CHECK(refused.error().message.find("no room beside the models at work") != std::string::npos);
  CHECK(p.loaded(Role::completion));
  // The work done, there is room: a refusal is not remembered.
  busy = fail(ErrorCode::io, "");
  p.run();
  CHECK(p.get(Role::reasoning).has_value());
  CHECK_FALSE(p.loaded(Role::completion));

  refused = p.get(Role::general);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message.find("raise \"memoryGB\"") != std::string::npos);
  CHECK(p.loads["c"] == 0);
  CHECK(p.loaded(Role::reasoning));  // nothing was thrown out for it
}

TEST_CASE("a model that takes more than was thought throws out what is idle, and nothing at work") {
  for (const bool at_work : {false, true}) {
    CAPTURE(at_work);
    Pool p;
    p.really["b"] = 80;
    p.make(
        {{"a", {Role::completion}, 40}, {"b", {Role::reasoning}, 40}, {"c", {Role::general}, 40}},
        100);
    auto small = p.get(Role::completion);
    REQUIRE(small.has_value());
    if (!at_work) small = fail(ErrorCode::io, "");
    p.run();
    const auto larger = p.get(Role::reasoning);
    CHECK(larger.has_value());
    CHECK(p.loaded(Role::completion) == at_work);
    CHECK(p.pool->loaded_bytes() == (at_work ? 120 : 80));
    // Both at work, there is no room for a third; what the larger one takes is known by now.
    const auto third = p.get(Role::general);
    REQUIRE_FALSE(third.has_value());
    CHECK(third.error().code == ErrorCode::out_of_memory);
  }
}

TEST_CASE("idle models go, working ones stay, zero means never") {
  Pool p;
  p.make({{"a", {Role::completion}, 1}, {"b", {Role::reasoning}, 1}}, 0, 10min);
  auto busy = p.get(Role::completion);
  p.get(Role::reasoning);
  p.run();  // and is done with it
  p.clock += 9min;
  p.pool->sweep();
  CHECK(p.loaded(Role::reasoning));
  p.clock += 1min;
  p.pool->sweep();
  CHECK_FALSE(p.loaded(Role::reasoning));
  CHECK(p.loaded(Role::completion));
  busy = fail(ErrorCode::io, "");
  p.run();  // its ten minutes begin now
  p.pool->sweep();
  CHECK(p.loaded(Role::completion));
  p.clock += 10min;
  p.pool->sweep();
  CHECK_FALSE(p.loaded(Role::completion));

  Pool forever;
  forever.make({{"a", {Role::completion}, 1}}, 0, 0min);
  forever.get(Role::completion);
  forever.clock += 100h;
  forever.pool->sweep();
  CHECK(forever.loaded(Role::completion));
}

TEST_CASE("a broken model harms no other") {
  Pool p;
  p.make({{"a", {Role::completion}, 1}, {"b", {Role::general}, 1}}, 0);
  p.broken["b"] = "b.gguf: is damaged; pull it again";
  auto refused = p.get(Role::general);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message == "b.gguf: is damaged; pull it again");
  CHECK(p.get(Role::completion).has_value());
  // Not tried again with every request, but once it may have been mended.
  p.broken.clear();
  p.clock += 29s;
  CHECK_FALSE(p.get(Role::general).has_value());
  CHECK(p.loads["b"] == 1);
  p.clock += 1s;
  CHECK(p.get(Role::general).has_value());
  refused = p.get(Role::reasoning);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message.find("models.json") != std::string::npos);
}

TEST_CASE("the larger model of a role has none itself, and is loaded once for all") {
  Pool p;
  p.larger_of["r1"] = {{Role::general, 0.7}};
  p.make({{"coder", {Role::completion}, 10},
          {"v2", {Role::general}, 10},
          {"r1", {Role::reasoning}, 30}},
         100);
  CHECK_FALSE(p.pool->cascade(Role::completion));
  CHECK_FALSE(p.pool->cascade(Role::reasoning));
  const auto cascade = p.pool->cascade(Role::general);
  REQUIRE(cascade);
  CHECK(cascade->larger == "r1");
  CHECK(cascade->threshold == 0.7);
  const auto larger = p.get(Role::general, true);
  REQUIRE(larger.has_value());
  CHECK((*larger)->capabilities().model == "r1");
  p.get(Role::reasoning);
  CHECK(p.loads["r1"] == 1);
  const auto refused = p.get(Role::completion, true);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message == "the role \"completion\" has no larger model");
  CHECK(p.pool->rows().at(2).larger_of == std::vector{Role::general});
}

TEST_CASE("two models that do not fit together throw each other out with no request") {
  Pool p;
  p.larger_of["large"] = {{Role::general, 0.7}};
  p.make({{"small", {Role::general}, 50}, {"large", {}, 60}}, 100);
  CHECK(p.get(Role::general).has_value());
  const auto refused = p.get(Role::general, true);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message.find("large and small need about") == 0);
  CHECK(refused.error().message.find("raise \"memoryGB\" in models.json") != std::string::npos);
  CHECK(p.loaded(Role::general));
  CHECK(p.loads["large"] == 0);
}

TEST_CASE("completions go on with the small model while the larger one is loaded") {
  Pool p;
  p.larger_of["large"] = {{Role::completion, 0.7}};
  p.make({{"small", {Role::completion}, 10}, {"large", {}, 20}}, 100);
  // Its answers are as unsure as can be.
  std::shared_ptr<FakeCompletion> small, large;
  lsp::LoadedModel model;
  small = std::make_shared<FakeCompletion>();
  small->respond = FakeCompletion::inserting("small");
  model.completion = small;
  const auto complete = [&] {
    assist::CompletionOutput out;
    bool done = false;
    p.pool->completions(model)->complete({}, [&](Result<assist::CompletionOutput> output) {
      REQUIRE(output.has_value());
      out = *output;
      done = true;
    });
    p.run();
    REQUIRE(done);
    return out;
  };
  auto first = complete();
  CHECK(first.items.at(0).text == "small");
  CHECK(first.route.reason ==
        "the small model does not say how sure it is; large: it is being loaded");
  const auto rows = p.pool->rows();
  const auto work = boost::asio::make_work_guard(p.io);
  p.io.restart();
  while (rows.at(1).host->state() == lsp::ModelHost::State::loading) p.io.run_one();
  CHECK(p.loads["large"] == 1);
  // Of the larger one an earlier suggestion goes on at once; here it always has one.
  CHECK(complete().items.at(0).text == "completed");
  CHECK(rows.at(1).host->working() == false);

  Pool broken;
  broken.larger_of["large"] = {{Role::completion, 0.7}};
  broken.make({{"small", {Role::completion}, 10}, {"large", {}, 900}}, 100);
  bool told = false;
  broken.pool->completions(model)->complete(
      {}, [&](const Result<assist::CompletionOutput>& output) {
        told = output.has_value() &&
               output->route.reason.find("large: large and small need about") != std::string::npos;
      });
  broken.run();
  CHECK(told);
}
