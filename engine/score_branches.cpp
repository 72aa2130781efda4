#include "engine/score_branches.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace cambium::engine {

namespace {

const ScoreBranch* root_of(const ScoreRequest& request, const ScoreBranch& branch) {
  return branch.leaves < 0 ? nullptr : &request.branches[static_cast<size_t>(branch.leaves)];
}

TokenLabel label_at(const TokenStructure& labels, int32_t i) {
  return labels.at(static_cast<size_t>(i));
}

}  // namespace

std::optional<Error> invalid_branches(const ScoreRequest& request, int32_t n_vocab,
                                      int32_t context) {
  for (size_t i = 0; i < request.branches.size(); ++i) {
    const ScoreBranch& branch = request.branches[i];
    const auto error = [&](const std::string& message) {
      return Error{ErrorCode::invalid_argument, "branch " + std::to_string(i) + " " + message};
    };
    const auto n = static_cast<int64_t>(branch.tokens.size());
    if (n == 0) return error("has no tokens; at least one is needed");
    if (branch.leaves >= static_cast<int64_t>(i) ||
        (branch.leaves >= 0 && root_of(request, branch)->leaves >= 0)) {
      return error("leaves branch " + std::to_string(branch.leaves) +
                   ", which is not an earlier one that leaves the request's tokens");
    }
    const ScoreBranch* root = root_of(request, branch);
    const int64_t least = root == nullptr ? 1 : int64_t{root->at} + 1;
    const int64_t most = root == nullptr ? static_cast<int64_t>(request.tokens.size())
                                         : root->at + static_cast<int64_t>(root->tokens.size());
    if (branch.at < least || branch.at > most) {
      return error("begins after token " + std::to_string(branch.at) +
                   " of its sequence; it can after " + std::to_string(least) + " to " +
                   std::to_string(most));
    }
    if (branch.at + n > context) {
      return error("ends a sequence of " + std::to_string(branch.at + n) +
                   " tokens; the context holds " + std::to_string(context));
    }
    if (branch.first < 0 || branch.first > n) {
      return error("cannot be scored from token " + std::to_string(branch.first) + " of its " +
                   std::to_string(n));
    }
    for (const TokenId token : branch.tokens) {
      if (token < 0 || token >= n_vocab) {
        return error("has token " + std::to_string(token) + "; the vocabulary has " +
                     std::to_string(n_vocab));
      }
    }
    const TokenStructure& labels = branch.structure;
    const size_t wanted = request.structure.empty() ? 0 : branch.tokens.size();
    if (labels.scope.size() != wanted || labels.last.size() != wanted ||
        labels.place.size() != wanted) {
      return error("has " + std::to_string(n) + " tokens but " + std::to_string(labels.size()) +
                   " structure labels; the request has " +
                   std::to_string(request.structure.size()));
    }
  }
  return std::nullopt;
}

std::vector<BranchGroup> branch_groups(const ScoreRequest& request) {
  std::vector<BranchGroup> groups;
  std::vector<size_t> group_of;  // a branch
  for (size_t i = 0; i < request.branches.size(); ++i) {
    const ScoreBranch& branch = request.branches[i];
    // One that leaves none that came before it is invalid, and nobody's.
    const bool follows = branch.leaves >= 0 && static_cast<size_t>(branch.leaves) < i;
    group_of.push_back(follows ? group_of[static_cast<size_t>(branch.leaves)] : groups.size());
    if (!follows) groups.emplace_back();
    BranchGroup& group = groups[group_of.back()];
    group.members.push_back(i);
    group.cells += static_cast<int32_t>(branch.tokens.size());
  }
  return groups;
}

int32_t cells_before_branches(const ScoreRequest& request) {
  int32_t cells = 0;
  for (const ScoreBranch& branch : request.branches) {
    if (branch.leaves < 0) cells = std::max(cells, branch.at - 1);
  }
  return cells;
}

BranchFeed branch_feed(const ScoreRequest& request, size_t branch) {
  const ScoreBranch& own = request.branches[branch];
  const ScoreBranch* root = root_of(request, own);
  const auto& before = root == nullptr ? request.tokens : root->tokens;
  const auto& before_labels = root == nullptr ? request.structure : root->structure;
  const int32_t last = own.at - 1 - (root == nullptr ? 0 : root->at);
  BranchFeed feed;
  feed.tokens.push_back(before[static_cast<size_t>(last)]);
  feed.tokens.insert(feed.tokens.end(), own.tokens.begin(), own.tokens.end() - 1);
  if (!before_labels.empty()) {
    feed.labels.push_back(label_at(before_labels, last));
    for (size_t i = 0; i + 1 < own.tokens.size(); ++i) feed.labels.push_back(own.structure.at(i));
  }
  return feed;
}

