#include "syntax/scopes.h"

#include "syntax/body_reader.h"
#include "tests/syntax/support.h"

using namespace cambium::syntax;
using namespace cambium::syntax::test;

namespace {

/// The text with « and » around each body.
std::string drawn(const char* id, std::string_view text) {
  const ScopeMap map = read_scopes(language_by_id(id), text);
  CHECK(defect(map) == "");
  std::string out;
  for (uint32_t at = 0; at <= text.size(); ++at) {
    for (size_t i = map.scopes().size(); i-- > 1;)
      if (map.scopes()[i].body.end == at && map.scopes()[i].body.begin < at) out += "»";
    for (size_t i = 1; i < map.scopes().size(); ++i)
      if (map.scopes()[i].body.begin == at && map.scopes()[i].body.end > at) out += "«";
    if (at < text.size()) out += text[at];
  }
  return out;
}

}  // namespace

TEST_CASE("a body is whole lines, from the line after its opener to its closer") {
  const struct {
    const char *language, *marked;
  } cases[] = {
      {"c", "int f() {\n«  x;\n}»\n"},
      {"c", "int f()\n{\n«  x;\n}»\n"},
      {"c", "int f() { return 1; }\n"},
      {"c", "struct { int a; } b = {\n« 1 }»;\n"},
      {"c", "a(1, {\n« 2\n}»);\n"},
      {"c", "if (a) {\n« b;\n}» else {\n« c;\n}»\n"},
      {"c", "char a = '{', b = '\\'', c = '\"';\nvoid f() {\n«}»\n"},
      {"c", "#define A {\n#define B \\\n  {\nvoid f() {\n«}»\n"},
      {"c", "#include <sys/types.h>\n#define A 1 /* {\n { */ {\nvoid f() {\n«}»\n"},
      {"c", "#if A\nif (a) {\n«#else»\nif (b) {\n«#endif\n x;\n}»\n"},
      {"c", "// {\n/* { \n { */ x { y; }\n"},
      {"c", "f(\"unterminated {\n);\nvoid g() {\n«}»\n"},
      {"cpp", "auto a = R\"d({ )\" )d\"; int b = 1'000'000;\nvoid f() {\n«}»\n"},
      {"cpp", "f([&] {\n« g({\n« 1 }»);\n}»);\n"},
      {"rust", "use a::{\n b,\n};\nfn f<'a>(x: &'a str) {\n« '{'; b'\"'; r#\"{\"\"#; }»\n"},
      {"javascript", "import {\n a } from 'b';\nexport {\n c };\nx = {\n« d: 1 }»;\n"},
      {"javascript", "let r = a.b(/[/{]'/g), s = a / b / c;\nf(() => {\n«}»)\n"},
      {"javascript", "`a ${ b ? `{` : {\n« c: 1 }» } {`\n"},
      {"typescript", "import a, {\n b } from 'c';\nimport('d', {\n« e: 1 }»);\n"},
      {"tsx", "return <p>It's {\n« x }»</p>;\n"},
      {"python", "def f(a,\n      b):\n«    x = 1\n\n    y = 2»\nz = 3\n"},
      {"python", "if a: b\nelse:\n«    c»\nd\n"},
      {"python",
       "class A:\n«    def f(self):\n«        pass»\n\n    def g(self):\n«        pass»»\nx\n"},
      {"python", "def f():\n«    '''doc:\nnot a line of code\n    '''\n    x = [\n1:2\n]»\ny\n"},
      {"python", "x = {\n« 'a': 1 }»\nwhile x: # {\n«  y»\nz"},
      {"python", "def f(): # comment\n«\tx = ''\n\tif x and \\\n\t  y:\n«\t\tz»»\nw\n"},
      {"python", "def f():\n«    x = (1,»\ndef g():\n«    pass\n»"},  // never closed
      {"ruby", "def f(a,\n      b)\n«  x if y\n  z = if a then b else c end\nend»\n"},
      {"ruby", "def f\n« \"#{end}\"\n \"#{\nelse\n y }\"\nend»\n"},
      {"ruby", "def f = 1\ndef ==(o)\n«  1\nend»\ndef g(x) = x\n"},
      {"ruby", "while x do\n« y\nend»\na.each do |b|\n« c\nend»\nsave! if x\n"},
      {"ruby",
       "x = <<~A + 'b'\n  def f\nA\ny = { if: 1, end: 2 }\n[1].map { |z| z } if x\nbegin\n« "
       "a.class\nrescue» B\n« c\nend»\n"},
      {"lua", "local f = function(a,\n b)\n« return [[ end ]] -- end\nend»\n"},
      {"lua", "if a then b() else c() end\nrepeat\n« x\nuntil» y\n--[==[ function\n]==]\n"},
      {"bash", "f() {\n« echo done ${x#a} $# \"$(echo \"}\")\"\n}»\nif a; then b; fi\n"},
      {"bash",
       "for x in a; do\n« cat <<-'E' | b\n done\n\tE\ndone»\ncase $x in\n« a) b ;;\nesac»\n"},
      {"php", "a { ' <?php # '\nif ($a) { ?> it's { <?php\n« }» ?> {\n"},
      {"c_sharp", "var a = @\"\\\"; var b = $@\"{c}\"\"{\";\nvoid F()\n{\n«}»\n"},
      {"go", "a := `{\n`\nfunc f() {\n« '\\'' }»\n"},
      {"kotlin", "val a = \"${ b { \"}\" } } {\"\nfun f() {\n« \"\"\"{\"\"\" }»\n"},
      {"swift", "let a = \"\\(b(\")\")) {\"\nfunc f() {\n« #\"\\\"# }»\n"},
      {"json", "{\n« \"a\": [\n« 1 ]», \"b\": [2] }»\n"},
      {"toml",
       "a = 1\n[b]\n«c = ['\\', [1]]»\n\n# of d\n[[d.\"]\"]] # [\n«e = [\n« [1],\n[2] ]»\n»"},
      {"toml", "[a\n«b = \"»[c]\n[c]\n«d = '''\n[e]\n'''\n»"},
      {"toml", "[a]\n«b = [\n« 1,»\nc = 2»\n[d]\n«e = 1\n»"},  // a bracket never closed
      {"yaml", "a:\n«  b: 1\n  c:\n«    - d»»\n\n# of e\ne: f\n"},
      {"yaml", "a:\n«- b\n- c: 1\n«  d: 2»\n- - e\n«  - f»»\ng: 1\n"},
      {"yaml", "a: |2-\n«  b:\n\n    # c»\nd: > # e\n« f\n»"},
      {"yaml", "a: &x !!map\n« b: 1»\nc: *x\nd: !t e\n"},
      {"yaml", "a: {\n« b: '}', c: [ d:e, \"]\" ]\n}»\ne: [g,\n« h]»\n"},
      {"yaml", "a: it's #1 # b:\n'c ''d': \"e\n  f:\n  g\"\nh#i:j: k\n\"l\":\n« m\n»"},
      {"yaml", "a: \"b\nc:\n« d: [e\n»f:\n« g\n»"},  // quote and bracket never closed
      {"yaml", "a:\n«- -5\n-»--\nb:\n« c\n-»-- d\n-e: 1\n"},
      {"yaml", "-\n« a: 1»\n- b: {}\n- c # d:\n- &e\n« f: 1»\n- |\n« g:\n»"},
      {"markdown", "a\n# b\n«c\n## d\n«e»\n## f\n«g\n#### h\n«i»»»\n# j\n"},
      {"markdown", "# a #\n«#b\n####### c\n    # d\n- # e\n\\# f»\n#\n«g\n\t# h\n»"},
      {"markdown", "```a\n«# b\n``\n~~~\n ````»\n~~~ `\n«```\n~~~»\n```c```\n# d\n«e\n»"},
      {"markdown", "1. ~~~\n«   # a\n   ~~~»\n- b\n\n  ```\n«  ```»\n> ```\n> c\n"},
      {"markdown", "---\n«a:\n- --\n---»\n<!-- # b\n# c -->\n# d\n«---\n<!- # e\n»"},
      {"html", "<p class='>'\n id=a>\n«b <br>\n<img src=c></p>»\n<i>d</i>\n"},
      {"html", "<UL>\n«<li>\n«a»\n<li>\n«b\n</ul»>»\n<p>\n«c»\n<div>\n«d</div>»</e>\n"},
      {"html",
       "<script>\n«a < b; '</div>'\n</SCRIPT >»\n<!-- <a>\n--><!DOCTYPE x>\n<b/>\n<c>\n«</c>»"},
      {"html", "a < b <\n<d <e>\n«<f\n</e>»\n<style>\n«<a></st\n</style>»\n"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.language);
    std::string text = c.marked;
    for (const char* mark : {"«", "»"})
      for (size_t at; (at = text.find(mark)) != std::string::npos;) text.erase(at, 2);
    CHECK(drawn(c.language, text) == c.marked);
  }
}

