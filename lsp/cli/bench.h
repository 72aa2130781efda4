// The figures of `cambium bench`: each section measures one thing and appends what it found.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/generator.h"
#include "engine/result.h"

namespace cambium::cli {

struct Figure {
  std::string section;  ///< "syntax", "alignment", "typing", "lsp", "engine"
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

/// A C++ file of about so many lines; the same on every machine.
std::string bench_source(int lines);

/// Reparse and scopes after an edit of a 10,000-line file; what a request waits for after one that
/// breaks the tree.
void bench_syntax(Figures& figures);
/// Scopes to the tokens of a 4,096-token prompt.
void bench_alignment(const engine::Generator& model, Figures& figures);
/// Everything but the model: from the message to the answer, through a session, at 2,000 lines.
Result<void> bench_lsp(const engine::Generator& model, Figures& figures);
/// Typing at one place with a prompt of 1,500 tokens: tokens evaluated and time a keystroke.
Result<void> bench_typing(const std::shared_ptr<engine::Generator>& model, Figures& figures);

}  // namespace cambium::cli
