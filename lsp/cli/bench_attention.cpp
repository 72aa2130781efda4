// Attention alone, against the length of the prompt and with the parent mask on and off: what the
// kernels really save by skipping blocks.
#include <algorithm>
#include <random>

#include "engine/ops.h"
#include "engine/prompt_format.h"
#include "engine/tokenizer.h"
#include "lsp/assist/prompt.h"
#include "lsp/assist/token_structure.h"
#include "lsp/cli/bench.h"
#include "syntax/bench.h"
#include "syntax/languages.h"
#include "syntax/middle_labeler.h"

namespace cambium::cli {
namespace {

using engine::PruneRule;
using engine::StructureMode;
using engine::TokenStructure;

constexpr int32_t kChunk = 256;  ///< tokens a pass of a prefill, as in serving
constexpr int32_t kHeads = 8, kKvHeads = 4, kHeadDim = 64;
constexpr int32_t kGrain = 64;  ///< blocks in which shares are counted, whatever the kernel's are

struct Mask {
  const char* name;
  bool on, ancestors;  ///< ancestors' keys are always visible
};
constexpr Mask kMasks[] = {{"off", false, true}, {"prune", true, true}, {"own", true, false}};

/// The labels under which `prune` sees what the mask does: without ancestors, a scope holds no other.
TokenStructure under(const Mask& mask, TokenStructure cells) {
  if (!mask.ancestors) cells.last = cells.scope;
  return cells;
}

/// Labels of a prompt of `tokens` tokens around the middle of a file; fewer if the file is short.
TokenStructure labels_of(const engine::Generator& model, const BenchText& file, int32_t tokens) {
  const engine::Tokenizer& tokenizer = *model.tokenizer();
  const std::string_view text = file.text;
  const size_t middle = text.find('\n', text.size() * 2 / 3);
  const size_t cursor = middle == text.npos ? text.size() : middle;
  const syntax::MiddleLabeler labeler(syntax::language_of_file(file.path, text.substr(0, 256)),
                                      text.substr(0, cursor), text.substr(cursor));
  assist::TokenSpan prefix = assist::encode_span(tokenizer, text, 0, cursor);
  assist::TokenSpan suffix = assist::encode_span(tokenizer, text, cursor, text.size());
  const auto spm = model.prompt_format()->fim->spm;
  const auto layout =
      assist::file_layout(*model.prompt_format(), tokenizer,
                          spm ? engine::FimOrder::spm : engine::FimOrder::psm, file.path);
  if (!layout) return {};
  const auto room = static_cast<size_t>(tokens) - std::min(layout->size(), size_t{32});
  const size_t after = std::min(suffix.size(), room / 3);
  const size_t before = std::min(prefix.size(), room - after);
  const auto drop = static_cast<std::ptrdiff_t>(prefix.size() - before);
  prefix.ids.erase(prefix.ids.begin(), prefix.ids.begin() + drop);
  prefix.bytes.erase(prefix.bytes.begin(), prefix.bytes.begin() + drop);
  suffix.ids.resize(after);
  suffix.bytes.resize(after);
  syntax::MiddleLabeler at_cursor = labeler;
  return assist::align(*layout, prefix, suffix, labeler.map(), at_cursor.feed({})).structure;
}

/// A layer's attention on random keys.
struct Bench {
  std::unique_ptr<engine::Backend> backend;
  std::unique_ptr<engine::KvStore> kv;
  std::vector<float> q, out;

