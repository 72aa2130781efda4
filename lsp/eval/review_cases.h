// Functions to judge a review by: real ones of held-out files, and the same with one slip put in.
//
// Deterministic for a seed. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lsp/eval/halves.h"
#include "lsp/training/container.h"
#include "syntax/languages.h"
#include "syntax/review_sites.h"

namespace cambium::eval {

struct ReviewCase {
  const syntax::Language* language = nullptr;
  std::string path, project;
  std::string text;            ///< the whole file, with the slip if there is one
  syntax::ByteRange function;  ///< in `text`
  std::string bug;             ///< SiteKind's name; empty: untouched
  syntax::ByteRange slip;      ///< what was put in
  std::string original;        ///< what stood there
  double weight = 1;           ///< as how many cases this one counts: add_cases
};

struct ReviewCaseOptions {
  size_t per_language = 100;  ///< functions, each once untouched and once with a slip
  uint64_t seed = 1;
  int half = 1;  ///< as Halves::of
};

/// The projects of the files in two halves, by how many functions they have for review_cases in each
/// language that is reviewed.
Halves review_halves(const std::vector<training::SourceFile>& files);

/// Pairs: an untouched function, then the same with a slip: in half of them a misused variable, in the
/// others of the kind, of those it has places for, that there are the fewest of so far. Functions have 5
/// to 80 lines; languages without enough of them give what there is. Only of projects of one half.
std::vector<ReviewCase> review_cases(const std::vector<training::SourceFile>& files,
                                     const Halves& halves, const ReviewCaseOptions& options);

/// Cases beside the pairs of review_cases, to fit on: none of them changes what the pairs are.
struct MoreCases {
  /// Slips a function of each of these kinds, where it has a place for them; none of a kind that no pair has.
  std::vector<syntax::SiteKind> kinds;
  size_t slips = 1;
  size_t untouched = 1;  ///< other functions of its file
};

/// Appends them. Slips of a kind then weigh as many together as without, and so do untouched functions, so
/// that shares stay what they were.
void add_cases(std::vector<ReviewCase>& pairs, const MoreCases& more);

}  // namespace cambium::eval
