// Continuations scored beside each other (ScoreRequest::branches): how they stand in the cells of one
// pass, and the way of engines that can compute but one sequence at a time. Pure functions.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "engine/generator.h"
#include "engine/hidden_cells.h"
#include "engine/request.h"

namespace cambium::engine {

/// What makes no sense in the request's branches, for its sender; nothing if all is well. `context`:
/// tokens that a sequence may have.
std::optional<Error> invalid_branches(const ScoreRequest& request, int32_t n_vocab,
                                      int32_t context);

/// Branches that must be in one pass: one that leaves the request's tokens, and those that leave it.
struct BranchGroup {
  std::vector<size_t> members;  ///< the root first
  int32_t cells = 0;            ///< they take
};
std::vector<BranchGroup> branch_groups(const ScoreRequest& request);

/// The request's tokens that must be in cells before its branches: [0, n).
int32_t cells_before_branches(const ScoreRequest& request);

/// A branch's tokens as they are fed: the one before its first (its logits are the first wanted), and all
/// but its last. `labels` (empty, or one a token of `tokens`) likewise.
struct BranchFeed {
  std::vector<TokenId> tokens;
  TokenStructure labels;
};
BranchFeed branch_feed(const ScoreRequest& request, size_t branch);

/// What a branch that begins in cell `first` does not see; `root_first`: where the branch that it leaves
/// begins, if it leaves one.
HiddenCells hidden_cells(const ScoreRequest& request, size_t branch, int32_t first,
                         int32_t root_first);

/// The sequence of tokens that a branch is the end of, to be scored by itself.
ScoreRequest sequence_of(const ScoreRequest& request, size_t branch);

/// Scores the request's own tokens, then each branch as a sequence of its own, those that begin last
/// first: what comes before the next is then in the cache. `score` scores a request without branches; it
/// and `on_done` are called on the thread that answers.
using ScoreOne = std::function<void(ScoreRequest, OnScored)>;
void score_one_by_one(ScoreRequest request, ScoreOne score, OnScored on_done);

}  // namespace cambium::engine
