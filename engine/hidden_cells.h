// Which earlier cells a query does not see because they are another branch's: several continuations of
// one sequence stand behind it in the cells of one slot, and a pass computes them side by side.
#pragma once

#include <cstdint>

namespace cambium::engine {

/// Cells [first, end); none where they are equal.
struct CellRange {
  int32_t first = 0, end = 0;

  int32_t size() const { return end - first; }
  bool has(int32_t cell) const { return first <= cell && cell < end; }
  bool covers(CellRange other) const { return first <= other.first && other.end <= end; }

  friend bool operator==(const CellRange&, const CellRange&) = default;
};

/// A query in cell q sees cells [0, q] but those of the two ranges, ascending and apart, before q: what
/// follows the place where its branch leaves the sequence, and, where it leaves another branch, what
/// follows the place in that one. Its position in its own sequence is q - size().
struct HiddenCells {
  CellRange ranges[2];

  int32_t size() const { return ranges[0].size() + ranges[1].size(); }
  bool has(int32_t cell) const { return ranges[0].has(cell) || ranges[1].has(cell); }
  /// Every one of the cells is hidden, and by one range.
  bool covers(CellRange cells) const { return ranges[0].covers(cells) || ranges[1].covers(cells); }
  /// Some cell of [0, end) is hidden.
  bool begins_before(int32_t end) const {
    return (ranges[0].size() > 0 && ranges[0].first < end) ||
           (ranges[1].size() > 0 && ranges[1].first < end);
  }

  friend bool operator==(const HiddenCells&, const HiddenCells&) = default;
};

}  // namespace cambium::engine