  double pass_ms(const TokenStructure& cells, int32_t first, int32_t n, const Mask& mask,
                 PruneRule rule, double* mask_ms) {
    engine::AttentionArgs args;
    args.q = q.data();
    args.out = out.data();
    args.kv = kv.get();
    args.first_cell = first;
    args.n_tokens = n;
    args.n_head = kHeads;
    args.scale = 0.125f;
    engine::VisibleBlocks visible;
    if (mask.on) {
      const Stopwatch watch;
      visible = engine::visible_blocks(cells, first, n, rule, backend->query_tile(n),
                                       backend->key_block());
      *mask_ms += watch.ms();
      args.mode = StructureMode::prune;
      args.cells = &cells;
      args.prune = rule;
      args.visible = &visible;
    }
    const Stopwatch watch;
    backend->attention(args);
    return watch.ms();
  }
};

/// Of the causal blocks of kGrain x kGrain, those in which nothing is visible.
double blocks_skipped(const TokenStructure& cells, PruneRule rule) {
  const auto n = static_cast<int32_t>(cells.size());
  const auto visible = engine::visible_blocks(cells, 0, n, rule, kGrain, kGrain);
  const int64_t tiles = (n + kGrain - 1) / kGrain, all = tiles * (tiles + 1) / 2;
  return 1 - static_cast<double>(visible.blocks.size()) / static_cast<double>(all);
}

/// Of the keys a decode step at the end could read, those that are not visible.
double keys_skipped(const TokenStructure& cells, PruneRule rule) {
  const size_t query = cells.size() - 1;
  size_t seen = 0;
  for (size_t k = 0; k <= query; ++k)
    seen += engine::visible(cells.at(query), cells.at(k), static_cast<int32_t>(k), rule) ? 1 : 0;
  return 1 - static_cast<double>(seen) / static_cast<double>(query + 1);
}

}  // namespace

Result<void> bench_attention(const engine::Generator& model, int threads, PruneRule rule,
                             const std::vector<BenchText>& files, Figures& figures) {
  std::vector<BenchText> texts = files;
  if (texts.empty()) texts.push_back({"sample.cpp", syntax::generated_source(12000)});
  for (const int32_t length : {512, 1024, 2048, 4096, 8192, 16384}) {
    // Files long enough, a few of them.
    std::vector<TokenStructure> prompts;
    for (const BenchText& file : texts) {
      TokenStructure cells = labels_of(model, file, length);
      if (static_cast<int32_t>(cells.size()) >= length - 32) prompts.push_back(std::move(cells));
      if (prompts.size() == 4) break;
    }
    if (prompts.empty()) continue;
    Bench bench;
    bench.backend = engine::make_cpu_backend(threads);
    auto kv =
        bench.backend->create_kv({1, kKvHeads, kHeadDim, kHeadDim, length + 1, engine::DType::f16});
    if (!kv) return tl::unexpected(kv.error());
    bench.kv = std::move(*kv);
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    const auto fill = [&](size_t n) {
      std::vector<float> values(n);
      for (float& v : values) v = normal(random);
      return values;
    };
    const std::vector<float> keys = fill(size_t{kKvHeads} * kHeadDim * kChunk);
    for (int32_t cell = 0; cell < length; cell += kChunk)
      bench.backend->kv_write(*bench.kv, 0, cell, std::min(kChunk, length - cell), keys.data(),
                              keys.data());
    bench.q = fill(size_t{kHeads} * kHeadDim * kChunk);
    bench.out.resize(bench.q.size());

    for (const Mask& mask : kMasks) {
      Samples prefill, decode, lists;
      double blocks = 0, read = 0;
      for (const TokenStructure& prompt : prompts) {
        const TokenStructure cells = under(mask, prompt);
        const auto n = static_cast<int32_t>(cells.size());
        for (int repeat = 0; repeat < 2; ++repeat) {
          double ms = 0, mask_ms = 0, ignored = 0;
          for (int32_t first = 0; first < n; first += kChunk)
            ms += bench.pass_ms(cells, first, std::min(kChunk, n - first), mask, rule, &mask_ms);
          prefill.add(ms);
          lists.add(mask_ms);
          for (int step = 0; step < 10; ++step)
            decode.add(bench.pass_ms(cells, n - 1, 1, mask, rule, &ignored));
        }
        blocks += mask.on ? blocks_skipped(cells, rule) / static_cast<double>(prompts.size()) : 0;
        read += mask.on ? keys_skipped(cells, rule) / static_cast<double>(prompts.size()) : 0;
      }
      const auto add = [&](const std::string& what, double value, const char* unit) {
        figures.push_back({"attention",
                           std::to_string(length) + " tokens, " + mask.name + ": " + what, value,
                           unit});
      };
      add("prefill of a layer", prefill.median(), "ms");
      add("decode step of a layer", decode.median(), "ms");
      if (!mask.on) continue;
      add("finding the blocks, once a pass", lists.median(), "ms");
      add("blocks of 64 x 64 skipped", 100 * blocks, "%");
      add("keys a decode step skips", 100 * read, "%");
    }
  }
  return {};
}

}  // namespace cambium::cli
