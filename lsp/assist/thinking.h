// Tells a model's thinking from its answer while the text streams: <think>…</think> at the very
// beginning, as R1 and its distills write it. A tag anywhere else is text; but where a model that
// thinks was made to open with <think> by its template, and the server keeps that to itself, all
// before a lone </think> is thinking (known only at the end). Belongs to one answer.
#pragma once

#include <string>
#include <string_view>

namespace cambium::assist {

class ThinkingSplitter {
 public:
  /// False: nothing is thinking, everything is text.
  explicit ThinkingSplitter(bool thinks)
      : thinks_(thinks), phase_(thinks ? Phase::undecided : Phase::text) {}

  /// What of the text so far may be shown after `piece` came; parts of a tag are held back.
  struct Shown {
    std::string thinking, text;
  };
  Shown append(std::string_view piece);
  /// The end of the text: what was held back. Thinking that never ended is thinking.
  Shown finish();

  const std::string& thinking() const { return thinking_; }
  const std::string& text() const { return text_; }

 private:
  enum class Phase : unsigned char { undecided, thinking, text };
  Shown take(bool last);

  bool thinks_;
  Phase phase_;
  bool begins_ = false;  ///< the answer's first character is still to come
  std::string held_;
  std::string thinking_, text_;
};

}  // namespace cambium::assist
