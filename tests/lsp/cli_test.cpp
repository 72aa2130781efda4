#include "lsp/cli/cli.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "engine/gguf_writer.h"
#include "lsp/cli/bench.h"
#include "syntax/review_sites.h"
#include "tests/support/lsp/cli_folder.h"

using namespace cambium;
using namespace cambium::test;
using nlohmann::json;
namespace fs = std::filesystem;

TEST_CASE("bench attention says what the mask skips") {
  const Folder folder;
  std::string source;
  for (int i = 0; i < 6; ++i) {
    source += "def f" + std::to_string(i) + "(x):\n";
    for (int line = 0; line < 12; ++line) source += "    x = x + " + std::to_string(line) + "\n";
    source += "    return x\n\n";
  }
  const std::string data = folder.write("long.py", source);
  const Ran ran =
      run({"bench", "--only", "attention", "--json", "--threads", "1", "--config",
           folder.at("config.json"), "--model", folder.model(), "--data", data, "--window", "16"});
  CHECK(ran.err == "");
  REQUIRE(ran.code == cli::kOk);
  std::map<std::string, double> figures;
  const json report = json::parse(ran.out);
  for (const json& figure : report["figures"])
    figures[figure["name"]] = figure["value"].get<double>();
  // The file has about 1,300 tokens of a byte each: two of the lengths.
  CHECK(figures.count("512 tokens, off: prefill of a layer") == 1);
  CHECK(figures.count("1024 tokens, off: prefill of a layer") == 1);
  CHECK(figures.count("2048 tokens, off: prefill of a layer") == 0);
  const double prune = figures.at("1024 tokens, prune: blocks of 64 x 64 skipped"),
               own = figures.at("1024 tokens, own: blocks of 64 x 64 skipped");
  CHECK(prune > 5.0);
  CHECK(own >= prune);
  CHECK(own < 100.0);
  CHECK(figures.at("1024 tokens, own: keys a decode step skips") > 50.0);
  CHECK(figures.at("1024 tokens, own: decode step of a layer") > 0.0);
}

TEST_CASE("bench review times the sites and holes of a function, whatever the model thinks") {
  const Folder folder;
  const Ran ran = run({"bench", "--only", "review", "--json", "--threads", "1", "--config",
                       folder.at("config.json"), "--model", folder.model()});
  CHECK(ran.err == "");
  REQUIRE(ran.code == cli::kOk);
  const json figures = json::parse(ran.out)["figures"];
  REQUIRE(figures.size() == 2);
  const std::string usual = figures[0]["name"], most = figures[1]["name"];
  CHECK(usual.find("usual: 7 sites, 3 holes") != std::string::npos);
  CHECK(most.find("the most: 8 sites, 8 holes") != std::string::npos);
  for (const json& figure : figures) {
    CHECK(figure["goal"] == 700);
    CHECK(figure["value"].get<double>() > 0);
  }
}

TEST_CASE(
    "eval --review fits a table on one half of the projects and reports with it on the other") {
  const Folder folder;
  std::vector<std::pair<std::string, std::string>> files;
  for (int project = 0; project < 4; ++project) {
    files.emplace_back(
        "python/p" + std::to_string(project) + "/a.py",
        "def f(first, second):\n    total = first\n    if total < second:\n        return "
        "g(total, second)\n    return total\n");
  }
  const std::string data = folder.write("held.bin", container_of(files)),
                    table = folder.at("table.h"), suspicions = folder.at("suspicions.tsv");
  const std::vector<std::string> arguments = {"eval",         "--review",
                                              "--data",       data,
                                              "--threads",    "1",
                                              "--config",     folder.at("config.json"),
                                              "--model",      folder.model(),
                                              "--calibrate",  table,
                                              "--suspicions", suspicions};
  const Ran text = run(arguments);
  REQUIRE(text.code == cli::kOk);
  CHECK(text.out.find("half to calibrate: ") != std::string::npos);
  CHECK(text.out.find("scored by fits without the project") != std::string::npos);
  CHECK(text.out.find("half to report: ") != std::string::npos);
  CHECK(text.out.find("scored by " + table) != std::string::npos);
  std::stringstream written;
  written << std::ifstream(table).rdbuf();
  // A model of random weights is right too seldom for any kind.
  CHECK(written.str().find("/* name */ {kNever, ") != std::string::npos);
  std::vector<std::string> as_json = arguments;
  as_json.emplace_back("--json");
  const json report = json::parse(run(as_json).out);
  CHECK(report["half"] == "report");
  CHECK(report["calibration"]["half"] == "calibrate");
  CHECK(report["functions"].get<int>() + report["calibration"]["functions"].get<int>() == 8);
  CHECK(report["all"]["reported"] == 0);
  CHECK(report["kinds"].size() == syntax::kSiteKinds);
  CHECK(report["curves"].contains("shuffled"));
  CHECK(report["curves"].contains("length only"));
  std::ifstream lines(suspicions);
  std::string heading;
  std::getline(lines, heading);
  CHECK(heading.starts_with("half\tcase\tlanguage\t"));
}

