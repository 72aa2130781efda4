// Figures of this layer, for `cambium bench`.
#pragma once

#include <cstdint>
#include <string>

namespace cambium::syntax {

struct Percentiles {
  double p50_ms = 0, p99_ms = 0, max_ms = 0;
};

struct BenchFigures {
  uint32_t lines = 0, bytes = 0, scopes = 0;
  double open_ms = 0;      ///< the first parse and its scopes
  Percentiles type;        ///< an identifier character typed: edit, reparse, scopes of the new text
  Percentiles break_wait;  ///< a bracket or quote typed: until the caller has its scopes
  Percentiles break_parse;     ///< the same, until the new text is parsed
  Percentiles undo_wait;       ///< its removal: until the caller has its scopes
  double labeler_ms = 0;       ///< MiddleLabeler over a text of 2,000 lines, hole in its middle
  double middle_token_us = 0;  ///< one token of four bytes fed to it
  double align_us = 0;         ///< labels of 4,096 offsets
  double check_ms = 0;         ///< InsertionCheck with the tree at hand, mean of one check
};

/// A C++ source of about `lines` lines: classes, functions, loops, strings; the same on every call.
std::string generated_source(uint32_t lines);

/// Types and breaks at `edits` places of a generated file. About 10 s with the defaults.
BenchFigures bench_syntax(uint32_t lines = 10'000, int edits = 200);

}  // namespace cambium::syntax
