#include "engine/tokenizer.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <unordered_map>

#include "engine/byte_alphabet.h"
#include "engine/byte_pairs.h"
#include "engine/gguf.h"
#include "engine/pretokenizer.h"

namespace cambium::engine {

namespace {

/// Values of `tokenizer.ggml.token_type`.
enum class TokenKind : int32_t { normal = 1, unknown, control, user_defined, unused, byte };

/// A word between two signs. Runs of signs alone ("<|||>") are operators of some language.
bool between(std::string_view s, std::string_view begin, std::string_view end) {
  if (s.size() <= begin.size() + end.size() || !s.starts_with(begin) || !s.ends_with(end))
    return false;
  s = s.substr(begin.size(), s.size() - begin.size() - end.size());
  return std::any_of(s.begin(), s.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  });
}

/// Spellings of markers. Converters disagree about their type, so that the spelling counts, unless
/// merges make the token from text.
bool is_marker(std::string_view s) {
  static constexpr std::string_view kPlain[] = {"<s>",   "</s>",  "<unk>", "<pad>", "<mask>",
                                                "<eos>", "<bos>", "<PRE>", "<SUF>", "<MID>",
                                                "<EOT>", "<cls>", "<sep>"};
  return between(s, "<|", "|>") || between(s, "<｜", "｜>") || between(s, "<fim_", ">") ||
         between(s, "<fim-", ">") || between(s, "[PAD", "]") ||
         std::find(std::begin(kPlain), std::end(kPlain), s) != std::end(kPlain);
}

/// Tokens typed as normal text that are markers all the same.
std::vector<bool> find_markers(std::span<const std::string_view> tokens,
                               std::span<const std::string_view> merges) {
  std::vector<bool> marker(tokens.size());
  std::unordered_map<std::string_view, size_t> candidates;
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (!is_marker(tokens[id])) continue;
    marker[id] = true;
    candidates.emplace(tokens[id], id);
  }
  std::string merged;
  for (const std::string_view merge : merges) {
    if (candidates.empty() || merge.empty() || (merge.back() != '>' && merge.back() != ']'))
      continue;
    merged = merge;
    std::erase(merged, ' ');
    if (const auto it = candidates.find(merged); it != candidates.end()) marker[it->second] = false;
  }
  return marker;
}

/// Stock files miss the pre-tokenizer's name if they were made before mid-2024.
std::string_view guess_family(std::span<const std::string_view> tokens) {
  const bool deepseek = std::find(tokens.begin(), tokens.end(), "<｜fim▁hole｜>") != tokens.end();
  if (deepseek && tokens.size() < 40000) return "deepseek-coder";
  if (deepseek) return tokens.size() < 110000 ? "deepseek-llm" : "deepseek-v3";
  return {};
}

class BpeTokenizer final : public Tokenizer {
 public:
  static Result<std::shared_ptr<const Tokenizer>> load(const GgufFile& file);

  std::vector<TokenId> encode(std::string_view text) const override {
    std::vector<TokenId> ids;
    ids.reserve(text.size() / 3 + 4);
    encode(text, ids, nullptr);
    return ids;
  }
  std::vector<TokenId> encode(std::string_view text,
                              std::vector<uint32_t>& offsets) const override {
    std::vector<TokenId> ids;
    ids.reserve(text.size() / 3 + 4);
    offsets.clear();
    encode(text, ids, &offsets);
    // Ends to beginnings. Several tokens for one unspellable byte share its place.
    uint32_t begin = 0, place = 0;
    for (uint32_t& offset : offsets) {
      const uint32_t end = offset;
      if (end != begin) {
        place = begin;
        begin = end;
      }
      offset = place;
    }
    return ids;
  }

  std::string_view piece(TokenId id) const override {
    return valid(id) ? pieces_[static_cast<size_t>(id)] : std::string_view{};
  }
  std::string decode(std::span<const TokenId> ids) const override {
    std::string out;
    for (const TokenId id : ids) out += piece(id);
    return out;
  }
  int32_t size() const override { return static_cast<int32_t>(pieces_.size()); }
  std::optional<TokenId> special(std::string_view spelling) const override {
    const auto it = special_.find(std::string(spelling));
    return it == special_.end() ? std::nullopt : std::optional(it->second);
  }
  bool is_control(TokenId id) const override {
    return !valid(id) || pieces_[static_cast<size_t>(id)].empty();
  }
  std::vector<TokenId> compatible_with(std::string_view bytes) const override;

 private:
  /// Tokens that plain text produces before any splitting, by their exact spelling.
  struct Added {
    std::string_view text;
    TokenId id;
  };

