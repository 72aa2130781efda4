#include "lsp/assist/completer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "tests/support/cursor.h"
#include "tests/support/fake_generator.h"

using namespace cambium;
using assist::Completer;
using assist::CompletionInput;
using assist::CompletionOutput;
using test::FakeGenerator;

namespace {

struct Bench {
  explicit Bench(FakeGenerator::Script script, bool spm = true)
      : model(std::make_shared<FakeGenerator>(std::move(script), spm)), completer(model) {}
  explicit Bench(std::string answer, bool spm = true)
      : Bench([answer](const std::string&) { return answer; }, spm) {}

  static CompletionInput input(std::string_view source, std::string_view path = "a.py") {
    const test::Marked at = test::marked(source);
    CompletionInput in;
    in.text = std::make_shared<const std::string>(at.text);
    in.cursor = at.cursor;
    in.path = path;
    return in;
  }
  Result<CompletionOutput> run(CompletionInput in) {
    std::promise<Result<CompletionOutput>> promise;
    completer.complete(std::move(in),
                       [&](Result<CompletionOutput> out) { promise.set_value(std::move(out)); });
    return promise.get_future().get();
  }
  CompletionOutput complete(std::string_view source, std::string_view path = "a.py") {
    auto out = run(input(source, path));
    REQUIRE(out.has_value());
    return *out;
  }

  std::shared_ptr<FakeGenerator> model;
  Completer completer;
};

std::string text_of(const CompletionOutput& out) {
  return out.items.empty() ? "(nothing)" : out.items.front().text;
}

}  // namespace

TEST_CASE("from a cursor to a completion") {
  Bench bench("b = a + 1\n    return b\n\n\ndef g():\n    pass\n");
  const CompletionOutput out = bench.complete("def f(a):\n    <|>\n");
  CHECK(text_of(out) == "b = a + 1\n    return b");
  CHECK(out.stop == "end_of_node");
  CHECK(out.dropped.empty());
  CHECK(out.items.front().replace_begin == 14);
  CHECK(out.items.front().replace_end == 14);
  CHECK(out.timings.prompt_tokens > 0);
  CHECK(out.timings.generated_tokens > 0);
  const auto& request = bench.model->requests.back();
  CHECK(bench.model->as_text(request.prompt) ==
        "<BOS><FILE>a.py\n<PRE><SUF>\n<MID>def f(a):\n    ");
  CHECK(request.structure.size() == request.prompt.size());
  CHECK(request.text_end == static_cast<int32_t>(request.prompt.size()));
  CHECK(request.copying == 0);
  CHECK(request.slot_key != 0);
}

TEST_CASE("of one line less is asked for than of a block") {
  Bench bench("1");
  std::vector<int32_t> asked;
  bench.model->before_generate = [&](const engine::Request& request) {
    asked.push_back(request.max_tokens);
  };
  bench.complete("x = f(<|>)\n");
  bench.complete("def f(a):\n    <|>\n");
  CHECK(asked == std::vector<int32_t>{48, assist::CompletionSettings().max_tokens});
}

TEST_CASE("tokens of the middle are labelled as they are written") {
  Bench bench("if a:\n        b = 1\n    c = 2\n");
  bench.complete("def f(a):\n    <|>\n");
  const auto& labels = bench.model->labels;
  REQUIRE(labels.size() > 8);
  const int32_t body = labels.front().scope;
  CHECK(labels.front().scope == body);
  CHECK(labels.back().scope == body);  // back from the block
  bool deeper = false;
  for (const auto& label : labels) {
    CHECK(label.place == labels.front().place);
    if (label.scope == body) continue;
    deeper = true;
    CHECK(label.scope > body);
    CHECK(label.last <= labels.front().last);
  }
  CHECK(deeper);
}

TEST_CASE("the popup's selection is extended, in its range") {
  Bench bench(FakeGenerator::Script([](const std::string& prompt) {
    return prompt.ends_with("os.") ? ".join(a)" : "wrong";  // "path" is required before it
  }));
  CompletionInput in = Bench::input("import os\nx = os.pa<|>\n");
  in.has_selected = true;
  in.selected_text = "path";
  in.selected_begin = in.cursor - 2;
  const auto out = bench.run(in);
  REQUIRE(out.has_value());
  CHECK(text_of(*out) == "path.join(a)");
  CHECK(out->items.front().replace_begin == in.cursor - 2);
  CHECK(out->items.front().replace_end == in.cursor);
}

