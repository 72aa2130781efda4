#include "lsp/assist/review_likelihood.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "engine/prompt_format.h"
#include "engine/tokenizer.h"
#include "lsp/assist/prompt.h"
#include "lsp/assist/token_structure.h"
#include "syntax/bytes.h"
#include "syntax/middle_labeler.h"

namespace cambium::assist {
namespace {

using engine::TokenId;
using Part = engine::PromptFormat::Part;

constexpr int32_t kAlternatives = 12;  ///< tokens looked at where the written one stands
constexpr size_t kBytesPerToken = 8;   ///< as many as a token of deeply indented code may have
constexpr size_t kFollowing = 12;      ///< bytes after a site that an alternative is tokenized with
constexpr size_t kMostOfHole = 160;    ///< tokens of a hole: the site, and the rest of its line
constexpr size_t kLeastRoom = 64;      ///< tokens of a window that tell anything
constexpr size_t kLongestRest = 80;    ///< bytes of the line after a site that are part of its hole

Result<engine::Scored> score(engine::Generator& generator, engine::ScoreRequest request) {
  struct Answer {
    std::mutex mutex;
    std::condition_variable there;
    std::optional<Result<engine::Scored>> value;
  };
  const auto answer = std::make_shared<Answer>();
  generator.score(std::move(request), [answer](Result<engine::Scored> scored) {
    const std::lock_guard lock(answer->mutex);
    answer->value = std::move(scored);
    answer->there.notify_one();
  });
  std::unique_lock lock(answer->mutex);
  answer->there.wait(lock, [&] { return answer->value.has_value(); });
  return std::move(*answer->value);
}

size_t line_begin(std::string_view text, size_t at) {
  return at == 0 ? 0 : text.rfind('\n', at - 1) + 1;
}

/// A site whose alternative the model prefers left to right.
struct Candidate {
  const syntax::Site* site = nullptr;
  const std::string* alternative = nullptr;
  size_t first = 0;        ///< the first token of the hole, in the window
  size_t tokens_end = 0;   ///< of the site's last token; a byte of the text
  size_t after = 0;        ///< the first token after the hole, in the window
  std::string lead, tail;  ///< what the site's tokens hold beside it
  float left = 0, chosen = 0;
};

/// Suspicion's of these names.
struct Ahead {
  float ahead = 0, after = 0, beyond = 0;
};

/// What follows a candidate's place with the alternative in it.
struct Otherwise {
  std::vector<uint32_t> offsets;  ///< of its tokens, in its bytes
  size_t own_bytes = 0;           ///< of the alternative and what its tokens hold beside it
  size_t near_bytes = 0;          ///< and of the tokens that are near
  size_t near = 0;                ///< end of those among the window's tokens, as it is written
  size_t stop = 0;                ///< and of all that are read
};

/// A candidate's hole, from its first token to the end of the line, and the two ways to fill it.
struct Hole {
  const Candidate* candidate = nullptr;
  Ahead ahead;
  AlignedSequence prompt;                      ///< up to where the middle begins
  std::string written, as_written, otherwise;  ///< the site's text, and the two middles
};
/// log P of a hole's two middles, each with its end.
struct Filled {
  float as_written = 0, otherwise = 0;
};

/// A range of the text with the word or sign before it and after it in the same line.
class Between {
 public:
  Between(std::string_view text, syntax::ByteRange range)
      : text_(text),
        range_(range),
        before_(text.substr(0, range.begin)),
        after_(text.substr(range.end)) {
    const auto gap = [](char c) { return c == ' ' || c == '\t'; };
    size_t begin = before_.size();
    while (begin > 0 && gap(before_[begin - 1])) --begin;
    if (begin > 0 && before_[begin - 1] != '\n') {
      const bool word = syntax::is_word_byte(before_[--begin]);
      while (word && begin > 0 && syntax::is_word_byte(before_[begin - 1])) --begin;
    }
    before_.remove_prefix(begin);
    size_t end = 0;
    while (end < after_.size() && gap(after_[end])) ++end;
    if (end < after_.size() && after_[end] != '\n') {
      const bool word = syntax::is_word_byte(after_[end++]);
      while (word && end < after_.size() && syntax::is_word_byte(after_[end])) ++end;
    }
    after_ = after_.substr(0, end);
  }

