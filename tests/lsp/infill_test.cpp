#include "lsp/eval/infill.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>

#include "engine/gguf_writer.h"

using namespace cambium;

namespace {

constexpr const char* kTasks =
    R"({"task_id": "one", "prompt": "def f(x):\n", "suffix": "    return y\n", "canonical_solution": "    y = x + 1\n"}

{"prompt": "a = ", "suffix": "\n", "canonical_solution": "1"}
)";

}  // namespace

TEST_CASE("tasks are objects a line") {
  const auto tasks = eval::parse_infill_tasks(kTasks);
  REQUIRE(tasks.has_value());
  REQUIRE(tasks->size() == 2);
  CHECK((*tasks)[0].id == "one");
  CHECK((*tasks)[0].solution == "    y = x + 1\n");
  CHECK((*tasks)[1].id == "3");
  for (const char* bad : {"", "{}", "[1]", "{\"prompt\": 1, \"suffix\": \"\"}", "x"}) {
    CAPTURE(std::string(bad));
    CHECK_FALSE(eval::parse_infill_tasks(bad).has_value());
  }
  const auto second = eval::parse_infill_tasks(
      "{\"prompt\":\"\",\"suffix\":\"\",\"canonical_solution\":\"\"}\n{}\n");
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().message.find("line 2") != std::string::npos);
}

TEST_CASE("one line is wanted or several") {
  const eval::InfillTask line{"", "", "", "    y = x + 1\n"};
  const eval::InfillTask lines{"", "", "", "    y = x\n    z = y\n"};
  CHECK(eval::judge_infill(line, "    y = x + 1\n").exact);
  CHECK(eval::judge_infill(line, "    y = x + 1\n    more()\n").exact);
  CHECK_FALSE(eval::judge_infill(line, "    y = x + 2\n").exact);
  CHECK(eval::judge_infill(lines, "    y = x\n    z = y").exact);
  CHECK_FALSE(eval::judge_infill(lines, "    y = x\n").exact);
  CHECK(eval::judge_infill(lines, "").similarity == 0.0);
}

TEST_CASE("a model writes into every hole, the same on several threads") {
  const std::string path = (std::filesystem::temp_directory_path() /
                            ("cambium-infill-test-" + std::to_string(getpid()) + ".gguf"))
                               .string();
  engine::RandomModelOptions options;
  options.shape = *engine::model_shape("tiny");
  REQUIRE(engine::write_random_model(path, options).has_value());
  const auto tasks = eval::parse_infill_tasks(kTasks);
  REQUIRE(tasks.has_value());
  eval::ModelUnderTest model;
  model.path = path;
  model.load.engine.context = 256;
  model.settings.max_tokens = 6;
  const auto one = eval::infill(model, *tasks, 1, nullptr);
  const auto two = eval::infill(model, *tasks, 2, nullptr);
  std::filesystem::remove(path);
  REQUIRE(one.has_value());
  REQUIRE(two.has_value());
  REQUIRE(one->size() == 2);
  for (size_t i = 0; i < 2; ++i) CHECK((*one)[i].completion == (*two)[i].completion);
  const auto missing = eval::infill(model, *tasks, 1, nullptr);
  CHECK_FALSE(missing.has_value());
}