TEST_CASE("white space takes the scope that was open before it") {
  const std::string text = "def f():\n    x = 1\n\n    # of f\n# of the file\n\n  \ny = 2\n";
  const ScopeMap map = read_scopes(language_by_id("python"), text);
  const auto at = [&](std::string_view what) {
    return map.index_at(static_cast<uint32_t>(text.find(what)));
  };
  CHECK(at("def") == 0);
  CHECK(at(":\n") == 0);
  CHECK(at("    x") == 1);
  CHECK(at("x") == 1);
  CHECK(at("\n\n    #") == 1);
  CHECK(at("# of f") == 1);
  CHECK(at("# of the file") == 0);  // by its own column
  CHECK(at("\n  \ny") == 1);
  CHECK(at("y") == 0);
}

TEST_CASE("what a byte of markup cannot know yet, it takes from a body around the right one") {
  const std::string text = "a\n# b\nc\n## d\ne\n### f\ng\n## h\n##x\n";
  const ScopeMap map = read_scopes(language_by_id("markdown"), text);
  const auto at = [&](std::string_view what, size_t on = 0) {
    return map.index_at(static_cast<uint32_t>(text.find(what) + on));
  };
  REQUIRE(map.scopes().size() == 5);
  CHECK(at("# b") == 0);
  CHECK(at("c") == 1);
  CHECK(at("## d") == 0);     // a heading of the first level would stand in the file
  CHECK(at("## d", 1) == 1);  // one of the second level in "b"
  CHECK(at(" d") == 1);
  CHECK(at("### f", 1) == 1);
  CHECK(at("### f", 2) == 2);
  CHECK(at("g") == 3);
  CHECK(at("\n## h") == 3);
  CHECK(at(" h") == 1);
  CHECK(at("##x") == 0);
  CHECK(at("##x", 2) == 4);  // no heading, and so where the text around it is

  const std::string keys = "a:\n- b\n-c: 1\n";
  const ScopeMap yaml = read_scopes(language_by_id("yaml"), keys);
  CHECK(yaml.index_at(static_cast<uint32_t>(keys.find("-c"))) == 1);
  CHECK(yaml.index_at(static_cast<uint32_t>(keys.find("c:"))) == 0);

  const std::string tags = "<p>\na\n<p>\nb\n";
  const ScopeMap html = read_scopes(language_by_id("html"), tags);
  CHECK(html.index_at(static_cast<uint32_t>(tags.find("<p>\nb"))) == 1);
  CHECK(html.index_at(static_cast<uint32_t>(tags.find(">\nb"))) == 0);
}