  /// Whether `word` stands between the same in another place of the text.
  bool elsewhere(std::string_view word) const {
    const std::string all = std::string(before_) + std::string(word) + std::string(after_);
    for (size_t at = text_.find(all); at != text_.npos; at = text_.find(all, at + 1)) {
      const size_t end = at + all.size();
      const bool begins =
          at == 0 || !syntax::is_word_byte(all.front()) || !syntax::is_word_byte(text_[at - 1]);
      const bool ends = end == text_.size() || !syntax::is_word_byte(all.back()) ||
                        !syntax::is_word_byte(text_[end]);
      if (begins && ends && at + before_.size() != range_.begin) return true;
    }
    return false;
  }

 private:
  std::string_view text_;
  syntax::ByteRange range_;
  std::string_view before_, after_;
};

class Scorer {
 public:
  Scorer(engine::Generator& generator, const syntax::Language* language, std::string_view path,
         std::string_view text, const LikelihoodLimits& limits, const engine::CancelFlag& cancel)
      : generator_(generator),
        tokenizer_(*generator.tokenizer()),
        format_(*generator.prompt_format()),
        language_(language),
        text_(text),
        limits_(limits),
        cancel_(cancel),
        structure_(generator.capabilities().structure),
        path_(path) {}

  Result<void> prepare() {
    auto layout = file_layout(format_, tokenizer_, engine::FimOrder::psm, path_);
    if (!layout) return tl::unexpected(layout.error());
    layout_ = std::move(*layout);
    const auto prefix = std::find_if(layout_.begin(), layout_.end(), [](const Part& part) {
      return part.kind == Part::Kind::prefix;
    });
    head_.assign(layout_.begin(), prefix + 1);
    lead_ = head_.size() - 1;
    const size_t beside = layout_.size() + static_cast<size_t>(limits_.suffix_tokens) + kMostOfHole;
    const auto context = static_cast<size_t>(generator_.capabilities().context);
    if (context < beside + kLeastRoom) {
      return fail(ErrorCode::unsupported,
                  "the model's context of " + std::to_string(context) +
                      " tokens is too short to review by likelihood; it takes " +
                      std::to_string(beside + kLeastRoom));
    }
    room_ = context - beside;
    if (structure_) scopes_ = syntax::read_scopes(language_, text_);
    return {};
  }

  /// Sites of [begin, end) of the text, or of as much of it as fits; where that ends.
  Result<size_t> read_piece(size_t begin, size_t end, const std::vector<syntax::Site>& sites,
                            std::vector<Suspicion>& out) {
    size_t from = begin - std::min(begin, static_cast<size_t>(limits_.context_tokens) * 4);
    if (from > 0) from = line_begin(text_, from);
    window_ = encode_span(tokenizer_, text_, from, end);
    window_end_ = end;
    const auto at = std::lower_bound(window_.bytes.begin(), window_.bytes.end(), begin);
    first_ = static_cast<size_t>(at - window_.bytes.begin());
    fit_window();
    if (first_ >= window_.size()) return end;
    engine::ScoreRequest request = window_request();
    request.first = static_cast<int32_t>(lead_ + first_);
    if (request.first < 1 || request.tokens.size() <= static_cast<size_t>(request.first))
      return end;
    request.top = kAlternatives;
    auto scored = score(generator_, std::move(request));
    if (!scored) return tl::unexpected(scored.error());
    rows_ = std::move(*scored);

    std::vector<Candidate> candidates;
    for (const syntax::Site& site : sites) {
      if (site.range.begin < begin || site.range.end > window_end_) continue;
      if (auto candidate = preferred(site)) candidates.push_back(std::move(*candidate));
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.left > b.left; });
    const auto rivals = static_cast<uint32_t>(candidates.size());
    if (candidates.size() > static_cast<size_t>(limits_.most_sites)) {
      candidates.resize(static_cast<size_t>(limits_.most_sites));
    }
    // From the last to the first: what comes before a hole is in the cache.
    std::sort(candidates.begin(), candidates.end(),
              [](const Candidate& a, const Candidate& b) { return a.first > b.first; });
    if (candidates.empty()) return window_end_;
    const auto ahead = look_ahead(candidates);
    if (!ahead) return tl::unexpected(ahead.error());
    std::vector<Hole> holes;
    for (size_t i = 0; i < candidates.size(); ++i) {
      if ((*ahead)[i].ahead > limits_.least_ahead)
        holes.push_back(hole_of(candidates[i], (*ahead)[i]));
    }
    if (holes.empty()) return window_end_;
    const auto filled = fill(holes);
    if (!filled) return tl::unexpected(filled.error());
    for (size_t i = 0; i < holes.size(); ++i) {
      Suspicion suspicion = suspicion_of(holes[i], (*filled)[i]);
      suspicion.rivals = rivals;
      if (suspicion.both > limits_.least_both) out.push_back(std::move(suspicion));
    }
    return window_end_;
  }