TEST_CASE("how sure the model was, and which one it is") {
  Bench bench("return a + b\n");
  const CompletionOutput out = bench.complete("def f(a, b):\n    <|>\n");
  CHECK(out.confidence == doctest::Approx(std::exp(-0.1)));
  CHECK(out.route.model == "fake");
  CHECK(out.route.reason == "completion wants the lowest latency");
  CHECK_FALSE(out.route.cascade);
}

TEST_CASE("only what is left of an earlier suggestion, if it is asked so") {
  Bench bench("return a + b\n");
  CompletionInput along = Bench::input("def f(a, b):\n    ret<|>\n");
  along.cached_only = true;
  auto none = bench.run(along);
  REQUIRE(none.has_value());
  CHECK(none->items.empty());
  CHECK(bench.model->requests.empty());
  bench.complete("def f(a, b):\n    <|>\n");
  CHECK(text_of(*bench.run(along)) == "urn a + b");
  CHECK(bench.model->requests.size() == 1);
}

TEST_CASE("typing along a suggestion does not ask the model") {
  Bench bench("return a + b\n");
  CHECK(text_of(bench.complete("def f(a, b):\n    <|>\n")) == "return a + b");
  const CompletionOutput typed = bench.complete("def f(a, b):\n    ret<|>\n");
  CHECK(text_of(typed) == "urn a + b");
  CHECK(typed.stop == "cached");
  CHECK(typed.confidence == doctest::Approx(std::exp(-0.1)));
  CHECK(text_of(bench.complete("def f(a, b):\n    <|>\n")) == "return a + b");  // taken back
  CHECK(bench.model->requests.size() == 1);
  bench.complete("def f(a, b):\n    rex<|>\n");              // another way
  bench.complete("def f(a, b):\n    return a + b<|>\n");     // typed to its end
  bench.complete("def f(a, b):\n    ret<|>\n# more\n");      // another text below
  bench.complete("def f(a, c):\n    ret<|>\n");              // above
  bench.complete("def f(a, b):\n    ret<|>\n", "other.py");  // another document
  CHECK(bench.model->requests.size() == 6);
}

TEST_CASE("typing evaluates a handful of tokens") {
  Bench bench(std::string{});
  std::string head = "def f(value):\n";
  for (int i = 0; i < 100; ++i) head += "    value = other(value, 1)\n";
  std::string typed;
  int worst = 0;
  for (const char c : std::string("    result = value + something(value)")) {
    typed += c;
    const CompletionOutput out = bench.complete(head + typed + "<|>\n\nprint(f(1))\n");
    if (typed.size() > 1) {
      worst = std::max(worst, out.timings.prompt_tokens - out.timings.reused_tokens);
    }
  }
  CHECK(worst <= 4);
}

TEST_CASE("nothing worth showing comes with its reason") {
  CHECK(Bench(std::string{}).complete("x = <|>\n").dropped.find("nothing") != std::string::npos);
  const CompletionOutput out = Bench("y = 1").complete("x = 1\n<|>\ny = 1\n");
  CHECK(out.items.empty());
  CHECK(!out.dropped.empty());
}

TEST_CASE("a word that was begun is chosen anew as whole tokens, in both orders") {
  for (const bool spm : {false, true}) {
    Bench bench("th.join(a)", spm);  // the fake puts what is required before it
    const CompletionOutput out = bench.complete("import os\nx = os.pa<|>\n");
    CHECK(text_of(out) == "th.join(a)");
    const std::string prompt = bench.model->as_text(bench.model->requests.back().prompt);
    CHECK(prompt.find(spm ? "x = os." : "os.<SUF>") != std::string::npos);
    CHECK(prompt.find("os.pa") == std::string::npos);
  }
}