TEST_CASE("eval --infill generates for a public benchmark's tasks") {
  const Folder folder;
  const std::string tasks = folder.write(
      "tasks.jsonl", R"({"task_id":"t/1","prompt":"x = ","suffix":"\n","canonical_solution":"1"})");
  const std::vector<std::string> arguments{"eval",
                                           "--infill",
                                           tasks,
                                           "--json",
                                           "--config",
                                           folder.at("config.json"),
                                           "--threads",
                                           "1",
                                           "--context",
                                           "256",
                                           "--max-tokens",
                                           "4",
                                           "--prompt-tokens",
                                           "64",
                                           "--details",
                                           folder.at("samples.jsonl"),
                                           folder.model()};
  const Ran ran = run(arguments);
  CHECK(ran.err == "");
  REQUIRE(ran.code == cli::kOk);
  CHECK(json::parse(ran.out)["exact_match"] == 0.0);
  std::ifstream samples(folder.at("samples.jsonl"));
  const json sample = json::parse(samples);
  CHECK(sample["task_id"] == "t/1");
  CHECK(sample["completion"].is_string());
  folder.write("tasks.jsonl", "{}");
  CHECK(run(arguments).code == cli::kBadInput);
}

TEST_CASE("eval prints figures a language, and compares two settings") {
  const Folder folder;
  folder.write("a.py",
               "def f(x):\n    total = x + 1\n    return total\n\n\ndef g(x):\n"
               "    total = x + 2\n    return total\n");
  const std::string model = folder.model();
  const std::vector<std::string> common{"eval",
                                        "--config",
                                        folder.at("config.json"),
                                        "--data",
                                        folder.at("a.py"),
                                        "--cases",
                                        "4",
                                        "--threads",
                                        "1",
                                        "--context",
                                        "256",
                                        "--prompt-tokens",
                                        "64",
                                        "--max-tokens",
                                        "4",
                                        "--loss-tokens",
                                        "20"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = common;
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  };
  const Ran table = with({model});
  CHECK(table.err == "");
  REQUIRE(table.code == cli::kOk);
  CHECK(table.out.find("python") != std::string::npos);
  CHECK(table.out.find("copy") != std::string::npos);

  const Ran ran = with({"--json", "--details", folder.at("details.jsonl"), "--ab", model,
                        model + ",prompt-tokens=32"});
  REQUIRE(ran.code == cli::kOk);
  const json report = json::parse(ran.out);
  REQUIRE(report["models"].size() == 2);
  const json& figures = report["models"][0]["figures"]["python"];
  CHECK(figures["line"]["exact_match"]["mean"] == 0.0);
  CHECK(figures["middle_loss"]["nats_per_token"] > 0.0);
  CHECK(figures["text_loss"]["tokens"] > 0);
  CHECK(report["comparisons"][0]["line_exact_match"]["n"] == figures["line"]["cases"]);
  CHECK(report["baseline"]["figures"]["all"]["line"]["cases"] == figures["line"]["cases"]);
  std::ifstream details(folder.at("details.jsonl"));
  std::string line;
  size_t lines = 0;
  while (std::getline(details, line)) {
    CHECK(json::parse(line)["path"] == "a.py");
    ++lines;
  }
  CHECK(lines == 2 * report["cases"].get<size_t>());

  const Ran bad = with({model + ",window=wide"});
  CHECK(bad.code == cli::kBadInput);
  CHECK(bad.err.find("window=N") != std::string::npos);
  const Ran missing = with({folder.at("none.gguf")});
  CHECK(missing.code == cli::kBadInput);
  CHECK(missing.err.find("none.gguf") != std::string::npos);
}