 private:
  /// Code in which a token holds few bytes does not fit: what comes before is shown less of, then the end
  /// is left for the next piece.
  void fit_window() {
    if (window_.size() <= room_) return;
    const size_t dropped = std::min(first_, window_.size() - room_);
    const auto n = static_cast<std::ptrdiff_t>(dropped);
    window_.ids.erase(window_.ids.begin(), window_.ids.begin() + n);
    window_.bytes.erase(window_.bytes.begin(), window_.bytes.begin() + n);
    first_ -= dropped;
    if (window_.size() <= room_) return;
    window_end_ = window_.bytes[room_];
    window_.ids.resize(room_);
    window_.bytes.resize(room_);
  }

  /// log P of the written and of another token in row `row`; nothing if the other is not among the
  /// likely ones.
  std::optional<float> gain(size_t token, TokenId other) const {
    const size_t row = token - first_;
    if (row >= rows_.logprobs.size()) return std::nullopt;
    for (const auto& alternative : rows_.alternatives[row]) {
      if (alternative.token == other) return alternative.logprob - rows_.logprobs[row];
    }
    return std::nullopt;
  }

  std::optional<Candidate> preferred(const syntax::Site& site) const {
    const auto after =
        std::upper_bound(window_.bytes.begin(), window_.bytes.end(), site.range.begin);
    if (after == window_.bytes.begin()) return std::nullopt;
    Candidate best;
    best.site = &site;
    best.first = static_cast<size_t>(after - window_.bytes.begin()) - 1;
    const size_t begin = window_.bytes[best.first];
    const auto end = std::lower_bound(window_.bytes.begin(), window_.bytes.end(), site.range.end);
    best.tokens_end = end == window_.bytes.end() ? window_end_ : *end;
    best.after = static_cast<size_t>(end - window_.bytes.begin());
    if (best.first < first_ ||
        text_.substr(begin, best.tokens_end - begin).find('\r') != text_.npos) {
      return std::nullopt;
    }
    best.lead = std::string(text_.substr(begin, site.range.begin - begin));
    best.tail = std::string(text_.substr(site.range.end, best.tokens_end - site.range.end));
    std::string_view following = text_.substr(best.tokens_end, kFollowing);
    following = following.substr(0, following.find('\n'));
    for (const std::string& alternative : site.alternatives) {
      const std::vector<TokenId> ids =
          tokenizer_.encode(best.lead + alternative + best.tail + std::string(following));
      size_t parted = 0;
      while (parted < ids.size() && best.first + parted < window_.size() &&
             ids[parted] == window_.ids[best.first + parted]) {
        ++parted;
      }
      if (parted == ids.size() || best.first + parted >= window_.size()) continue;
      const auto more = gain(best.first + parted, ids[parted]);
      if (!more || *more < limits_.least_left || (best.alternative && *more <= best.left)) continue;
      best.alternative = &alternative;
      best.left = *more;
      best.chosen = *more + rows_.logprobs[best.first + parted - first_];
    }
    return best.alternative == nullptr ? std::nullopt : std::optional(std::move(best));
  }

  /// The window, none of whose tokens are scored yet.
  engine::ScoreRequest window_request() const {
    engine::ScoreRequest request;
    AlignedSequence sequence = align(head_, window_, {}, scopes_, {});
    request.tokens = std::move(sequence.tokens);
    if (structure_) request.structure = std::move(sequence.structure);
    request.first = static_cast<int32_t>(request.tokens.size());
    request.cancel = cancel_;
    return request;
  }