HiddenCells hidden_cells(const ScoreRequest& request, size_t branch, int32_t first,
                         int32_t root_first) {
  const ScoreBranch& own = request.branches[branch];
  HiddenCells hidden;
  const ScoreBranch* root = root_of(request, own);
  if (root == nullptr) {
    hidden.ranges[0] = {own.at - 1, first};
  } else {
    hidden.ranges[0] = {root->at - 1, root_first};
    hidden.ranges[1] = {root_first + own.at - root->at, first};
  }
  return hidden;
}

ScoreRequest sequence_of(const ScoreRequest& request, size_t branch) {
  const ScoreBranch& own = request.branches[branch];
  ScoreRequest out;
  out.top = request.top;
  out.priority = request.priority;
  out.cancel = request.cancel;
  out.first = own.at + own.first;
  const auto append = [&](const std::vector<TokenId>& tokens, const TokenStructure& labels,
                          size_t n) {
    out.tokens.insert(out.tokens.end(), tokens.begin(),
                      tokens.begin() + static_cast<std::ptrdiff_t>(n));
    for (size_t i = 0; !labels.empty() && i < n; ++i) out.structure.push_back(labels.at(i));
  };
  const ScoreBranch* root = root_of(request, own);
  append(request.tokens, request.structure,
         static_cast<size_t>(root == nullptr ? own.at : root->at));
  if (root != nullptr)
    append(root->tokens, root->structure, static_cast<size_t>(own.at - root->at));
  append(own.tokens, own.structure, own.tokens.size());
  return out;
}

namespace {

/// A request whose sequences are scored in turn.
struct OneByOne {
  ScoreRequest request;
  ScoreOne score;
  OnScored on_done;
  std::vector<size_t> order;  // of branches
  size_t next = 0;
  Scored out;

  void add(const Timings& timings) {
    out.timings.prompt_tokens += timings.prompt_tokens;
    out.timings.reused_tokens += timings.reused_tokens;
    out.timings.queue_ms += timings.queue_ms;
    out.timings.prefill_ms += timings.prefill_ms;
  }
};

void score_next(const std::shared_ptr<OneByOne>& all) {
  if (all->next == all->order.size()) return all->on_done(std::move(all->out));
  const size_t branch = all->order[all->next++];
  all->score(sequence_of(all->request, branch), [all, branch](Result<Scored> scored) {
    if (!scored) return all->on_done(tl::unexpected(scored.error()));
    all->out.branches[branch] = {std::move(scored->logprobs), std::move(scored->alternatives)};
    all->add(scored->timings);
    score_next(all);
  });
}

}  // namespace

void score_one_by_one(ScoreRequest request, ScoreOne score, OnScored on_done) {
  auto all = std::make_shared<OneByOne>();
  std::vector<ScoreBranch> branches = std::exchange(request.branches, {});
  ScoreRequest own = request;
  all->request = std::move(request);
  all->request.branches = std::move(branches);
  all->score = std::move(score);
  all->on_done = std::move(on_done);
  const auto& of = all->request.branches;
  all->out.branches.resize(of.size());
  auto groups = branch_groups(all->request);
  std::stable_sort(groups.begin(), groups.end(), [&](const auto& a, const auto& b) {
    return of[a.members[0]].at > of[b.members[0]].at;
  });
  for (const BranchGroup& group : groups) {
    for (const size_t i : group.members) {
      if (of[i].first < static_cast<int32_t>(of[i].tokens.size())) all->order.push_back(i);
    }
  }
  if (own.first == static_cast<int32_t>(own.tokens.size())) return score_next(all);
  all->score(std::move(own), [all](Result<Scored> scored) {
    if (!scored) return all->on_done(tl::unexpected(scored.error()));
    all->out.logprobs = std::move(scored->logprobs);
    all->out.alternatives = std::move(scored->alternatives);
    all->add(scored->timings);
    score_next(all);
  });
}

}  // namespace cambium::engine
