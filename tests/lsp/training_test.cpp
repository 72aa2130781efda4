// What training sees is what serving builds: examples of cambium-prepare beside the requests that a
// Completer makes for the same document and cursor, with the shipped vocabulary.
#include <doctest/doctest.h>

#include <algorithm>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "engine/generator.h"
#include "engine/gguf.h"
#include "lsp/assist/completer.h"
#include "lsp/assist/prompt.h"
#include "lsp/assist/syntax_view.h"
#include "lsp/eval/cases.h"
#include "lsp/training/examples.h"
#include "tests/support/source_dir.h"

using namespace cambium;
using engine::TokenId;
using engine::TokenLabel;
using training::ExampleMaker;
using training::ExampleOptions;
using training::Examples;
using training::SourceFile;

namespace {

/// The shipped tokenizer; takes one request and answers nothing.
class Recorder final : public engine::Generator {
 public:
  Recorder() {
    const auto file =
        engine::GgufFile::open(cambium::test::source_dir() + "/engine/models/cambium-coder.gguf")
            .value();
    tokenizer_ = engine::Tokenizer::from_gguf(*file).value();
    format_ = engine::PromptFormat::from_gguf(*file, *tokenizer_).value();
  }
  engine::Capabilities capabilities() const override {
    engine::Capabilities can;
    can.model = "recorder";
    can.context = 8192;
    can.fill_in_middle = can.step_control = can.structure = can.token_prompts = true;
    return can;
  }
  const engine::Tokenizer* tokenizer() const override { return tokenizer_.get(); }
  const engine::PromptFormat* prompt_format() const override { return format_.get(); }
  void generate(engine::Request request, engine::OnText, engine::OnDone done) override {
    last = std::move(request);
    done(engine::Generated{});
  }
  void score(engine::ScoreRequest, engine::OnScored done) override {
    done(fail(ErrorCode::unsupported, "scores nothing"));
  }