  /// The window up to a candidate's first token.
  TokenSpan before(const Candidate& candidate) const {
    TokenSpan prefix;
    const auto n = static_cast<std::ptrdiff_t>(candidate.first);
    prefix.ids.assign(window_.ids.begin(), window_.ids.begin() + n);
    prefix.bytes.assign(window_.bytes.begin(), window_.bytes.begin() + n);
    return prefix;
  }

  /// How much likelier the alternatives and what follows are than what is written.
  Result<std::vector<Ahead>> look_ahead(const std::vector<Candidate>& candidates) {
    engine::ScoreRequest request = window_request();
    std::vector<Otherwise> all;
    for (const Candidate& candidate : candidates) all.push_back(add_otherwise(candidate, request));
    auto scored = score(generator_, std::move(request));
    if (!scored) return tl::unexpected(scored.error());
    std::vector<Ahead> out;
    for (size_t i = 0; i < candidates.size(); ++i)
      out.push_back(ahead_of(candidates[i], all[i], scored->branches.at(i).logprobs));
    return out;
  }

  /// Adds the branch that a candidate's alternative begins.
  Otherwise add_otherwise(const Candidate& candidate, engine::ScoreRequest& request) const {
    const auto after_at = [&](int32_t tokens) {
      return std::min(candidate.after + static_cast<size_t>(tokens), window_.size());
    };
    const auto byte_of = [&](size_t token) {
      return token == window_.size() ? window_end_ : window_.bytes[token];
    };
    Otherwise out;
    out.near = after_at(limits_.ahead_tokens);
    out.stop = after_at(limits_.ahead_tokens + limits_.beyond_tokens);
    const size_t stop_byte = byte_of(out.stop), begin = window_.bytes[candidate.first];
    const std::string changed =
        candidate.lead + *candidate.alternative + candidate.tail +
        std::string(text_.substr(candidate.tokens_end, stop_byte - candidate.tokens_end));
    TokenSpan otherwise = before(candidate);
    const std::vector<TokenId> ids = tokenizer_.encode(changed, out.offsets);
    for (size_t i = 0; i < ids.size(); ++i) {
      otherwise.ids.push_back(ids[i]);
      otherwise.bytes.push_back(
          static_cast<uint32_t>(std::min<size_t>(begin + out.offsets[i], stop_byte)));
    }
    out.own_bytes = candidate.lead.size() + candidate.alternative->size() + candidate.tail.size();
    out.near_bytes = out.own_bytes + byte_of(out.near) - candidate.tokens_end;
    request.branches.push_back(
        branch_of(align(head_, otherwise, {}, scopes_, {}), lead_ + candidate.first));
    return out;
  }

  /// What a sequence has from token `at` on, as a branch.
  engine::ScoreBranch branch_of(const AlignedSequence& sequence, size_t at) const {
    engine::ScoreBranch branch;
    branch.at = static_cast<int32_t>(at);
    branch.tokens.assign(sequence.tokens.begin() + branch.at, sequence.tokens.end());
    for (size_t i = at; structure_ && i < sequence.tokens.size(); ++i)
      branch.structure.push_back(sequence.structure.at(i));
    return branch;
  }

  Ahead ahead_of(const Candidate& candidate, const Otherwise& otherwise,
                 const std::vector<float>& logprobs) const {
    Ahead out;
    const auto add = [&](float logprob, bool follows, bool is_near) {
      (is_near ? out.ahead : out.beyond) += logprob;
      if (follows && is_near) out.after += logprob;
    };
    for (size_t i = 0; i < logprobs.size(); ++i) {
      const size_t offset = otherwise.offsets[i];
      add(logprobs[i], offset >= otherwise.own_bytes, offset < otherwise.near_bytes);
    }
    for (size_t i = candidate.first; i < otherwise.stop; ++i)
      add(-rows_.logprobs[i - first_], i >= candidate.after, i < otherwise.near);
    return out;
  }