TEST_CASE("labels of many offsets are those of each") {
  std::mt19937 random(1);
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    const ScopeMap map = read_scopes(sample.language, sample.text);
    std::vector<uint32_t> offsets;
    for (uint32_t at = random() % 5; at < sample.text.size() + 3; at += random() % 9)
      offsets.push_back(at);
    std::vector<ScopeLabel> labels;
    map.labels_at(offsets, labels);
    REQUIRE(labels.size() == offsets.size());
    for (size_t i = 0; i < offsets.size(); ++i) REQUIRE(labels[i] == map.label_at(offsets[i]));
  }
  std::vector<ScopeLabel> none(3);
  ScopeMap::whole_file(0).labels_at({}, none);
  CHECK(none.empty());
}

TEST_CASE("a cut text has the same labels up to the cut") {
  std::mt19937 random(2);
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    const ScopeMap whole = read_scopes(sample.language, sample.text);
    for (int round = 0; round < 30; ++round) {
      const uint32_t cut = random() % static_cast<uint32_t>(sample.text.size() + 1);
      const ScopeMap part =
          read_scopes(sample.language, std::string_view(sample.text).substr(0, cut));
      for (uint32_t at = 0; at < cut; ++at) REQUIRE(part.index_at(at) == whole.index_at(at));
    }
  }
}

