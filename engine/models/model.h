// A loaded model as the scheduler sees it: one forward pass over the new tokens of one slot.
// Used from the engine thread of its device only.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/attention_mask.h"
#include "engine/config.h"
#include "engine/expert_loads.h"
#include "engine/gguf.h"
#include "engine/ops.h"
#include "engine/request.h"
#include "engine/result.h"

namespace cambium::engine {

/// Most rows of logits one pass returns; keeps a vocabulary of 150 k within 40 MB.
inline constexpr int32_t kMaxLogitRows = 64;
/// Rows that are only ranked are computed in pieces of about that much memory.
inline constexpr int32_t kRankedBytes = 40 << 20;

/// Tokens of the longest pass where `chunk` are the rule: a rest of half a chunk goes along, since a pass
/// reads all weights.
constexpr int32_t longest_pass(int32_t chunk) { return chunk + chunk / 2; }

/// Tokens fed into one slot: token i goes to cell first_cell + i, at that position, and sees the
/// cells before it, which must hold the same sequence's earlier tokens.
struct Pass {
  std::span<const TokenId> tokens;  ///< [n_tokens], each < n_vocab
  int32_t first_cell = 0;
  KvStore* kv = nullptr;
  /// Labels of cells [0, first_cell + n_tokens) at least; null or empty: no structure.
  const TokenStructure* cells = nullptr;
  /// Indices into `tokens` whose logits are wanted, ascending; at most kMaxLogitRows, or any number
  /// with `ranked`.
  std::span<const int32_t> logits_at;
  /// Asked twice a layer; true gives the pass up (ErrorCode::cancelled), its cells are then not
  /// valid. May be null.
  std::function<bool()> give_up;
  /// The most likely token of each row will probably do: the result may have them in `best` and no
  /// logits, which Model::logits() then brings.
  bool greedy = false;
  /// [n_tokens] or empty: cells that each token does not see, its position counted without them; of a
  /// model that takes_branches().
  std::span<const HiddenCells> hidden = {};
  /// [logits_at.size()] or empty: of each row only the probability of this token is wanted, and those of
  /// the `top` most likely ones, at most n_vocab. The result may have `logprobs` and `best` and no logits;
  /// it has where there are more than kMaxLogitRows rows.
  std::span<const TokenId> ranked = {};
  int32_t top = 0;
};

struct PassResult {
  std::span<const float> logits;  ///< [logits_at.size(), n_vocab], host; valid until the next pass
  /// [logits_at.size()] in place of logits, with `ranked` [logits_at.size(), top]; valid as long.
  std::span<const BestToken> best;
  std::span<const float> logprobs;  ///< [logits_at.size()] with `ranked`; valid as long
  int64_t blocks = 0;               ///< key blocks a causal pass reads, over all layers and heads
  int64_t skipped_blocks = 0;       ///< of these, skipped by the parent mask
};

class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelConfig& config() const = 0;
  virtual Backend& backend() = 0;
  virtual Result<std::unique_ptr<KvStore>> create_kv(int32_t n_cells) = 0;
  virtual Result<PassResult> forward(const Pass& pass) = 0;
  /// Whether passes may have hidden cells.
  virtual bool takes_branches() const { return false; }
  /// Since the model was loaded. Waits for the device.
  virtual Result<ExpertLoads> expert_loads() { return ExpertLoads{}; }
  /// Logits of the last pass, which answered with `best`; as PassResult::logits.
  virtual Result<std::span<const float>> logits() {
    return fail(ErrorCode::unsupported, "no pass has left its logits on the device");
  }
};

/// Reads the weights of the family the file's architecture names. The model owns the backend and
/// keeps the file. `progress` (may be null) gets fractions from 0 to 1.
Result<std::unique_ptr<Model>> load_model_weights(std::shared_ptr<const GgufFile> file,
                                                  ModelConfig config,
                                                  std::unique_ptr<Backend> backend,
                                                  const std::function<void(double)>& progress);

}  // namespace cambium::engine