TEST_CASE("of the model's line and the one that stands elsewhere the likelier is shown") {
  constexpr std::string_view kSource = "call(alpha, 1)\nx = 2\ncall(<|>\n";
  const auto answer = [&](float own, float copied, auto&& change) {
    Bench bench("always_new, beta, gamma, delta)");
    bench.model->likelihood = [=](const std::string& text) {
      CHECK(text.ends_with("<EOS>"));
      return text == "alpha, 1)<EOS>" ? copied : own;
    };
    CompletionInput in = Bench::input(kSource);
    change(bench, in);
    auto out = bench.run(in);
    REQUIRE(out.has_value());
    return std::pair(*out, bench.model->scored.size());
  };
  const auto nothing = [](Bench&, CompletionInput&) {};
  const auto copied = answer(-5, -1, nothing).first;
  CHECK(text_of(copied) == "alpha, 1)");
  CHECK(copied.stop == "copied_line");
  CHECK(copied.confidence > 0.5);
  CHECK(copied.compare_ms > 0);
  const auto own = answer(-2, -1, nothing).first;  // a match this short must be much the likelier
  CHECK(text_of(own) == "always_new, beta, gamma, delta)");
  CHECK(own.stop == "end_of_text");

  const auto off =
      answer(-5, -1, [](Bench&, CompletionInput& in) { in.settings.copied_lines = false; });
  CHECK(text_of(off.first) == "always_new, beta, gamma, delta)");
  CHECK(off.second == 0);
  CHECK(off.first.compare_ms == 0);
  CHECK(answer(-5, -1, [](Bench&, CompletionInput& in) { in.settings.temperature = 1; }).second ==
        0);
  CHECK(answer(-5, -1, [](Bench& b, CompletionInput&) { b.model->likelihood = nullptr; }).second ==
        0);
}

TEST_CASE("a line that would leave a syntax error is not copied, however likely") {
  for (const bool broken : {true, false}) {
    Bench bench("zeta, eta, theta");
    bench.model->likelihood = [](const std::string& text) {
      return text.starts_with("1") ? -0.1f : -9.0f;
    };
    const CompletionOutput out = bench.complete(
        std::string(broken ? "# print(1 2 3 +)" : "# print(1, 2, 3)") + "\nprint(<|>)\n");
    CHECK(bench.model->scored.size() == 1);
    CHECK(text_of(out) == (broken ? "zeta, eta, theta" : "1, 2, 3"));
  }
}

TEST_CASE("what is compared stands where the completion does, with its labels") {
  Bench bench("something_else_entirely(1, 2)");
  bench.model->likelihood = [](const std::string&) { return -1.0f; };
  // The begun word is chosen anew: both texts begin with it.
  bench.complete("    call(alpha, 1)\n    x = 2\n    call(al<|>\n");
  REQUIRE(bench.model->scored.size() == 1);
  const engine::ScoreRequest& scored = bench.model->scored.front();
  const engine::Request& asked = bench.model->requests.front();
  CHECK(scored.tokens == asked.prompt);
  CHECK(scored.structure.scope == asked.structure.scope);
  CHECK(scored.first == static_cast<int32_t>(asked.prompt.size()));
  CHECK(scored.slot_key == asked.slot_key);
  REQUIRE(scored.branches.size() == 2);
  for (const engine::ScoreBranch& branch : scored.branches) {
    CHECK(branch.at == scored.first);
    CHECK(branch.structure.size() == branch.tokens.size());
    CHECK(bench.model->as_text(branch.tokens).starts_with("al"));
  }
}

TEST_CASE("no comparison without need") {
  const auto asks = [](std::string answer, std::string_view source,
                       std::string_view path = "a.py") {
    Bench bench(std::move(answer));
    bench.model->likelihood = [](const std::string&) { return -1.0f; };
    bench.complete(source, path);
    return bench.model->scored.size();
  };
  constexpr std::string_view kSource = "call(alpha, 1)\nx = 2\ncall(<|>\n";
  CHECK(asks("something_else_entirely)", kSource) == 1);
  CHECK(asks("alpha, 1)", kSource) == 0);                             // the same
  CHECK(asks("b", kSource) == 0);                                     // sure of it
  CHECK(asks("a,\n     b, c, d, e)", kSource) == 0);                  // more than a line
  CHECK(asks("", kSource) == 0);                                      // nothing to be written
  CHECK(asks("something_else_entirely)", "x = 2\ncall(<|>\n") == 0);  // nothing elsewhere
  // A body, whose first line stands elsewhere.
  CHECK(asks("return omega", "def f():\n    return alpha\n\n\ndef g():\n    <|>\n") == 0);
}

