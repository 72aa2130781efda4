// Stops generation where the completion's node ends, before time is spent on what would be cut away,
// and tells the engine the scope of each middle token.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "engine/request.h"
#include "lsp/assist/code_scanner.h"
#include "lsp/assist/completion_plan.h"

namespace cambium::assist {

/// Label of the next middle token, given its bytes; called once an accepted token, in order.
using MiddleLabels = std::function<engine::TokenLabel(std::string_view piece)>;

/// Called on the engine thread; read `reason()` after the generation is done.
class CompletionController final : public engine::StepController {
 public:
  /// `required` is what the prompt left off for token healing. `labels` may be empty: then tokens keep
  /// the label of the token before them.
  CompletionController(CompletionPlan plan, std::string required, MiddleLabels labels);

  engine::StepDecision on_token(const engine::Step& step) override;
  std::string_view required_prefix() const override { return required_; }
  /// Not behind a header whose block is neither written nor there below.
  bool may_end() const override;

  /// "end_of_node", "end_of_line", "repeats_suffix", "repeats_itself"; empty if it never stopped.
  std::string_view reason() const { return reason_; }

 private:
  enum class Stop : unsigned char { none, before, after };
  bool misplaces_first_word(std::string_view piece) const;
  Stop feed(char c);
  Stop feed_line(char c);
  Stop end_of_line();
  Stop first_of_line(char c);
  Stop outer_closer(char c, size_t open);
  Stop stop(Stop where, std::string_view reason) {
    reason_ = reason;
    return where;
  }

  CompletionPlan plan_;
  std::string required_;  ///< what is still to come of it
  MiddleLabels labels_;
  OuterBrackets brackets_;  ///< behind the cursor's line, or for a body behind nothing
  int line_column_;         ///< of the cursor's line
  std::string text_;        ///< generated, without what was required
  std::string line_;        ///< the current line, from its start
  std::string last_line_;   ///< the last generated line with something on it
  int blank_lines_ = 0;
  bool wrote_ = false;  ///< something that is no white space
  bool at_line_start_ = false;
  bool block_open_ = false;    ///< the statement goes on in deeper lines
  bool last_of_body_ = false;  ///< the current line closes the body by its word
  bool closing_ = false;       ///< the body's bracket is closed; only what belongs to it may follow
  std::string_view reason_;
};

}  // namespace cambium::assist