  std::shared_ptr<const engine::Tokenizer> tokenizer_;
  std::shared_ptr<const engine::PromptFormat> format_;
  engine::Request last;
};

const std::shared_ptr<Recorder>& recorder() {
  static const auto made = std::make_shared<Recorder>();
  return made;
}

struct Source {
  std::string path, text;
};

const std::vector<Source> kSources = {
    {"python/a/pkg/shapes.py",
     "import math\n\n\nclass Circle:\n    def __init__(self, radius):\n        self.radius = "
     "radius\n\n"
     "    def area(self):\n        if self.radius < 0:\n            raise ValueError(self.radius)\n"
     "        return math.pi * self.radius ** 2\n\n\ndef main():\n    for r in range(3):\n"
     "        print(Circle(r).area())\n"},
    {"cpp/b/src/queue.cpp",
     "#include <deque>\r\n\r\nnamespace b {\r\n\r\nclass Queue {\r\n public:\r\n"
     "  void push(int v) { items_.push_back(v); }\r\n  bool pop(int& v) {\r\n"
     "    if (items_.empty()) {\r\n      return false;\r\n    }\r\n    v = items_.front();\r\n"
     "    items_.pop_front();\r\n    return true;\r\n  }\r\n\r\n private:\r\n"
     "  std::deque<int> items_;\r\n};\r\n\r\n}  // namespace b\r\n"},
    {"typescript/c/größe.ts",
     "export function sum(values: number[]): number {\n  let result = 0; // \u00fcber alles\n"
     "  for (const value of values) {\n    result += value;\n  }\n  return result;\n}\n\n"
     "export const mean = (values: number[]) => {\n  return sum(values) / values.length;\n};\n"},
    {"lua/d/init.lua",
     "local M = {}\n\nfunction M.map(list, f)\n  local out = {}\n  for i, v in ipairs(list) do\n"
     "    out[i] = f(v)\n  end\n  return out\nend\n\nreturn M\n"},
    {"none/e/notes.unknown",
     "nothing is known of this language\nbut it has a few lines\nand some more\nto cut a hole "
     "in\n"},
};

/// One source after the other, long enough for several examples.
Source long_source() {
  Source made{"python/f/long.py", ""};
  for (int i = 0; i < 260; ++i) {
    const std::string n = std::to_string(i);
    made.text += "def step_" + n + "(state, value):\n    if value > " + n +
                 ":\n        state.append(value)\n    return state\n\n\n";
  }
  return made;
}

Examples prepare(const Source& source, ExampleOptions options) {
  const auto maker = ExampleMaker::create(recorder()->tokenizer_, recorder()->format_, options);
  REQUIRE(maker.has_value());
  Examples out;
  maker->make(SourceFile{source.path, source.text}, out);
  return out;
}

/// An example taken apart by its markers.
struct Parts {
  std::vector<TokenId> tokens;  ///< up to where the middle begins
  std::vector<TokenLabel> labels;
  std::vector<TokenId> middle;
  std::vector<TokenLabel> middle_labels;  ///< also of the end
  std::string prefix, suffix;             ///< as the model sees them
  bool spm = false, named = false;
};

/// In spm the middle follows the prefix directly; with labels the loss tells where it begins.
std::vector<Parts> take_apart(const Examples& all, const Source& source) {
  const auto& format = *recorder()->format_;
  const auto& tokenizer = *recorder()->tokenizer_;
  std::string plain;
  for (const char c : source.text)
    if (c != '\r') plain += c;
  std::vector<Parts> made;
  size_t at = 0, begin = 0;  // in all.tokens, in plain
  for (const uint32_t size : all.sizes) {
    std::vector<TokenId> ids(all.tokens.begin() + static_cast<std::ptrdiff_t>(at),
                             all.tokens.begin() + static_cast<std::ptrdiff_t>(at + size));
    const auto find = [&](TokenId id) {
      return static_cast<size_t>(std::find(ids.begin(), ids.end(), id) - ids.begin());
    };
    const auto text = [&](size_t from, size_t to) {
      return tokenizer.decode(std::span(ids).subspan(from, to - from));
    };
    const size_t pre = find(format.fim->prefix), suf = find(format.fim->suffix),
                 mid = find(format.fim->middle);
    REQUIRE(pre < mid);
    REQUIRE(ids.back() == tokenizer.special("<|fim_end|>"));
    Parts p;
    p.named = find(*format.file) < size;
    p.spm = suf == pre + 1;
    p.suffix = text(suf + 1, mid);
    size_t middle = mid + 1;
    if (p.spm) {
      const std::string both = text(mid + 1, size - 1);
      REQUIRE(plain.compare(begin, both.size(), both) == 0);
      while (middle < size && all.loss[at + middle] == 0) ++middle;
      p.prefix = text(mid + 1, middle);
      begin += both.size() + p.suffix.size();
    } else {
      p.prefix = text(pre + 1, suf);
      begin += p.prefix.size() + text(middle, size - 1).size() + p.suffix.size();
    }
    for (size_t i = 0; i < size; ++i) {
      const auto* label = &all.labels[3 * (at + i)];
      (i < middle ? p.labels : p.middle_labels).push_back({label[0], label[1], label[2]});
      if (i < middle)
        p.tokens.push_back(ids[i]);
      else if (i + 1 < size)
        p.middle.push_back(ids[i]);
    }
    made.push_back(std::move(p));
    at += size;
  }
  CHECK(begin == plain.size());  // every byte of the file is in one example
  return made;
}

bool same_labels(const std::vector<TokenLabel>& got, const engine::TokenStructure& want) {
  if (got.size() != want.size()) return false;
  for (size_t i = 0; i < got.size(); ++i)
    if (!(got[i] == want.at(i))) return false;
  return true;
}

}  // namespace

TEST_CASE("training: an example is the request that a completion makes") {
  int compared = 0, healed = 0;
  for (const Source& source : kSources) {
    for (uint64_t seed = 1; seed <= 12; ++seed) {
      CAPTURE(source.path);
      CAPTURE(seed);
      ExampleOptions options;
      options.fill_in_middle = options.suffix_first = options.named = 1.0;
      options.labels = true;
      options.seed = seed;
      const auto examples = take_apart(prepare(source, options), source);
      REQUIRE(examples.size() == 1);
      const Parts& example = examples.front();

      assist::CompletionInput input;
      input.text = std::make_shared<const std::string>(example.prefix + example.suffix);
      input.cursor = example.prefix.size();
      input.path = source.path;
      recorder()->last = {};
      {
        assist::Completer completer(recorder());
        std::promise<void> answered;
        completer.complete(input, [&](auto) { answered.set_value(); });
        answered.get_future().wait();
      }
      const engine::Request& request = recorder()->last;
      REQUIRE(request.controller != nullptr);
      if (const std::string begun(request.controller->required_prefix()); !begun.empty()) {
        // A word cut in half is learnt from, but served with its tokens chosen anew.
        ++healed;
        REQUIRE(example.prefix.ends_with(begun));
        CHECK(request.prompt.size() < example.tokens.size());
        CHECK(std::equal(request.prompt.begin(), request.prompt.end(), example.tokens.begin()));
        continue;
      }
      ++compared;
      CHECK(request.prompt == example.tokens);
      CHECK(same_labels(example.labels, request.structure));
      // The middle, as the engine would report it; serving may stop earlier than the file does.
      std::string before;
      for (size_t i = 0; i < example.middle.size(); ++i) {
        const std::string_view piece = recorder()->tokenizer_->piece(example.middle[i]);
        const auto decision = request.controller->on_token({example.middle[i], piece, before, 0});
        if (decision.verdict != engine::StepDecision::Verdict::accept) break;
        REQUIRE(decision.label.has_value());
        CHECK(*decision.label == example.middle_labels[i]);
        before += piece;
      }
    }
  }
  CHECK(compared > 10);
  CHECK(healed > 10);
}

