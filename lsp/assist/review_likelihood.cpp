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
    engine::ScoreRequest request;
    AlignedSequence sequence = align(head_, window_, {}, scopes_, {});
    request.tokens = std::move(sequence.tokens);
    if (structure_) request.structure = std::move(sequence.structure);
    request.first = static_cast<int32_t>(lead_ + first_);
    if (request.first < 1 || request.tokens.size() <= static_cast<size_t>(request.first))
      return end;
    request.top = kAlternatives;
    request.cancel = cancel_;
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
    for (Candidate& candidate : candidates) {
      const auto ahead = look_ahead(candidate);
      if (!ahead) return tl::unexpected(ahead.error());
      if (ahead->ahead <= limits_.least_ahead) continue;
      auto suspicion = look_at_both_sides(candidate);
      if (!suspicion) return tl::unexpected(suspicion.error());
      if (suspicion->both <= limits_.least_both) continue;
      suspicion->ahead = ahead->ahead;
      suspicion->after = ahead->after;
      suspicion->beyond = ahead->beyond;
      suspicion->rivals = rivals;
      out.push_back(std::move(*suspicion));
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

  /// How much likelier the alternative and what follows are than what is written.
  Result<Ahead> look_ahead(const Candidate& candidate) {
    const auto after_at = [&](int32_t tokens) {
      return std::min(candidate.after + static_cast<size_t>(tokens), window_.size());
    };
    const auto byte_of = [&](size_t token) {
      return token == window_.size() ? window_end_ : window_.bytes[token];
    };
    const size_t near = after_at(limits_.ahead_tokens);
    const size_t stop = after_at(limits_.ahead_tokens + limits_.beyond_tokens);
    const size_t stop_byte = byte_of(stop);
    TokenSpan otherwise;
    const auto n = static_cast<std::ptrdiff_t>(candidate.first);
    otherwise.ids.assign(window_.ids.begin(), window_.ids.begin() + n);
    otherwise.bytes.assign(window_.bytes.begin(), window_.bytes.begin() + n);
    std::vector<uint32_t> offsets;
    const std::string changed =
        candidate.lead + *candidate.alternative + candidate.tail +
        std::string(text_.substr(candidate.tokens_end, stop_byte - candidate.tokens_end));
    const std::vector<TokenId> ids = tokenizer_.encode(changed, offsets);
    const size_t begin = window_.bytes[candidate.first];
    for (size_t i = 0; i < ids.size(); ++i) {
      otherwise.ids.push_back(ids[i]);
      otherwise.bytes.push_back(
          static_cast<uint32_t>(std::min<size_t>(begin + offsets[i], stop_byte)));
    }
    engine::ScoreRequest request;
    AlignedSequence sequence = align(head_, otherwise, {}, scopes_, {});
    request.tokens = std::move(sequence.tokens);
    if (structure_) request.structure = std::move(sequence.structure);
    request.first = static_cast<int32_t>(lead_ + candidate.first);
    request.cancel = cancel_;
    auto scored = score(generator_, std::move(request));
    if (!scored) return tl::unexpected(scored.error());
    const size_t own_bytes =
        candidate.lead.size() + candidate.alternative->size() + candidate.tail.size();
    const size_t near_bytes = own_bytes + byte_of(near) - candidate.tokens_end;
    Ahead out;
    const auto add = [&](float logprob, bool follows, bool is_near) {
      (is_near ? out.ahead : out.beyond) += logprob;
      if (follows && is_near) out.after += logprob;
    };
    for (size_t i = 0; i < scored->logprobs.size(); ++i)
      add(scored->logprobs[i], offsets[i] >= own_bytes, offsets[i] < near_bytes);
    for (size_t i = candidate.first; i < stop; ++i)
      add(-rows_.logprobs[i - first_], i >= candidate.after, i < near);
    return out;
  }

  Result<Suspicion> look_at_both_sides(const Candidate& candidate) {
    const size_t begin = window_.bytes[candidate.first];
    TokenSpan prefix;
    const auto n = static_cast<std::ptrdiff_t>(candidate.first);
    prefix.ids.assign(window_.ids.begin(), window_.ids.begin() + n);
    prefix.bytes.assign(window_.bytes.begin(), window_.bytes.begin() + n);
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
    const AlignedSequence sequence =
        align(layout_, prefix, suffix, labeler ? labeler->map() : scopes_, at_cursor);

    const std::string written(text_.substr(
        candidate.site->range.begin, candidate.site->range.end - candidate.site->range.begin));
    auto as_written = fill(sequence, candidate.lead + written + rest);
    if (!as_written) return tl::unexpected(as_written.error());
    Suspicion suspicion;
    auto otherwise = fill(sequence, candidate.lead + *candidate.alternative + rest);
    if (!otherwise) return tl::unexpected(otherwise.error());
    suspicion.kind = candidate.site->kind;
    suspicion.range = candidate.site->range;
    suspicion.alternative = *candidate.alternative;
    suspicion.left = candidate.left;
    suspicion.chosen = candidate.chosen;
    suspicion.both = *otherwise - *as_written;
    suspicion.confidence = *otherwise;
    suspicion.alternatives = static_cast<uint32_t>(candidate.site->alternatives.size());
    const Between between(text_, candidate.site->range);
    suspicion.alternative_elsewhere = between.elsewhere(suspicion.alternative);
    suspicion.written_elsewhere = between.elsewhere(written);
    suspicion.uses = candidate.site->uses;
    if (!candidate.site->alternative_uses.empty()) {
      const auto chosen = candidate.alternative - candidate.site->alternatives.data();
      suspicion.alternative_uses = candidate.site->alternative_uses[static_cast<size_t>(chosen)];
    }
    return suspicion;
  }

  /// log P(middle, and then its end), given both sides.
  Result<float> fill(const AlignedSequence& sequence, const std::string& middle) {
    engine::ScoreRequest request;
    request.tokens = sequence.tokens;
    if (structure_) request.structure = sequence.structure;
    request.first = static_cast<int32_t>(request.tokens.size());
    const auto append = [&](TokenId id) {
      request.tokens.push_back(id);
      if (structure_) request.structure.push_back(sequence.middle);
    };
    const std::vector<TokenId> ids = tokenizer_.encode(middle);
    for (const TokenId id : ids) append(id);
    // How the model says that the hole is full; the likeliest of its ends counts.
    if (!format_.end.empty()) append(format_.end.front());
    request.top = 2;
    request.cancel = cancel_;
    auto scored = score(generator_, std::move(request));
    if (!scored) return tl::unexpected(scored.error());
    float sum = 0;
    for (size_t i = 0; i < ids.size(); ++i) sum += scored->logprobs[i];
    if (scored->logprobs.size() > ids.size()) {
      float end = scored->logprobs[ids.size()];
      for (const auto& alternative : scored->alternatives[ids.size()]) {
        if (format_.is_end(alternative.token)) end = std::max(end, alternative.logprob);
      }
      sum += end;
    }
    return sum;
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
