// Which grammar, queries and lexical habits a file has. Everything here is constant data.
#pragma once

#include <span>
#include <string_view>

#include "syntax/lexical_rules.h"

extern "C" typedef struct TSLanguage TSLanguage;

namespace cambium::syntax {

struct Language {
  std::string_view name;                         ///< also the name of its query file
  std::string_view title;                        ///< as a person writes it: "C++"
  const TSLanguage* (*grammar)();                ///< never null
  std::span<const std::string_view> lsp_ids;     ///< the first is the canonical one
  std::span<const std::string_view> extensions;  ///< without the dot, lower case
  std::span<const std::string_view> file_names;  ///< whole names, "Makefile"-like
  std::span<const std::string_view> shebangs;    ///< interpreters, without version digits
  std::string_view line_comment;  ///< what starts a comment to the end of the line; may be empty
  bool programming = true;        ///< false for data and markup
  const LexicalRules* rules = nullptr;  ///< never null

  bool indentation_delimits_blocks() const {
    return rules->layout == Layout::indentation || rules->layout == Layout::keys;
  }
  /// A body has no closer: what follows it tells where it ended.
  bool bodies_end_by_themselves() const {
    return indentation_delimits_blocks() || rules->layout == Layout::tables ||
           rules->layout == Layout::headings;
  }
};

std::span<const Language> languages();

/// Null where nothing is known of it; such text works without scopes.
const Language* language_by_id(std::string_view lsp_id_or_name);
/// By name, then extension (case ignored), then `#!` line of `first_bytes`.
const Language* language_of_file(std::string_view path, std::string_view first_bytes = {});

}  // namespace cambium::syntax
