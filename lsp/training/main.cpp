// cambium-prepare: turns containers of source files into token shards for engine/training/train.py.
//
//   cambium-prepare --vocabulary FILE.gguf --out DIR --name NAME [--passes 2] [--by-language]
//   CONTAINER…
//
// A shard is a folder of raw little-endian arrays (engine/training/shards.py): tokens.u16, loss.u8,
// docs.u64, with --labels also labels.i32, and meta.json, which is written last. The same input and
// seed give the same bytes.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/gguf.h"
#include "lsp/training/examples.h"

namespace {

namespace fs = std::filesystem;
using namespace cambium;  // NOLINT: a main file
using training::Examples;
using training::SourceFile;

struct Options {
  std::string vocabulary, out, name = "shard";
  std::vector<std::string> containers;
  int passes = 1;
  unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  bool by_language = false;
  double max_mb = 0;
  training::ExampleOptions examples;
};

/// Examples of all files, in the order of the files, made by several threads.
Examples make_all(const training::ExampleMaker& maker, const std::vector<SourceFile>& files,
                  unsigned threads) {
  Examples all;
  constexpr size_t kBatch = 8192;
  std::vector<Examples> made(std::min(kBatch, files.size()));
  for (size_t first = 0; first < files.size(); first += kBatch) {
    const size_t n = std::min(kBatch, files.size() - first);
    std::atomic<size_t> next{0};
    std::vector<std::jthread> workers;
    for (unsigned t = 0; t < threads; ++t)
      workers.emplace_back([&] {
        for (size_t i; (i = next.fetch_add(1)) < n;) {
          made[i] = {};
          maker.make(files[first + i], made[i]);
        }
      });
    workers.clear();  // joins
    for (size_t i = 0; i < n; ++i) all.append(made[i]);
  }
  return all;
}

template <class T>
bool write_array(const fs::path& path, const std::vector<T>& data) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(data.data()),
            static_cast<std::streamsize>(data.size() * sizeof(T)));
  return static_cast<bool>(out.flush());
}

Result<void> write_shard(const fs::path& folder, const Examples& examples,
                         const std::map<std::string, uint64_t>& languages) {
  std::error_code error;
  fs::create_directories(folder, error);
  std::vector<uint64_t> docs{0};
  for (const uint32_t size : examples.sizes) docs.push_back(docs.back() + size);
  static constexpr const char* kKinds[] = {"rest_of_line", "statement", "body",   "siblings",
                                           "expression",   "random",    "nothing"};
  nlohmann::json holes;
  for (int i = 0; i < training::kHoleKinds; ++i)
    holes[kKinds[i]] = examples.kinds[static_cast<size_t>(i)];
  const nlohmann::json meta{{"docs", examples.sizes.size()},
                            {"tokens", examples.tokens.size()},
                            {"bytes", examples.bytes},
                            {"middles", examples.middles},
                            {"middle_tokens", examples.middle_tokens},
                            {"holes", holes},
                            {"language_bytes", languages}};
  const std::vector<uint16_t> tokens(examples.tokens.begin(), examples.tokens.end());
  bool ok = !error && write_array(folder / "tokens.u16", tokens) &&
            write_array(folder / "loss.u8", examples.loss) &&
            write_array(folder / "docs.u64", docs);
  // A shard is labelled if the file is there; none may be left of an earlier run.
  if (examples.labels.empty())
    fs::remove(folder / "labels.i32", error);
  else
    ok = ok && write_array(folder / "labels.i32", examples.labels);
  if (ok) {
    // The reader takes a folder with meta.json for finished: it appears whole or not at all.
    std::ofstream(folder / "meta.json.part") << meta.dump(1) << '\n';
    fs::rename(folder / "meta.json.part", folder / "meta.json", error);
    ok = !error;
  }
  if (!ok) return fail(ErrorCode::io, "cannot write the shard " + folder.string());
  return {};
}