TEST_CASE("bad input: one clear line and exit code 2") {
  const Folder folder;
  folder.model();
  const std::string good = folder.write("good.py", "def f():\n    return h\xC3\xA9\n");
  struct {
    const char* what;
    std::string target;
    const char* said;
  } cases[] = {
      {"no such file", folder.at("none.py") + ":1:1", "no such file"},
      {"a directory", folder.at("") + ":1:1", "directory"},
      {"binary", folder.write("binary.py", std::string("a\0b", 3)) + ":1:1", "binary"},
      {"invalid UTF-8", folder.write("latin.py", "x\ny = '\xE9'\n") + ":1:1",
       "latin.py:2: is not UTF-8"},
      {"a line too many", good + ":4:1", "only 3 lines"},
      {"a column too many", good + ":2:15", "the last column is 14"},
      {"no line", good, "FILE:LINE:COL"},
      {"line zero", good + ":0:1", "FILE:LINE:COL"},
      {"no number", good + ":1:x", "FILE:LINE:COL"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.what);
    const Ran ran = folder.complete(c.target);
    CHECK(ran.code == cli::kBadInput);
    CHECK(ran.out.empty());
    CHECK(one_line(ran.err));
    CHECK(ran.err.find(c.said) != std::string::npos);
  }
  // Columns count characters, not bytes: é is one.
  CHECK(folder.complete(good + ":2:14").code == cli::kOk);
}

TEST_CASE("model files that cannot be used") {
  const Folder folder;
  const std::string file = folder.write("a.py", "x = 1\n") + ":1:6";
  const std::string sound = folder.model();
  std::ifstream in(sound, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});

  CHECK(folder.complete(file, {"--model", sound}).code == cli::kOk);
  const auto refused = [&](const std::string& model, const std::string& said) {
    for (const Ran& ran :
         {folder.complete(file, {"--model", model}),
          run({"models", "verify", model, "--config", folder.at("config.json")})}) {
      CAPTURE(ran.err);
      CHECK(ran.code == cli::kBadInput);
      CHECK(one_line(ran.err));
      CHECK(ran.err.find(said) != std::string::npos);
    }
  };
  refused(folder.at("none.gguf"), "none.gguf");
  refused(folder.write("short.gguf", bytes.substr(0, bytes.size() / 2)), "short.gguf");
  refused(folder.write("text.gguf", "not a model"), "text.gguf");
  const std::string architecture = engine::model_shape("tiny")->architecture;
  const std::string unknown(architecture.size(), 'x');
  std::string other = bytes;
  const size_t at = other.find(architecture);
  REQUIRE(at != other.npos);
  for (size_t i = at; i != other.npos; i = other.find(architecture, i + 1))
    other.replace(i, unknown.size(), unknown);
  refused(folder.write("other.gguf", other), unknown);
  // A tensor of another shape than the keys say.
  std::string wrong = bytes;
  const std::string key = architecture + ".feed_forward_length";
  const size_t value = wrong.find(key);
  REQUIRE(value != wrong.npos);
  wrong[value + key.size() + 4] = 1;
  wrong[value + key.size() + 5] = 1;
  refused(folder.write("wrong.gguf", wrong), "wrong.gguf");
}

