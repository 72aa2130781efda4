// forward_file MODEL.gguf CELLS [ADAPTER.gguf]: logits of a labelled sequence by the engine, for tests that
// compare them with the trainer's NumPy twin. CELLS: a token, scope, last and place a line. Prints a line of
// logits a token, for the CPU's own kernels in one pass, then in chunks of 7, then for the plain twins.
#include <cstdio>
#include <fstream>
#include <numeric>
#include <vector>

#include "engine/adapter.h"
#include "engine/models/model.h"

using namespace cambium;
using namespace cambium::engine;

namespace {

Result<void> print(const std::shared_ptr<const GgufFile>& file, const char* isa,
                   const std::vector<TokenId>& tokens, const TokenStructure& cells, size_t chunk) {
  const auto config = ModelConfig::from_gguf(*file);
  if (!config) return tl::unexpected(config.error());
  const auto model = load_model_weights(file, *config, make_cpu_backend(1, isa), nullptr);
  if (!model) return tl::unexpected(model.error());
  const auto kv = (*model)->create_kv(static_cast<int32_t>(tokens.size()));
  if (!kv) return tl::unexpected(kv.error());
  for (size_t at = 0; at < tokens.size(); at += chunk) {
    const auto fed = std::span(tokens).subspan(at, std::min(chunk, tokens.size() - at));
    std::vector<int32_t> rows(fed.size());
    std::iota(rows.begin(), rows.end(), 0);
    const auto result =
        (*model)->forward({fed, static_cast<int32_t>(at), kv->get(), &cells, rows, nullptr});
    if (!result) return tl::unexpected(result.error());
    const size_t n_vocab = result->logits.size() / fed.size();
    for (size_t i = 0; i < result->logits.size(); ++i)
      std::printf("%.9g%c", static_cast<double>(result->logits[i]),
                  (i + 1) % n_vocab == 0 ? '\n' : ' ');
  }
  return {};
}

Result<void> run(int argc, char** argv) {
  if (argc != 3 && argc != 4)
    return fail(ErrorCode::invalid_argument, "usage: forward_file MODEL.gguf CELLS [ADAPTER.gguf]");
  auto file = GgufFile::open(argv[1]);
  if (file && argc == 4) file = lay_adapter(**file, argv[3]);
  if (!file) return tl::unexpected(file.error());
  std::ifstream in(argv[2]);
  std::vector<TokenId> tokens;
  TokenStructure cells;
  TokenId token;
  for (TokenLabel label; in >> token >> label.scope >> label.last >> label.place;) {
    tokens.push_back(token);
    cells.push_back(label);
  }
  if (tokens.empty() || tokens.size() > static_cast<size_t>(kMaxLogitRows))
    return fail(ErrorCode::invalid_argument, "expected 1 to 64 lines of cells");
  if (auto done = print(*file, "", tokens, cells, tokens.size()); !done) return done;
  if (auto done = print(*file, "", tokens, cells, 7); !done) return done;
  return print(*file, "scalar", tokens, cells, tokens.size());
}

}  // namespace

int main(int argc, char** argv) {
  const auto done = run(argc, argv);
  if (done) return 0;
  std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return 1;
}