  bool valid(TokenId id) const { return id >= 0 && id < size(); }
  void encode(std::string_view text, std::vector<TokenId>& ids, std::vector<uint32_t>* ends) const;
  void encode_segment(std::string_view text, uint32_t base, std::vector<TokenId>& ids,
                      std::vector<uint32_t>* ends, std::vector<uint32_t>& bounds) const;
  const Added* added_at(std::string_view text) const;

  std::string bytes_;                     // all pieces, one after the other
  std::vector<std::string_view> pieces_;  // into bytes_
  std::unordered_map<std::string, TokenId> special_;
  std::vector<Added> added_;  // longest first
  std::array<bool, 256> added_first_{};
  std::unique_ptr<const Pretokenizer> pretokenizer_;
  std::unique_ptr<BytePairs> pairs_;
  mutable std::once_flag sort_once_;
  mutable std::vector<TokenId> by_bytes_;  // tokens with bytes, in order of those; see sort_once_
};

const BpeTokenizer::Added* BpeTokenizer::added_at(std::string_view text) const {
  for (const Added& added : added_) {
    if (text.starts_with(added.text)) return &added;
  }
  return nullptr;
}

void BpeTokenizer::encode_segment(std::string_view text, uint32_t base, std::vector<TokenId>& ids,
                                  std::vector<uint32_t>* ends,
                                  std::vector<uint32_t>& bounds) const {
  bounds.clear();
  pretokenizer_->split(text, 0, bounds);
  uint32_t begin = 0;
  for (const uint32_t end : bounds) {
    pairs_->encode(text.substr(begin, end - begin), base + begin, ids, ends);
    begin = end;
  }
}

void BpeTokenizer::encode(std::string_view text, std::vector<TokenId>& ids,
                          std::vector<uint32_t>* ends) const {
  std::vector<uint32_t> bounds;
  size_t begin = 0;
  if (!added_.empty()) {
    for (size_t i = 0; i < text.size();) {
      const Added* added = nullptr;
      if (added_first_[static_cast<uint8_t>(text[i])]) added = added_at(text.substr(i));
      if (!added) {
        ++i;
        continue;
      }
      encode_segment(text.substr(begin, i - begin), static_cast<uint32_t>(begin), ids, ends,
                     bounds);
      i += added->text.size();
      ids.push_back(added->id);
      if (ends) ends->push_back(static_cast<uint32_t>(i));
      begin = i;
    }
  }
  encode_segment(text.substr(begin), static_cast<uint32_t>(begin), ids, ends, bounds);
}

std::vector<TokenId> BpeTokenizer::compatible_with(std::string_view bytes) const {
  std::call_once(sort_once_, [this] {
    for (TokenId id = 0; id < size(); ++id) {
      if (!is_control(id)) by_bytes_.push_back(id);
    }
    std::sort(by_bytes_.begin(), by_bytes_.end(), [this](TokenId a, TokenId b) {
      return piece(a) != piece(b) ? piece(a) < piece(b) : a < b;
    });
  });
  const auto range = [this](std::string_view prefix) {
    return std::equal_range(by_bytes_.begin(), by_bytes_.end(), TokenId{-1},
                            [this, prefix](TokenId a, TokenId b) {
                              // -1 stands for `prefix`; only as many bytes as it has are compared.
                              const auto key = [&](TokenId id) {
                                return id < 0 ? prefix : piece(id).substr(0, prefix.size());
                              };
                              return key(a) < key(b);
                            });
  };
  auto [first, last] = range(bytes);
  std::vector<TokenId> out(first, last);
  for (size_t n = 1; n < bytes.size(); ++n) {
    const std::string_view prefix = bytes.substr(0, n);
    for (auto [it, end] = range(prefix); it != end && piece(*it).size() == n; ++it)
      out.push_back(*it);
  }
  std::sort(out.begin(), out.end());
  return out;
}

