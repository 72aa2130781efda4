// The figures of `cambium bench`: each section measures one thing and appends what it found.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/generator.h"
#include "engine/result.h"
#include "engine/tensor.h"

namespace cambium::cli {

struct Figure {
  std::string
      section;  ///< "syntax", "alignment", "typing", "lsp", "attention", "review", "engine", "long"
  std::string name;
  double value = 0;
  std::string unit;  ///< "ms", "tok/s", "tokens", "MB", "x"
  /// The goal, and whether more or less is better; 0: none is set.
  double goal = 0;
  enum class Better : unsigned char { less, more } better = Better::less;

  bool met() const { return goal == 0 || (better == Better::less ? value <= goal : value >= goal); }
};
using Figures = std::vector<Figure>;

/// Times in milliseconds.
class Samples {
 public:
  void add(double value) { values_.push_back(value); }
  size_t size() const { return values_.size(); }
  /// Nearest rank; share in 0..1. 0 without samples.
  double at(double share) {
    if (values_.empty()) return 0;
    std::sort(values_.begin(), values_.end());
    const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(values_.size())));
    return values_[std::clamp<size_t>(rank, 1, values_.size()) - 1];
  }
  double median() { return at(0.5); }

 private:
  std::vector<double> values_;
};

class Stopwatch {
 public:
  double ms() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_)
        .count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Reparse and scopes after an edit of a 10,000-line file; what a request waits for after one that
/// breaks the tree.
void bench_syntax(Figures& figures);
/// Scopes to the tokens of a 4,096-token prompt.
void bench_alignment(const engine::Generator& model, Figures& figures);
/// Everything but the model: from the message to the answer, through a session, at 2,000 lines.
Result<void> bench_lsp(const std::shared_ptr<engine::Generator>& model, Figures& figures);
struct BenchText {
  std::string path, text;
};
/// Attention of one layer on the CPU at 512 to 16,384 tokens, mask off, prune and own: time, and the
/// share of blocks and keys skipped, over up to four of the files that are long enough (none given: a
/// generated one).
Result<void> bench_attention(const engine::Generator& model, int threads, engine::PruneRule rule,
                             const std::vector<BenchText>& files, Figures& figures);
/// Typing at one place with a prompt of 1,500 tokens: tokens evaluated and time a keystroke.
Result<void> bench_typing(const std::shared_ptr<engine::Generator>& model, Figures& figures);
/// What a function of 60 lines asks for: held-out code has as many sites and holes in 60 lines, with the
/// model that ships.
inline constexpr int32_t kUsualSites = 7, kUsualHoles = 3;
/// The review by likelihood of such a function.
struct ReviewTime {
  int32_t tokens = 0, holes = 0;
  int32_t computed = 0, requests = 0;  ///< tokens not found in the cache; requests
  double median_ms = 0;
};
Result<ReviewTime> time_review(engine::Generator& model, int32_t sites, int32_t holes);
/// Usual, and with every site and hole that the limits allow.
Result<void> bench_review(engine::Generator& model, Figures& figures);
/// Block-sparse attention over long answers: time at R1's shape, agreement on the model `path` over
/// texts of one project each (none given: this one's own).
Result<void> bench_long(const std::string& path, const engine::LoadOptions& options,
                        const std::vector<BenchText>& files, Figures& figures);
/// How a mixture's tokens were spread over its experts ([n_expert] counts; none for a dense model);
/// `each` lists every expert's share.
void add_expert_figures(const std::string& name, const std::vector<uint64_t>& loads, bool each,
                        Figures& figures);

struct GpuFlags {
  std::string shape;   ///< empty: the shapes that goals are set for
  std::string type;    ///< of `shape`
  std::string device;  ///< "auto" takes the first GPU
  std::string folder;  ///< for the files
  std::vector<std::string>
      replay;  ///< text files for speculation's row; those not there are left out
  bool json = false;
  bool only_long = false;  ///< long answers' rows and no others
};
struct Run;
/// `cambium bench --gpu`: measures, and prints the table or JSON.
Result<void> bench_gpu(Run& run, const GpuFlags& flags);
/// "q4_k" and so on.
Result<engine::DType> weight_type(std::string_view name);

}  // namespace cambium::cli