TEST_CASE("a comparison that fails or is cancelled") {
  constexpr std::string_view kSource = "call(alpha, 1)\nx = 2\ncall(<|>\n";
  Bench failing("something_else_entirely)");
  failing.model->likelihood = [](const std::string&) { return -1.0f; };
  failing.model->before_score = [&](const engine::ScoreRequest&) {
    failing.model->likelihood = nullptr;
  };
  CHECK(text_of(failing.complete(kSource)) == "something_else_entirely)");

  Bench bench("something_else_entirely)");
  bench.model->likelihood = [](const std::string&) { return -1.0f; };
  bench.model->before_score = [](const engine::ScoreRequest& request) {
    request.cancel->store(true);
  };
  CompletionInput in = Bench::input(kSource);
  in.cancel = engine::make_cancel_flag();
  const auto out = bench.run(in);
  REQUIRE(!out);
  CHECK(out.error().code == ErrorCode::cancelled);
}

TEST_CASE("errors and cancels are answered once") {
  Bench bench("a");
  CompletionInput in = Bench::input("x = <|>\n");
  in.cancel = engine::make_cancel_flag();
  in.cancel->store(true);
  auto out = bench.run(in);
  REQUIRE(!out);
  CHECK(out.error().code == ErrorCode::cancelled);

  in = Bench::input("x = <|>\n");
  in.cursor = 100;
  out = bench.run(in);
  REQUIRE(!out);
  CHECK(out.error().code == ErrorCode::invalid_argument);

  in = Bench::input("x = <|>\n");
  in.cancel = engine::make_cancel_flag();
  bench.model->before_generate = [](const engine::Request& request) {
    request.cancel->store(true);
  };
  out = bench.run(in);
  REQUIRE(!out);
  CHECK(out.error().code == ErrorCode::cancelled);

  Bench no_fim("a");
  no_fim.model->format_.fim.reset();
  out = no_fim.run(Bench::input("x = <|>\n"));
  REQUIRE(!out);
  CHECK(out.error().code == ErrorCode::unsupported);
  CHECK(out.error().message.find("use one that has them, for example deepseek-coder") !=
        std::string::npos);

  Bench small("a");
  small.model->context = 64;
  out = small.run(Bench::input("x = <|>\n"));
  REQUIRE(!out);
  CHECK(out.error().code == ErrorCode::invalid_argument);
}

TEST_CASE("everything asked is answered when the completer goes") {
  int answers = 0;
  {
    Bench bench("a + b");
    for (int i = 0; i < 20; ++i) {
      bench.completer.complete(
          Bench::input("x" + std::string(static_cast<size_t>(i), 'x') + " = <|>\n"),
          [&](Result<CompletionOutput>) { ++answers; });
    }
  }
  CHECK(answers == 20);

  // The last reference dropped by a callback, on the worker's own thread.
  auto model = std::make_shared<FakeGenerator>([](const std::string&) { return std::string("a"); });
  std::promise<void> done;
  auto completer = std::make_shared<Completer>(model);
  Completer* raw = completer.get();
  raw->complete(Bench::input("x = <|>\n"),
                [held = std::move(completer), &done](Result<CompletionOutput>) mutable {
                  held.reset();
                  done.set_value();
                });
  done.get_future().get();
}

TEST_CASE("files without a grammar, without a name, and empty ones") {
  Bench bench("word");
  CHECK(text_of(bench.complete("some text <|>\n", "notes.unknown")) == "word");
  CHECK(text_of(bench.complete("some text <|>\n", "")) == "word");
  CHECK(text_of(bench.complete("<|>", "a.py")) == "word");
  CHECK(bench.complete("<|>", "b.py").scope == "file");
}