TEST_CASE("a completion as JSON and as text") {
  const Folder folder;
  folder.model();
  const std::string file = folder.write("a.py", "def area(w, h):\n    \n\nprint(area(1, 2))\n");
  const Ran ran = folder.complete(file + ":2:5", {"--json"});
  REQUIRE(ran.code == cli::kOk);
  const json out = json::parse(ran.out);
  CHECK(out["file"] == file);
  CHECK(out["line"] == 2);
  CHECK(out["items"].is_array());
  CHECK(out["scope"] == "function area");
  CHECK(!out["stop"].get<std::string>().empty());
  for (const char* key : {"prompt_tokens", "reused_tokens", "prefill_ms", "decode_ms",
                          "generated_tokens", "ttft_ms"}) {
    CAPTURE(key);
    CHECK(out["timings"][key].is_number());
  }
  CHECK(out["timings"]["prompt_tokens"] > 20);

  const Ran text = folder.complete(file + ":2:5");
  CHECK(text.out.find("def area(w, h):") != std::string::npos);
  CHECK(text.out.find("prompt") != std::string::npos);
  CHECK(text.out.find('\x1b') == std::string::npos);  // not a terminal: no colours
  CHECK(folder.complete(file + ":2:5", {"--color", "always"}).out.find('\x1b') !=
        std::string::npos);

  const Ran two = run({"complete", file + ":2:5", file + ":4:1", "--json", "--model",
                       folder.at("tiny.gguf"), "--config", folder.at("config.json"), "--context",
                       "512", "--prompt-tokens", "128", "--max-tokens", "2", "--threads", "1"});
  REQUIRE(two.code == cli::kOk);
  CHECK(json::parse(two.out).size() == 2);
}

TEST_CASE("odd files work") {
  const Folder folder;
  folder.model();
  CHECK(folder.complete(folder.write("empty.py", "") + ":1:1").code == cli::kOk);
  CHECK(
      folder.complete(folder.write("crlf.py", "def f():\r\n    x = 1\r\n    \r\n") + ":3:5").code ==
      cli::kOk);
  CHECK(
      folder.complete(folder.write("mixed.py", "a = 1\r\nb = 2\nc = 3\rd = \r\n") + ":4:5").code ==
      cli::kOk);
  CHECK(folder.complete(folder.write("notes.unknown", "words and words \n") + ":1:17").code ==
        cli::kOk);
  // Too large for a tree, quickly.
  std::string large;
  while (large.size() < (9u << 20)) large += "value = other(value)\n";
  const Ran ran =
      folder.complete(folder.write("large.py", large + "x = \n") + ":449360:1", {"--json"});
  CHECK(ran.code == cli::kOk);
  if (ran.code == cli::kOk) CHECK(json::parse(ran.out)["scope"] == "file");
}

TEST_CASE("check says what each stage did") {
  const Folder folder;
  const std::string model = folder.model();
  folder.write("config.json", R"({"completion": {"maxTokens": 7}})");
  const std::string file = folder.write("a.py", "def area(w, h):\n    return w\n\n\n)\n");
  const Ran ran = run({"check", file + ":2:12", "--model", model, "--config",
                       folder.at("config.json"), "--context", "512", "--threads", "1"});
  CHECK(ran.code == cli::kOk);
  for (const char* said : {"command line", "default", "language Python", "function area", "error",
                           "prefill", "decode", "first token"}) {
    CAPTURE(std::string(said));
    CAPTURE(ran.out);
    CHECK(ran.out.find(said) != std::string::npos);
  }
  CHECK(ran.out.find("completion.maxTokens           7 ") != std::string::npos);
  CHECK(run({"check", folder.at("none.py")}).code == cli::kBadInput);
}

TEST_CASE("what is in a model file") {
  const Folder folder;
  const std::string model = folder.model();
  const Ran text = run({"models", "info", model});
  CHECK(text.code == cli::kOk);
  for (const char* said : {"cambium", "2 layers", "suffix-prefix-middle", "320 tokens", "F32"}) {
    CAPTURE(said);
    CHECK(text.out.find(said) != std::string::npos);
  }
  const json out = json::parse(run({"models", "info", model, "--json"}).out);
  CHECK(out["layers"] == 2);
  CHECK(out["fim"]["spm"] == true);
  CHECK(out["problem"] == "");
  CHECK(text.out.find("plain loops") != std::string::npos);
  CHECK(out["cpu_kernels"].back() == json({{"name", "plain loops"}, {"runs", true}}));
  CHECK(run({"models", "info", folder.at("none.gguf")}).code == cli::kBadInput);
  CHECK(run({"models", "verify", model, "--config", folder.at("config.json")}).out.find("sound") !=
        std::string::npos);
  const Ran list = run({"models", "list", "--model", model, "--config", folder.at("config.json")});
  CHECK(list.code == cli::kOk);
  CHECK(list.out.find("* " + model) != std::string::npos);
  const std::string none = folder.write("models.json", "{}");
  const auto listed = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"models", "list", "--json", "--models", none, "--config",
                               folder.at("config.json")});
    return json::parse(run(more).out);
  };
  CHECK(listed({})["bundled"] == true);
  const json own = listed({"--model", model});
  CHECK(own["bundled"] == false);
  CHECK(own["roles"].empty());
  CHECK(own["files"][0]["path"] == model);
  CHECK(own["files"][0]["used"] == true);
  CHECK(own["files"][0]["problem"] == "");
}