  Hole hole_of(const Candidate& candidate, const Ahead& ahead) const {
    const size_t begin = window_.bytes[candidate.first];
    // To the end of the line, as models are taught to fill in: with the site alone as the hole, the
    // model that ships knew nothing that it does not know left to right.
    size_t hole_end = std::min(text_.find('\n', candidate.tokens_end), text_.size());
    if (hole_end > candidate.tokens_end && text_[hole_end - 1] == '\r') --hole_end;
    if (hole_end > candidate.tokens_end + kLongestRest) hole_end = candidate.tokens_end;
    const std::string rest =
        candidate.tail +
        std::string(text_.substr(candidate.tokens_end, hole_end - candidate.tokens_end));
    // The document as it is with the hole empty: that is what labels are of.
    std::string holed(text_.substr(0, begin));
    holed += text_.substr(hole_end);
    const size_t room = static_cast<size_t>(limits_.suffix_tokens) * kBytesPerToken;
    TokenSpan suffix = encode_span(tokenizer_, holed, begin, std::min(holed.size(), begin + room));
    if (suffix.size() > static_cast<size_t>(limits_.suffix_tokens)) {
      suffix.ids.resize(static_cast<size_t>(limits_.suffix_tokens));
      suffix.bytes.resize(static_cast<size_t>(limits_.suffix_tokens));
    }
    std::optional<syntax::MiddleLabeler> labeler;
    syntax::ScopeLabel at_cursor;
    if (structure_) {
      labeler.emplace(language_, std::string_view(holed).substr(0, begin),
                      std::string_view(holed).substr(begin));
      at_cursor = syntax::MiddleLabeler(*labeler).feed({});
    }
    Hole hole;
    hole.candidate = &candidate;
    hole.ahead = ahead;
    hole.prompt =
        align(layout_, before(candidate), suffix, labeler ? labeler->map() : scopes_, at_cursor);
    const syntax::ByteRange site = candidate.site->range;
    hole.written = text_.substr(site.begin, site.end - site.begin);
    hole.as_written = candidate.lead + hole.written + rest;
    hole.otherwise = candidate.lead + *candidate.alternative + rest;
    return hole;
  }

  /// log P of the middles, given both sides. Without structure all prompts go on from the window. With it
  /// each has labels of its own from the first token on: those of the document with its hole empty.
  Result<std::vector<Filled>> fill(const std::vector<Hole>& holes) {
    std::vector<Filled> out;
    if (!structure_) {
      engine::ScoreRequest request = window_request();
      for (const Hole& hole : holes) {
        engine::ScoreBranch prompt = branch_of(hole.prompt, lead_ + hole.candidate->first);
        prompt.first = static_cast<int32_t>(prompt.tokens.size());
        const auto leaves = static_cast<int32_t>(request.branches.size());
        request.branches.push_back(std::move(prompt));
        add_middles(hole, leaves, request);
      }
      auto scored = score_middles(std::move(request));
      if (!scored) return tl::unexpected(scored.error());
      for (size_t i = 0; i < holes.size(); ++i) out.push_back(filled_of(*scored, 3 * i + 1));
      return out;
    }
    for (const Hole& hole : holes) {
      engine::ScoreRequest request;
      request.tokens = hole.prompt.tokens;
      request.structure = hole.prompt.structure;
      request.first = static_cast<int32_t>(request.tokens.size());
      request.cancel = cancel_;
      add_middles(hole, -1, request);
      auto scored = score_middles(std::move(request));
      if (!scored) return tl::unexpected(scored.error());
      out.push_back(filled_of(*scored, 0));
    }
    return out;
  }

  Result<engine::Scored> score_middles(engine::ScoreRequest request) {
    request.top = 2;
    return score(generator_, std::move(request));
  }

  /// The two branches that fill a hole, each with the token that ends it.
  void add_middles(const Hole& hole, int32_t leaves, engine::ScoreRequest& request) const {
    for (const std::string& middle : {hole.as_written, hole.otherwise}) {
      engine::ScoreBranch branch;
      branch.at = static_cast<int32_t>(hole.prompt.tokens.size());
      branch.leaves = leaves;
      branch.tokens = tokenizer_.encode(middle);
      // How the model says that the hole is full; the likeliest of its ends counts.
      if (!format_.end.empty()) branch.tokens.push_back(format_.end.front());
      for (size_t i = 0; structure_ && i < branch.tokens.size(); ++i)
        branch.structure.push_back(hole.prompt.middle);
      request.branches.push_back(std::move(branch));
    }
  }

  Filled filled_of(const engine::Scored& scored, size_t branch) const {
    return {middle_of(scored.branches.at(branch)), middle_of(scored.branches.at(branch + 1))};
  }

