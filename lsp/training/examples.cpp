#include "lsp/training/examples.h"

#include <algorithm>
#include <utility>

namespace cambium::training {

namespace {

using engine::PromptFormat;
using engine::TokenId;

/// Segment ends move to the next line start, so that an example begins where a prompt would.
uint32_t next_line(std::string_view text, size_t at) {
  if (at >= text.size()) return static_cast<uint32_t>(text.size());
  const size_t end = text.find('\n', at);
  return static_cast<uint32_t>(end == std::string_view::npos ? text.size() : end + 1);
}

}  // namespace

void Examples::append(const Examples& other) {
  tokens.insert(tokens.end(), other.tokens.begin(), other.tokens.end());
  loss.insert(loss.end(), other.loss.begin(), other.loss.end());
  sizes.insert(sizes.end(), other.sizes.begin(), other.sizes.end());
  bytes += other.bytes;
  middles += other.middles;
  middle_tokens += other.middle_tokens;
  for (size_t i = 0; i < kinds.size(); ++i) kinds[i] += other.kinds[i];
}

Result<ExampleMaker> ExampleMaker::create(std::shared_ptr<const engine::Tokenizer> tokenizer,
                                          std::shared_ptr<const PromptFormat> format,
                                          ExampleOptions options) {
  ExampleMaker maker;
  if (tokenizer->size() > 65536)
    return fail(ErrorCode::invalid_argument, "the vocabulary has " + std::to_string(tokenizer->size()) +
                                                 " entries; prepared data holds 16-bit ids");
  const auto end = tokenizer->special("<|fim_end|>");
  if (!format->fim || !format->bos || !end)
    return fail(ErrorCode::invalid_argument,
                "the vocabulary has no fill-in-the-middle tokens, no <|fim_end|> or no bos");
  auto psm = format->fim_layout(engine::FimOrder::psm);
  if (!psm) return tl::unexpected(psm.error());
  auto spm = format->fim_layout(engine::FimOrder::spm);
  if (!spm) return tl::unexpected(spm.error());
  maker.psm_ = std::move(*psm);
  maker.spm_ = std::move(*spm);
  maker.bos_ = *format->bos;
  maker.file_ = format->file.value_or(-1);
  maker.end_ = *end;
  maker.tokenizer_ = std::move(tokenizer);
  maker.options_ = options;
  return maker;
}

/// One example under construction, appended to `out`.
struct ExampleMaker::Builder {
  const ExampleMaker& maker;
  Examples& out;
  size_t start = out.tokens.size();

  void special(TokenId id, bool predicted = false) {
    out.tokens.push_back(static_cast<uint16_t>(id));
    out.loss.push_back(predicted);
  }
  void text(const std::vector<TokenId>& ids, size_t from, size_t to, bool predicted = true) {
    for (size_t i = from; i < to; ++i) special(ids[i], predicted);
  }
  void file_name(std::string_view name) {
    if (maker.file_ < 0) return;
    special(maker.file_);
    const auto ids = maker.tokenizer_->encode(std::string(name) + "\n");
    text(ids, 0, ids.size(), false);
  }
  size_t size() const { return out.tokens.size() - start; }
  void finish() { out.sizes.push_back(static_cast<uint32_t>(size())); }
};

void ExampleMaker::plain(const SourceFile& file, ByteRange window, Random& random,
                         Examples& out) const {
  const auto ids = tokenizer_->encode(file.text.substr(window.begin, window.end - window.begin));
  Builder b{*this, out};
  b.special(bos_);
  if (random.chance(options_.named)) b.file_name(file.name());
  const size_t room = options_.max_tokens - std::min<size_t>(b.size() + 1, options_.max_tokens);
  b.text(ids, 0, std::min(ids.size(), room));
  if (window.end == file.text.size() && ids.size() <= room) b.special(bos_, true);
  b.finish();
}

void ExampleMaker::hole(const SourceFile& file, ByteRange window, const Cuts& cuts, Random& random,
                        Examples& out) const {
  const Hole hole = choose_hole(file.text, window, cuts, options_.max_middle_bytes, random);
  const auto piece = [&](uint32_t begin, uint32_t end) {
    return tokenizer_->encode(file.text.substr(begin, end - begin));
  };
  const auto prefix = piece(window.begin, hole.range.begin);
  const auto middle = piece(hole.range.begin, hole.range.end);
  const auto suffix = piece(hole.range.end, window.end);

  Builder b{*this, out};
  const auto& layout = random.chance(options_.suffix_first) ? spm_ : psm_;
  const bool named = random.chance(options_.named);
  // What is too long loses the end of the suffix, then the beginning of the prefix, as a prompt would.
  const size_t fixed = layout.size() + (named ? 2 + file.name().size() : 0) + middle.size() + 2;
  const size_t room = options_.max_tokens - std::min<size_t>(fixed, options_.max_tokens);
  const size_t n_suffix = std::min(suffix.size(), room > prefix.size() ? room - prefix.size() : room / 4);
  const size_t n_prefix = std::min(prefix.size(), room - n_suffix);

  for (const PromptFormat::Part& part : layout) {
    switch (part.kind) {
      case PromptFormat::Part::Kind::special:
        b.special(part.special);
        if (part.special == bos_ && b.size() == 1 && named) b.file_name(file.name());
        break;
      case PromptFormat::Part::Kind::prefix:
        b.text(prefix, prefix.size() - n_prefix, prefix.size());
        break;
      case PromptFormat::Part::Kind::suffix:
        b.text(suffix, 0, n_suffix);
        break;
    }
  }
  b.text(middle, 0, middle.size());
  b.special(end_, true);
  b.finish();
  ++out.middles;
  out.middle_tokens += middle.size() + 1;
  ++out.kinds[static_cast<size_t>(hole.kind)];
}

void ExampleMaker::make(const SourceFile& file, Examples& out) const {
  const std::string_view text = file.text;
  Random random(options_.seed, file.path);
  Cuts cuts;
  bool parsed = false;
  double bytes_per_token = 3.0;
  const double full = 0.92 * options_.max_tokens;
  for (uint32_t begin = 0; begin < text.size();) {
    const bool fill = random.chance(options_.fill_in_middle);
    // Short examples too: small files are common, and more holes fit into the same text.
    const double tokens = fill && random.chance(0.6) ? full * (0.12 + 0.4 * random.unit()) : full;
    uint32_t end = next_line(text, begin + static_cast<size_t>(tokens * bytes_per_token));
    if (text.size() - end < 400) end = static_cast<uint32_t>(text.size());
    const size_t before = out.tokens.size();
    const ByteRange window{begin, end};
    if (fill && end - begin >= 60) {
      if (!std::exchange(parsed, true)) cuts = find_cuts(text, syntax::language_of_file(file.name(), text.substr(0, 256)));
      hole(file, window, cuts, random, out);
    } else {
      plain(file, window, random, out);
    }
    const double made = static_cast<double>(out.tokens.size() - before);
    // The next segment is cut by what this one came to; a dense one more cautiously.
    bytes_per_token = std::clamp(0.5 * (bytes_per_token + (end - begin) / std::max(made, 1.0)), 1.2, 3.6);
    begin = end;
  }
  out.bytes += text.size();
}

}  // namespace cambium::training