Result<void> run(const Options& o) {
  auto gguf = engine::GgufFile::open(o.vocabulary);
  if (!gguf) return tl::unexpected(gguf.error());
  auto tokenizer = engine::Tokenizer::from_gguf(**gguf);
  if (!tokenizer) return tl::unexpected(tokenizer.error());
  if ((*tokenizer)->size() > 65536)
    return fail(ErrorCode::invalid_argument, o.vocabulary + ": the vocabulary has " +
                                                 std::to_string((*tokenizer)->size()) +
                                                 " entries; prepared data holds 16-bit ids");
  auto format = engine::PromptFormat::from_gguf(**gguf, **tokenizer);
  if (!format) return tl::unexpected(format.error());

  const auto begin = std::chrono::steady_clock::now();
  for (const std::string& path : o.containers) {
    auto bytes = training::read_bytes(path);
    if (!bytes) return tl::unexpected(bytes.error());
    auto read = training::read_container(*bytes);
    if (!read) return tl::unexpected(read.error());
    std::map<std::string, std::vector<SourceFile>> groups;
    for (const SourceFile& file : *read)
      groups[o.by_language ? std::string(file.language()) : std::string()].push_back(file);
    for (auto& [language, files] : groups) {
      if (o.max_mb > 0) {
        double size = 0;
        std::erase_if(files, [&](const SourceFile& f) {
          return (size += static_cast<double>(f.text.size())) > o.max_mb * 1e6;
        });
      }
      std::map<std::string, uint64_t> languages;
      for (const SourceFile& f : files) languages[std::string(f.language())] += f.text.size();
      for (int pass = 0; pass < o.passes; ++pass) {
        const std::string name = o.by_language ? language : o.name + "-" + std::to_string(pass);
        const fs::path folder = fs::path(o.out) / name;
        // A training run has the arrays of a finished shard mapped: it would read of both.
        if (fs::exists(folder / "meta.json"))
          return fail(
              ErrorCode::invalid_argument,
              folder.string() + " holds a shard already; give another --name, or remove it");
        training::ExampleOptions options = o.examples;
        options.seed += 1000003ull * static_cast<uint64_t>(pass);
        auto maker = training::ExampleMaker::create(*tokenizer, *format, options);
        if (!maker) return tl::unexpected(maker.error());
        const Examples examples = make_all(*maker, files, o.threads);
        if (auto done = write_shard(folder, examples, languages); !done) return done;
        const double seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        std::printf(
            "%s: %zu files, %.1f MB, %zu examples, %.1f M tokens (%.2f bytes a token), %llu "
            "middles, %.1f s\n",
            name.c_str(), files.size(), static_cast<double>(examples.bytes) / 1e6,
            examples.sizes.size(), static_cast<double>(examples.tokens.size()) / 1e6,
            static_cast<double>(examples.bytes) /
                static_cast<double>(std::max<size_t>(1, examples.tokens.size())),
            static_cast<unsigned long long>(examples.middles), seconds);
        std::fflush(stdout);
      }
    }
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Turns containers of source files into token shards");
  app.add_option("--vocabulary", o.vocabulary, "GGUF file with the tokenizer")->required();
  app.add_option("--out", o.out, "folder of shards")->required();
  app.add_option("--name", o.name, "of the shard");
  app.add_option("--passes", o.passes, "shards made of the same text with other holes");
  app.add_option("--threads", o.threads);
  app.add_option("--seed", o.examples.seed);
  app.add_option("--fim", o.examples.fill_in_middle, "share of fill-in-the-middle examples");
  app.add_option("--max-tokens", o.examples.max_tokens, "of an example")
      ->check(CLI::Range(64, 32768));
  app.add_option("--max-mb", o.max_mb, "of text a group; 0: all");
  app.add_flag("--labels", o.examples.labels,
               "also the scopes of every token, for a structured model");
  app.add_flag("--by-language", o.by_language, "one shard a language, named after it");
  app.add_option("containers", o.containers, "files, or - for standard input")->required();
  CLI11_PARSE(app, argc, argv);
  if (const auto done = run(o); !done) {
    std::fprintf(stderr, "cambium-prepare: %s\n", done.error().message.c_str());
    return 2;
  }
  return 0;
}