  /// log P(middle, and then its end)
  float middle_of(const engine::Scored::Branch& scored) const {
    const size_t n = scored.logprobs.size() - (format_.end.empty() ? 0 : 1);
    float sum = 0;
    for (size_t i = 0; i < n; ++i) sum += scored.logprobs[i];
    if (scored.logprobs.size() > n) {
      float end = scored.logprobs[n];
      for (const auto& alternative : scored.alternatives[n]) {
        if (format_.is_end(alternative.token)) end = std::max(end, alternative.logprob);
      }
      sum += end;
    }
    return sum;
  }

  Suspicion suspicion_of(const Hole& hole, const Filled& filled) const {
    const Candidate& candidate = *hole.candidate;
    Suspicion suspicion;
    suspicion.kind = candidate.site->kind;
    suspicion.range = candidate.site->range;
    suspicion.alternative = *candidate.alternative;
    suspicion.left = candidate.left;
    suspicion.chosen = candidate.chosen;
    suspicion.ahead = hole.ahead.ahead;
    suspicion.after = hole.ahead.after;
    suspicion.beyond = hole.ahead.beyond;
    suspicion.both = filled.otherwise - filled.as_written;
    suspicion.confidence = filled.otherwise;
    suspicion.alternatives = static_cast<uint32_t>(candidate.site->alternatives.size());
    const Between between(text_, candidate.site->range);
    suspicion.alternative_elsewhere = between.elsewhere(suspicion.alternative);
    suspicion.written_elsewhere = between.elsewhere(hole.written);
    suspicion.uses = candidate.site->uses;
    if (!candidate.site->alternative_uses.empty()) {
      const auto chosen = candidate.alternative - candidate.site->alternatives.data();
      suspicion.alternative_uses = candidate.site->alternative_uses[static_cast<size_t>(chosen)];
    }
    return suspicion;
  }

  engine::Generator& generator_;
  const engine::Tokenizer& tokenizer_;
  const engine::PromptFormat& format_;
  const syntax::Language* language_;
  std::string_view text_;
  const LikelihoodLimits& limits_;
  const engine::CancelFlag& cancel_;
  bool structure_;
  std::string_view path_;
  std::vector<Part> layout_, head_;
  size_t lead_ = 0;  ///< tokens before the window's first
  size_t room_ = 0;  ///< for the window's tokens
  syntax::ScopeMap scopes_ = syntax::ScopeMap::whole_file(0);
  TokenSpan window_;
  size_t window_end_ = 0, first_ = 0;
  engine::Scored rows_;
};

}  // namespace

Result<std::vector<Suspicion>> suspicions(engine::Generator& generator,
                                          const syntax::Language* language, std::string_view path,
                                          std::string_view text,
                                          const syntax::FunctionSites& function,
                                          const LikelihoodLimits& limits,
                                          const engine::CancelFlag& cancel) {
  const engine::Capabilities can = generator.capabilities();
  if (!can.score || !can.fill_in_middle || generator.tokenizer() == nullptr ||
      generator.prompt_format() == nullptr) {
    return fail(ErrorCode::unsupported, "the model " + can.model +
                                            " gives no probabilities of a text with a hole, so it "
                                            "cannot review by likelihood");
  }
  Scorer scorer(generator, language, path, text, limits, cancel);
  if (auto ready = scorer.prepare(); !ready) return tl::unexpected(ready.error());
  std::vector<Suspicion> out;
  // A piece ends with a line.
  const size_t piece_bytes = static_cast<size_t>(limits.piece_tokens) * 4;
  size_t begin = line_begin(text, function.range.begin);
  while (begin < function.range.end) {
    size_t end = std::min<size_t>(function.range.end, begin + piece_bytes);
    if (end < function.range.end) {
      const size_t line = line_begin(text, end);
      end = line > begin ? line : function.range.end;
    }
    const bool any = std::any_of(
        function.sites.begin(), function.sites.end(),
        [&](const auto& site) { return site.range.begin >= begin && site.range.end <= end; });
    if (any) {
      const auto read = scorer.read_piece(begin, end, function.sites, out);
      if (!read) return tl::unexpected(read.error());
      end = std::max(*read, begin + 1);
    }
    begin = end;
  }
  std::sort(out.begin(), out.end(),
            [](const Suspicion& a, const Suspicion& b) { return a.range.begin < b.range.begin; });
  return out;
}

}  // namespace cambium::assist
