#include "lsp/training/examples.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "lsp/assist/prompt.h"
#include "lsp/assist/syntax_view.h"

namespace cambium::training {

namespace {

using assist::TokenSpan;
using engine::FimOrder;
using engine::PromptFormat;
using engine::TokenId;
using engine::TokenLabel;
using Kind = PromptFormat::Part::Kind;

/// Segment ends move to the next line start, so that an example begins where a prompt would.
uint32_t next_line(std::string_view text, size_t at) {
  if (at >= text.size()) return static_cast<uint32_t>(text.size());
  const size_t end = text.find('\n', at);
  return static_cast<uint32_t>(end == std::string_view::npos ? text.size() : end + 1);
}

/// Without its first `n` tokens.
void drop_front(TokenSpan& side, size_t n) {
  side.ids.erase(side.ids.begin(), side.ids.begin() + static_cast<std::ptrdiff_t>(n));
  side.bytes.erase(side.bytes.begin(), side.bytes.begin() + static_cast<std::ptrdiff_t>(n));
}
void keep_front(TokenSpan& side, size_t n) {
  side.ids.resize(n);
  side.bytes.resize(n);
}

}  // namespace

void Examples::append(const Examples& other) {
  tokens.insert(tokens.end(), other.tokens.begin(), other.tokens.end());
  loss.insert(loss.end(), other.loss.begin(), other.loss.end());
  labels.insert(labels.end(), other.labels.begin(), other.labels.end());
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
  const auto end = assist::end_of_middle(*tokenizer, *format);
  if (options.fill_in_middle > 0 && (!format->fim || !end))
    return fail(ErrorCode::invalid_argument,
                "the vocabulary has no fill-in-the-middle tokens or none that ends a middle");
  maker.tokenizer_ = std::move(tokenizer);
  maker.format_ = std::move(format);
  maker.end_ = end.value_or(-1);
  maker.options_ = options;
  return maker;
}

/// Only called with an order that the model has.
ExampleMaker::Layout ExampleMaker::layout(FimOrder order, std::string_view name) const {
  return assist::file_layout(*format_, *tokenizer_, order, name).value();
}

void ExampleMaker::append(TokenId id, bool predicted, TokenLabel label, Examples& out) const {
  out.tokens.push_back(id);
  out.loss.push_back(predicted);
  if (options_.labels) out.labels.insert(out.labels.end(), {label.scope, label.last, label.place});
}

void ExampleMaker::append(const assist::AlignedSequence& sequence, const Layout& layout,
                          size_t n_prefix, size_t n_suffix, bool predict_prefix,
                          bool predict_suffix, Examples& out) const {
  size_t at = 0;
  for (const PromptFormat::Part& part : layout) {
    const bool prefix = part.kind == Kind::prefix, suffix = part.kind == Kind::suffix;
    const size_t n = prefix ? n_prefix : suffix ? n_suffix : 1;
    const bool predicted = (prefix && predict_prefix) || (suffix && predict_suffix);
    for (const size_t stop = at + n; at < stop; ++at)
      append(sequence.tokens[at], predicted, sequence.structure.at(at), out);
  }
}

void ExampleMaker::plain(const SourceFile& file, ByteRange window, const syntax::ScopeMap& scopes,
                         Random& random, Examples& out) const {
  TokenSpan text = assist::encode_span(*tokenizer_, file.text, window.begin, window.end);
  Layout parts;
  if (format_->bos) parts.push_back({Kind::special, *format_->bos});
  const Layout line =
      assist::file_line(*format_, *tokenizer_, random.chance(options_.named) ? file.name() : "");
  parts.insert(parts.end(), line.begin(), line.end());
  parts.push_back({Kind::prefix});
  const size_t room = options_.max_tokens - std::min<size_t>(parts.size(), options_.max_tokens);
  const bool whole = window.end == file.text.size() && text.size() <= room;
  keep_front(text, std::min(text.size(), room));

  const size_t start = out.tokens.size();
  append(assist::align(parts, text, {}, scopes, {}), parts, text.size(), 0, true, true, out);
  // Where one token both begins and ends a text, its end is to be predicted too.
  if (whole && format_->bos && format_->bos == tokenizer_->special("<|endoftext|>"))
    append(*format_->bos, true, assist::token_label({}, static_cast<int32_t>(text.size())), out);
  out.sizes.push_back(static_cast<uint32_t>(out.tokens.size() - start));
}

void ExampleMaker::hole(const SourceFile& file, ByteRange window, const Cuts& cuts, Random& random,
                        Examples& out) const {
  const Hole hole = choose_hole(file.text, window, cuts, options_.max_middle_bytes, random);
  const bool wanted_spm = random.chance(options_.suffix_first);
  const bool spm = format_->fim->spm && (wanted_spm || !format_->fim->psm);
  const Layout parts =
      layout(spm ? FimOrder::spm : FimOrder::psm, random.chance(options_.named) ? file.name() : "");

  // The document as it is when the cursor stands in the empty hole.
  auto document = std::make_shared<std::string>(file.text.substr(0, hole.range.begin));
  const size_t cursor = document->size();
  document->append(file.text.substr(hole.range.end));
  assist::SyntaxRequest request;
  request.text = document;
  request.cursor = cursor;
  request.path = file.path;
  // Labels need no tree.
  request.scopes = std::make_shared<const syntax::ScopeMap>(
      syntax::ScopeMap::whole_file(static_cast<uint32_t>(document->size())));
  request.labels = options_.labels;
  const assist::SyntaxView syntax = assist::SyntaxView::make(request);

  const TokenSpan middle =
      assist::encode_span(*tokenizer_, file.text, hole.range.begin, hole.range.end);
  TokenSpan prefix = assist::encode_span(*tokenizer_, *document, window.begin, cursor);
  TokenSpan suffix = assist::encode_span(*tokenizer_, *document, cursor,
                                         window.end - (hole.range.end - hole.range.begin));
  // What is too long loses the end of the suffix, then the beginning of the prefix, as a prompt
  // would.
  const size_t fixed = parts.size() - 2 + middle.size() + 1;
  const size_t room = options_.max_tokens - std::min<size_t>(fixed, options_.max_tokens);
  keep_front(suffix,
             std::min(suffix.size(),
                      room > prefix.size() ? std::max(room - prefix.size(), room / 4) : room / 4));
  if (prefix.size() > room - suffix.size())
    drop_front(prefix, prefix.size() + suffix.size() - room);

  const size_t start = out.tokens.size();
  const auto sequence =
      assist::align(parts, prefix, suffix, syntax.label_map(), syntax.at_cursor());
  append(sequence, parts, prefix.size(), suffix.size(), !(options_.labels && spm), !options_.labels,
         out);
  const assist::MiddleLabels label_of = syntax.middle_labels(sequence.middle.place);
  const auto label = [&](std::string_view piece) {
    return label_of ? label_of(piece) : sequence.middle;
  };
  for (const TokenId id : middle.ids) append(id, true, label(tokenizer_->piece(id)), out);
  append(end_, true, label({}), out);
  out.sizes.push_back(static_cast<uint32_t>(out.tokens.size() - start));
  ++out.middles;
  out.middle_tokens += middle.size() + 1;
  ++out.kinds[static_cast<size_t>(hole.kind)];
}

void ExampleMaker::make(const SourceFile& file, Examples& out) const {
  const std::string_view text = file.text;
  const syntax::Language* language = syntax::language_of_file(file.path, text.substr(0, 256));
  Random random(options_.seed, file.path);
  std::optional<Cuts> cuts;
  std::optional<syntax::ScopeMap> scopes;
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
      if (!cuts) cuts = find_cuts(text, language);
      hole(file, window, *cuts, random, out);
    } else {
      if (!scopes)
        scopes = options_.labels ? syntax::read_scopes(language, text)
                                 : syntax::ScopeMap::whole_file(static_cast<uint32_t>(text.size()));
      plain(file, window, *scopes, random, out);
    }
    const double made = static_cast<double>(out.tokens.size() - before);
    // The next segment is cut by what this one came to; a dense one more cautiously.
    bytes_per_token =
        std::clamp(0.5 * (bytes_per_token + (end - begin) / std::max(made, 1.0)), 1.2, 3.6);
    begin = end;
  }
  out.bytes += text.size();
}

}  // namespace cambium::training