TEST_CASE("models use gives a role to a model, and keeps what else models.json says") {
  const Folder folder;
  const std::string model = folder.model(), path = folder.at("there/models.json");
  const auto use = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"models", "use", "--models", path});
    return run(more);
  };
  const auto config = [&] { return json::parse(std::ifstream(path)); };
  CHECK(use({"completion", model}).code == cli::kOk);
  CHECK(config() == json{{"roles", {{"completion", {{"file", model}}}}}});
  CHECK(use({"general", "http://127.0.0.1:1/v1", "--name", "v2", "--key-env", "KEY"}).code ==
        cli::kOk);
  json expected{
      {"completion", {{"file", model}}},
      {"general", {{"url", "http://127.0.0.1:1/v1"}, {"model", "v2"}, {"key", {{"env", "KEY"}}}}}};
  CHECK(config()["roles"] == expected);
  const json listed = json::parse(
      run({"models", "list", "--json", "--models", path, "--config", folder.at("config.json")})
          .out);
  CHECK(listed["bundled"] == false);
  CHECK(listed["roles"]["general"]["where"] == "http://127.0.0.1:1/v1");
  CHECK(use({"completion", "none"}).code == cli::kOk);
  expected.erase("completion");
  CHECK(config()["roles"] == expected);

  // What is wrong is said, and the file stays as it is.
  for (const auto& [arguments, said] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"general", folder.at("gone.gguf")}, "no such file"},
           {{"general", "http://127.0.0.1:1/v1"}, "--name"},
           {{"general", model, "--name", "x"}, "of endpoints"},
           {{"general", "http://h/v1", "--name", "x", "--key-env", "A", "--key-file", "b"}, "key"},
           {{"boss", model}, "boss"}}) {
    CAPTURE(said);
    const Ran ran = use(arguments);
    CHECK(ran.code == cli::kBadInput);
    CHECK(one_line(ran.err));
    CHECK(ran.err.find(said) != std::string::npos);
    CHECK(config()["roles"] == expected);
  }
  std::ofstream(path) << "{\"rolls\": {}}";
  CHECK(use({"general", model}).err.find("rolls") != std::string::npos);
  CHECK(config() == json{{"rolls", json::object()}});
  CHECK(std::distance(fs::directory_iterator(fs::path(path).parent_path()), {}) == 1);
}

TEST_CASE("the command line itself") {
  CHECK(run({"--help"}).code == cli::kOk);
  CHECK(run({"--help"}).out.find("complete") != std::string::npos);
  CHECK(run({"--version"}).out.find("cambium ") == 0);
  CHECK(run({}).code == cli::kBadInput);
  CHECK(run({"complete"}).code == cli::kBadInput);
  CHECK(run({"nonsense"}).code == cli::kBadInput);
  CHECK(run({"complete", "a:1:1", "--threads", "-3x"}).code == cli::kBadInput);
  CHECK(run({"complete", "a:1:1", "--config", "/nowhere/config.json"}).code == cli::kBadInput);
  CHECK(one_line(run({"nonsense"}).err));
}

TEST_CASE("a figure knows whether its goal is met") {
  using Better = cli::Figure::Better;
  CHECK(cli::Figure{"s", "n", 4.9, "ms", 5, Better::less}.met());
  CHECK(!cli::Figure{"s", "n", 5.1, "ms", 5, Better::less}.met());
  CHECK(cli::Figure{"s", "n", 0.9, "x", 0.9, Better::more}.met());
  CHECK(!cli::Figure{"s", "n", 0.8, "x", 0.9, Better::more}.met());
  CHECK(cli::Figure{"s", "n", 100, "ms"}.met());
  cli::Samples samples;
  for (int i = 100; i >= 1; --i) samples.add(i);
  CHECK(samples.median() == 50);
  CHECK(samples.at(0.99) == 99);
  CHECK(samples.at(1) == 100);
}
