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

}  // namespace cambium::eval