TEST_CASE("reading in leaps says the same as reading byte by byte") {
  std::mt19937 random(7);
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    for (int round = 0; round < 60; ++round) {
      std::string text = sample.text;
      for (int edit = 0; edit < 3; ++edit) {
        const auto [range, piece] = random_edit(random, text);
        text.replace(range.begin, range.end - range.begin, piece);
      }
      const ScopeMap leaps = read_scopes(sample.language, text);
      BodyReader reader(*sample.language->rules);
      for (uint32_t at = 0; at < text.size(); ++at)
        REQUIRE(reader.step(text[at]) == leaps.index_at(at));
      REQUIRE(reader.bodies().size() + 1 == leaps.scopes().size());
    }
  }
}

TEST_CASE("a shifted map stays a map, and a shift and its inverse move nothing outside them") {
  std::mt19937 random(3);
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    for (int round = 0; round < 40; ++round) {
      std::string text = sample.text;
      ScopeMap map = read_scopes(sample.language, text);
      for (int edit = 0; edit < 6; ++edit) {
        const auto [range, piece] = random_edit(random, text);
        const ScopeMap before = map;
        map = map.shifted(range.begin, range.end, piece);
        text.replace(range.begin, range.end - range.begin, piece);
        REQUIRE(map.size() == text.size());
        REQUIRE(defect(map) == "");
        // Bytes beyond the edit keep their scope, unless it began in the replaced bytes.
        for (uint32_t at = 0; at < range.begin; ++at)
          REQUIRE(map.scopes()[map.index_at(at)].number ==
                  before.scopes()[before.index_at(at)].number);
      }
    }
  }
}

TEST_CASE("typing in a body stays in it until the next parse") {
  const std::string text = "int f() {\n  return 1;\n}\n";
  const ScopeMap map = read_scopes(language_by_id("c"), text);
  const uint32_t at = static_cast<uint32_t>(text.find(";"));
  const ScopeMap typed = map.shifted(at, at, "23");
  CHECK(typed.scopes()[1].body ==
        ByteRange{map.scopes()[1].body.begin, map.scopes()[1].body.end + 2});
  CHECK(typed.index_at(at + 1) == 1);
  CHECK(typed.index_at(static_cast<uint32_t>(text.size() + 1)) == 0);
}

TEST_CASE(
    "a body that a word begins after one inside its header does not break the order of the "
    "scopes") {
  const struct {
    const char *language, *text;
  } cases[] = {
      {"ruby", "if a.map { |b| c(\n  b)\n  d.each do |e|\n    e\n  end\n}\n  f\nend\n"},
      {"lua", "function{(\n)function\n"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.language);
    const ScopeMap map = read_scopes(language_by_id(c.language), c.text);
    CHECK(map.scopes().size() >= 3);
    for (size_t i = 1; i < map.scopes().size(); ++i) {
      const Scope& scope = map.scopes()[i];
      const Scope& parent = map.scopes()[static_cast<size_t>(scope.parent)];
      CHECK(scope.number > parent.number);
      CHECK(scope.last <= parent.last);
      CHECK(scope.number > map.scopes()[i - 1].number);
    }
  }
}

TEST_CASE("hostile texts cost no more than their size") {
  const std::string deep(100'000, '{'), brackets(100'000, '['), lines = [] {
    std::string out;
    for (int i = 0; i < 50'000; ++i) out += "{\n";
    for (int i = 0; i < 50'000; ++i) out += "}\n";
    return out;
  }();
  std::string noise(200'000, ' ');
  std::mt19937 random(4);
  for (char& c : noise) c = static_cast<char>(random());
  const std::string binary = noise;
  const auto repeated = [](std::string_view what) {
    std::string out;
    while (out.size() < 200'000) out += what;
    return out;
  };
  std::string deeper;
  for (size_t i = 0; i < 1'000; ++i) deeper += std::string(i, ' ') + "a:\n";
  const std::string dashes = repeated("- "), tags = repeated("<a>\n"),
                    strays = tags + repeated("</b>"), headings = repeated("# a\n###### b\n"),
                    fences = repeated("```\n");
  const std::string* const texts[] = {&deep, &brackets, &lines,    &binary, &dashes,
                                      &tags, &strays,   &headings, &fences, &deeper};
  for (const Language& language : languages())
    for (const std::string* text : texts) {
      const ScopeMap map = read_scopes(&language, *text);
      CAPTURE(language.name);
      CHECK(defect(map) == "");
    }
  // Beyond what a person writes nothing is read at all.
  const std::string huge(kMaxText + 1, '{');
  CHECK(read_scopes(language_by_id("c"), huge) ==
        ScopeMap::whole_file(static_cast<uint32_t>(huge.size())));
}
