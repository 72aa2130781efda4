// Two models for one role: the small one answers where it is sure, else the larger one is asked. Sure
// means that the mean probability of its tokens reaches a threshold; `cambium eval --cascade` finds one.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "lsp/assist/completer.h"
#include "lsp/assist/models.h"

namespace cambium::assist {

/// Of tokens with these natural logarithms, 0..1; of none -1.
double mean_probability(std::span<const float> logprobs);

/// Whether the small model's answer counts, in a sentence's part: "its mean token probability 0.42 is
/// below 0.80". `useful`: there is something to show.
struct Doubt {
  bool ask_larger = false;
  std::string reason;
};
Doubt doubt_about(double confidence, bool useful, double threshold);

/// Completions of a cascade. What goes on from a suggestion that the larger model made comes from that
/// one, so that typing along it does not make it flicker. Where the larger model cannot be had, the
/// small one's answer counts, and the route says so.
///
/// Threading: as CompletionService.
class CascadeCompleter final : public CompletionService {
 public:
  struct Larger {
    std::string name;  ///< to show until it says its own
    using Use = std::function<void(Result<std::shared_ptr<CompletionService>>)>;
    /// Calls `use` once, on any thread. With `wanted` false only if the model can be had at once and
    /// without a load, else with an error; its message says why it cannot be asked now.
    std::function<void(bool wanted, Use use)> get;
  };
  CascadeCompleter(std::shared_ptr<CompletionService> small, Larger larger, double threshold);
  void complete(CompletionInput input,
                std::function<void(cambium::Result<CompletionOutput>)> done) override;

 private:
  struct Run;
  std::shared_ptr<CompletionService> small_;
  Larger larger_;
  double threshold_;
};

}  // namespace cambium::assist
