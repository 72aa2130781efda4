// The figures of a review as a table's rows and as JSON, whoever reviews.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>

#include "lsp/eval/review_eval.h"

namespace cambium::cli {

/// What is known of a row.
enum class ReviewColumns : uint8_t {
  all,
  of_slips,  ///< findings have no kind, so of a kind only what lies on its slips is counted
};

/// `intervals` null: without.
nlohmann::json review_json(const eval::ReviewFigures& figures,
                           const eval::ReviewIntervals* intervals,
                           ReviewColumns columns = ReviewColumns::all);
void print_review_heading(std::ostream& out);
void print_review_row(std::ostream& out, const std::string& name,
                      const eval::ReviewFigures& figures, const eval::ReviewIntervals* intervals,
                      ReviewColumns columns = ReviewColumns::all);

}  // namespace cambium::cli