/// The examples of a source beside what serving makes of the same document, cursor and window:
/// tokens, labels, and the labels of the middle however much of it is there yet. Returns how many.
size_t check_windows(const Source& source, double suffix_first, uint64_t seed) {
  ExampleOptions options;
  options.fill_in_middle = 1.0;
  options.suffix_first = suffix_first;
  options.labels = true;
  options.seed = seed;
  const auto examples = take_apart(prepare(source, options), source);
  const auto& tokenizer = *recorder()->tokenizer_;
  training::Random random(seed, source.path);
  size_t begin = 0;
  for (const Parts& example : examples) {
    const std::string middle = tokenizer.decode(example.middle);
    const size_t cursor = begin + example.prefix.size();
    assist::SyntaxRequest asked;
    std::string document = source.text;
    document.erase(cursor, middle.size());
    asked.text = std::make_shared<const std::string>(document);
    asked.cursor = cursor;
    asked.path = source.path;
    const auto view = assist::SyntaxView::make(asked);
    const auto layout =
        assist::file_layout(*recorder()->format_, tokenizer,
                            example.spm ? engine::FimOrder::spm : engine::FimOrder::psm,
                            example.named ? source.path : "");
    REQUIRE(layout.has_value());
    const auto expected = assist::align(
        *layout, assist::encode_span(tokenizer, document, begin, cursor),
        assist::encode_span(tokenizer, document, cursor, cursor + example.suffix.size()),
        view.label_map(), view.at_cursor());
    CHECK(expected.tokens == example.tokens);
    CHECK(same_labels(example.labels, expected.structure));
    // Written up to anywhere, the middle has had the labels that training gave it.
    for (int cut = 0; cut < 3; ++cut) {
      const size_t n = random.below(static_cast<uint32_t>(example.middle.size()) + 1);
      const auto label_of = view.middle_labels(expected.middle.place);
      for (size_t i = 0; i < n; ++i)
        REQUIRE(label_of(tokenizer.piece(example.middle[i])) == example.middle_labels[i]);
      // As is the token that ends it: by what stands before it, like white space.
      if (n == example.middle.size()) CHECK(label_of({}) == example.middle_labels.back());
    }
    begin = cursor + middle.size() + example.suffix.size();
  }
  return examples.size();
}

TEST_CASE("training: windows of a longer file have the labels of the whole document") {
  for (const double suffix_first : {0.0, 1.0})
    CHECK(check_windows(long_source(), suffix_first, 1) > 4);
}

TEST_CASE("training: scopes are those of serving in every language, wherever the hole is") {
  const auto samples =
      eval::read_sources(cambium::test::source_dir() + "/tests/syntax/samples").value();
  CHECK(samples.files.size() >= 16);
  for (const SourceFile& file : samples.files) {
    CAPTURE(file.path);
    for (uint64_t seed = 1; seed <= 4; ++seed)
      check_windows({std::string(file.path), std::string(file.text)}, seed % 2 ? 1.0 : 0.0, seed);
  }
}

TEST_CASE("training: with labels, loss is taken only where they give nothing away") {
  const auto& format = *recorder()->format_;
  for (const bool spm : {false, true}) {
    for (const bool labels : {false, true}) {
      ExampleOptions options;
      options.fill_in_middle = 1.0;
      options.suffix_first = spm ? 1.0 : 0.0;
      options.labels = labels;
      const Examples made = prepare(kSources[0], options);
      REQUIRE(made.sizes.size() == 1);
      CHECK(made.labels.size() == (labels ? 3 * made.tokens.size() : 0));
      const auto find = [&](TokenId id) {
        return static_cast<size_t>(std::find(made.tokens.begin(), made.tokens.end(), id) -
                                   made.tokens.begin());
      };
      const size_t pre = find(format.fim->prefix), suf = find(format.fim->suffix),
                   mid = find(format.fim->middle);
      const auto predicted = [&](size_t from, size_t to) {
        return std::count(made.loss.begin() + static_cast<std::ptrdiff_t>(from),
                          made.loss.begin() + static_cast<std::ptrdiff_t>(to), 1);
      };
      CHECK(predicted(0, pre + 1) == 0);
      CHECK((predicted(suf + 1, mid) > 0) == !labels);
      if (!spm) CHECK(predicted(pre + 1, suf) == static_cast<std::ptrdiff_t>(suf - pre - 1));
      const bool all = predicted(mid + 1, made.tokens.size()) ==
                       static_cast<std::ptrdiff_t>(made.tokens.size() - mid - 1);
      CHECK(all == !(spm && labels));
      CHECK(made.loss.back() == 1);
    }
  }
}