Result<std::shared_ptr<const Tokenizer>> BpeTokenizer::load(const GgufFile& file) {
  const auto damaged = [&](const std::string& what) {
    return fail(ErrorCode::bad_format, file.path() + ": the tokenizer is damaged: " + what);
  };
  const auto model = file.get_string("tokenizer.ggml.model");
  if (!model) return tl::unexpected(model.error());
  if (*model != "gpt2") {
    return fail(ErrorCode::unsupported, file.path() + " has a tokenizer of the kind '" +
                                            std::string(*model) +
                                            "'; supported is byte-level BPE ('gpt2')");
  }
  const auto tokens = file.get_strings("tokenizer.ggml.tokens");
  if (!tokens) return tl::unexpected(tokens.error());
  const auto merges = file.get_strings("tokenizer.ggml.merges");
  if (!merges) return tl::unexpected(merges.error());
  if (tokens->empty()) return damaged("it has no tokens");
  std::vector<int32_t> kinds(tokens->size(), static_cast<int32_t>(TokenKind::normal));
  if (file.has("tokenizer.ggml.token_type")) {
    auto stored = file.get_i32s("tokenizer.ggml.token_type");
    if (!stored) return tl::unexpected(stored.error());
    if (stored->size() != tokens->size()) {
      return damaged(std::to_string(stored->size()) + " token types for " +
                     std::to_string(tokens->size()) + " tokens");
    }
    kinds = std::move(*stored);
  }
  const auto family = file.has("tokenizer.ggml.pre") ? file.get_string("tokenizer.ggml.pre")
                                                     : guess_family(*tokens);
  if (!family) return tl::unexpected(family.error());
  auto pretokenizer = Pretokenizer::create(*family);
  if (!pretokenizer)
    return fail(pretokenizer.error().code, file.path() + ": " + pretokenizer.error().message);

  auto result = std::make_shared<BpeTokenizer>();
  result->pretokenizer_ = std::move(*pretokenizer);

  // All bytes go into one string first; views are taken when it no longer grows.
  const ByteAlphabet alphabet;
  std::vector<size_t> begins;
  begins.reserve(tokens->size() + 1);
  const std::vector<bool> markers = find_markers(*tokens, *merges);
  std::vector<bool> mergeable(tokens->size());
  std::vector<TokenId> added;
  for (size_t id = 0; id < tokens->size(); ++id) {
    const std::string_view spelling = (*tokens)[id];
    const auto kind = static_cast<TokenKind>(kinds[id]);
    begins.push_back(result->bytes_.size());
    const bool hidden = markers[id] || kind == TokenKind::control || kind == TokenKind::unknown ||
                        kind == TokenKind::unused;
    if (hidden || kind == TokenKind::user_defined) {
      result->special_.emplace(spelling, static_cast<TokenId>(id));
    }
    if (hidden) continue;
    if (kind == TokenKind::user_defined) {
      result->bytes_ += spelling;
      // "<think>" shows as text when a model writes it, but a file that spells it means text.
      if (!spelling.empty() && !between(spelling, "<", ">"))
        added.push_back(static_cast<TokenId>(id));
    } else if (alphabet.decode(spelling, result->bytes_)) {
      mergeable[id] = true;
    } else {
      result->bytes_ += spelling;
    }
  }
  begins.push_back(result->bytes_.size());
  const std::string_view all = result->bytes_;
  std::vector<std::string_view> from_text(tokens->size());
  for (size_t id = 0; id < tokens->size(); ++id) {
    result->pieces_.push_back(all.substr(begins[id], begins[id + 1] - begins[id]));
    if (mergeable[id]) from_text[id] = result->pieces_[id];
  }
  for (const TokenId id : added) {
    const std::string_view text = result->piece(id);
    result->added_.push_back({text, id});
    result->added_first_[static_cast<uint8_t>(text[0])] = true;
  }
  std::stable_sort(result->added_.begin(), result->added_.end(),
                   [](const Added& a, const Added& b) { return a.text.size() > b.text.size(); });

  result->pairs_ = std::make_unique<BytePairs>(std::move(from_text), merges->size(),
                                               result->pretokenizer_->ignores_merges());
  std::string bytes;
  for (size_t i = 0; i < merges->size(); ++i) {
    const std::string_view merge = (*merges)[i];
    const size_t space = merge.find(' ', 1);
    bytes.clear();
    bool good = space != std::string_view::npos && alphabet.decode(merge.substr(0, space), bytes);
    const size_t left = bytes.size();
    good = good && alphabet.decode(merge.substr(space + 1), bytes);
    const std::string_view whole = bytes;
    if (!good || !result->pairs_->add_merge(whole.substr(0, left), whole.substr(left), whole)) {
      return damaged("merge " + std::to_string(i) + " is not of three tokens of its vocabulary");
    }
  }

  // Bytes that occur in UTF-8 must be there. Some vocabularies lack the 13 others; where a file
  // that is no valid text holds one, the model sees what every decoder of UTF-8 puts there, U+FFFD.
  result->pairs_->replacement.clear();
  for (int b = 0; b < 256; ++b) {
    const char c = static_cast<char>(b);
    const bool in_utf8 = b < 0xc0 || (b > 0xc1 && b < 0xf5);
    if (in_utf8 && result->pairs_->find({&c, 1}) < 0) {
      return damaged("no token stands for the byte " + std::to_string(b));
    }
  }
  std::vector<TokenId> replacement;
  result->pairs_->encode("\xef\xbf\xbd", 0, replacement, nullptr);
  result->pairs_->replacement = std::move(replacement);
  return result;
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_gguf(const GgufFile& file) {
  return BpeTokenizer::load(file);
}

}  // namespace cambium::engine
