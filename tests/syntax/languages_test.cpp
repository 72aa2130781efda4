#include "syntax/languages.h"

#include <doctest/doctest.h>
#include <tree_sitter/api.h>

#include <string>

using namespace cambium::syntax;

TEST_CASE("every language has a grammar this core can read, and at least 16 are for programs") {
  int programming = 0;
  for (const Language& language : languages()) {
    CAPTURE(language.name);
    const TSLanguage* grammar = language.grammar();
    REQUIRE(grammar);
    CHECK(ts_language_abi_version(grammar) >= TREE_SITTER_MIN_COMPATIBLE_LANGUAGE_VERSION);
    CHECK(ts_language_abi_version(grammar) <= TREE_SITTER_LANGUAGE_VERSION);
    CHECK(language.rules);
    CHECK_FALSE(language.lsp_ids.empty());
    CHECK(language_by_id(language.name) == &language);
    for (auto id : language.lsp_ids) CHECK(language_by_id(id) == &language);
    programming += language.programming;
  }
  CHECK(programming >= 16);
}

TEST_CASE("a file's language comes from its name, its extension, then its first line") {
  const struct {
    const char *path, *text, *expected;
  } cases[] = {
      {"a/b.py", "", "python"},
      {"x.tsx", "", "tsx"},
      {"x.ts", "", "typescript"},
      {"X.CPP", "", "cpp"},
      {"include/x.h", "", "cpp"},
      {"Gemfile", "", "ruby"},
      {"C:\\src\\main.rs", "", "rust"},
      {"run", "#!/bin/sh\n", "bash"},
      {"run", "#!/usr/bin/env python3.11\n", "python"},
      {"run", "#!/usr/bin/env -S node --no-warnings\r\n", "javascript"},
      {".bashrc", "", "bash"},
      {"notes", "", nullptr},
      {"x.unknown", "", nullptr},
      {".py", "", nullptr},
      {"", "", nullptr},
      {"run", "#!", nullptr},
  };
  for (const auto& c : cases) {
    CAPTURE(c.path);
    CAPTURE(c.text);
    const Language* language = language_of_file(c.path, c.text);
    CHECK((language ? std::string(language->name) : "") == (c.expected ? c.expected : ""));
  }
}