TEST_CASE("training: plain text is labelled as it is read") {
  ExampleOptions options;
  options.fill_in_middle = 0.0;
  options.labels = true;
  const Source& source = kSources[0];
  const Examples made = prepare(source, options);
  REQUIRE(made.sizes.size() == 1);
  CHECK(made.tokens.front() == *recorder()->format_->bos);
  CHECK(made.tokens.back() == *recorder()->format_->bos);
  const auto span =
      assist::encode_span(*recorder()->tokenizer_, source.text, 0, source.text.size());
  const size_t lead = made.tokens.size() - 1 - span.size();
  const auto map = syntax::read_scopes(syntax::language_by_id("python"), source.text);
  for (size_t i = 0; i < span.size(); ++i) {
    const auto label = map.label_at(span.bytes[i]);
    REQUIRE(made.tokens[lead + i] == span.ids[i]);
    CHECK(made.loss[lead + i] == 1);
    CHECK(made.labels[3 * (lead + i)] == label.scope);
    CHECK(made.labels[3 * (lead + i) + 1] == label.last);
    CHECK(made.labels[3 * (lead + i) + 2] == static_cast<int32_t>(i));
  }
}

TEST_CASE("training: an example keeps to its length and the same seed gives the same examples") {
  const Source source = long_source();
  ExampleOptions options;
  options.max_tokens = 300;
  options.labels = true;
  const Examples made = prepare(source, options), again = prepare(source, options);
  CHECK(*std::max_element(made.sizes.begin(), made.sizes.end()) <= 300);
  CHECK(made.tokens == again.tokens);
  CHECK(made.labels == again.labels);
  options.seed = 2;
  CHECK(prepare(source, options).tokens != made.tokens);
}

TEST_CASE("training: holes lie in their window, on character boundaries") {
  for (const Source& source : kSources) {
    const std::string_view text = source.text;
    const auto cuts = training::find_cuts(text, syntax::language_of_file(source.path));
    training::Random random(5);
    const auto inside_character = [&](uint32_t at) {
      return at < text.size() && ((static_cast<uint8_t>(text[at]) & 0xc0) == 0x80 ||
                                  (at > 0 && text[at - 1] == '\r' && text[at] == '\n'));
    };
    const auto second = static_cast<uint32_t>(text.find('\n') + 1);
    for (int round = 0; round < 2000; ++round) {
      const training::ByteRange window{round % 2 ? second : 0u, static_cast<uint32_t>(text.size())};
      const auto hole = training::choose_hole(text, window, cuts, 60, random);
      REQUIRE(hole.range.begin >= window.begin);
      REQUIRE(hole.range.end >= hole.range.begin);
      REQUIRE(hole.range.end <= window.end);
      REQUIRE(hole.range.end - hole.range.begin <= 60);
      REQUIRE_FALSE(inside_character(hole.range.begin));
      REQUIRE_FALSE(inside_character(hole.range.end));
    }
  }
}

TEST_CASE("training: a container that is cut off is refused, wherever it is cut") {
  std::string bytes;
  const auto add = [&](std::string_view path, std::string_view text) {
    bytes += {static_cast<char>(path.size()), 0, static_cast<char>(text.size()), 0, 0, 0};
    bytes.append(path).append(text);
  };
  add("go/p/a.go", "package a\n");
  const size_t first = bytes.size();
  add("c/q/b.c", "");
  const auto whole = training::read_container(bytes);
  REQUIRE(whole.has_value());
  REQUIRE(whole->size() == 2);
  CHECK(whole->at(0).language() == "go");
  CHECK(whole->at(0).name() == "a.go");
  CHECK(whole->at(0).text == "package a\n");
  CHECK(whole->at(1).text.empty());
  for (size_t n = 1; n < bytes.size(); ++n) {
    const auto cut = training::read_container(std::string_view(bytes).substr(0, n));
    CHECK(cut.has_value() == (n == first));
  }
}
