// Labels for fill-in-the-middle: of the text before the hole, of the text after it, and of the middle as
// it is written. Training and serving both call this class, on the same bytes, and so get the same.
//
// What a label may depend on:
//   prefix   the bytes of the prefix up to and including it. No later byte, so loss may be taken on
//            every prefix token.
//   suffix   the prefix and the suffix, read with the hole empty. Bodies that the prefix opens and the
//            suffix does not close are taken to be those nearest the hole, and to be closed in it.
//   middle   prefix, suffix, and the middle up to and including the byte. The suffix matters only for
//            the numbers, which a model never sees: it sees relations.
// So cutting the middle anywhere leaves every earlier label unchanged, and so does feeding it in other
// pieces.
//
// Numbers: the hole leaves a gap of 2^30 numbers, shared evenly by the bodies that are open at the
// hole. A body that opens in the middle takes an eighth of what is left to the body it opens in. Should
// a gap run out (about 160 bodies in a row, or 8 deep), further bodies share their parent's label.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "syntax/body_reader.h"
#include "syntax/scope_numbers.h"
#include "syntax/scopes.h"

namespace cambium::syntax {

/// A value: a copy can be fed further and thrown away. Not for use by two threads at a time.
class MiddleLabeler {
 public:
  /// Reads prefix and suffix once, about 10 ns a byte. `language` may be null: everything is in the file.
  MiddleLabeler(const Language* language, std::string_view prefix, std::string_view suffix);

  /// Scopes of prefix + suffix (the hole, at byte prefix.size(), is empty): labels of prefix and suffix
  /// tokens. Kinds, names and headers are not filled in. Valid as long as this
  /// object or a copy of it.
  const ScopeMap& map() const { return *map_; }

  /// Reads the next bytes of the middle and returns the label of the first of them, which is the label
  /// of a token with these bytes. With no bytes, the label of the next white space.
  ScopeLabel feed(std::string_view bytes);
  /// The same; appends one label a byte.
  void feed(std::string_view bytes, std::vector<ScopeLabel>& labels);

  /// How many bodies deep the next byte of white space is, less the depth at the hole: below 0 when the
  /// middle has closed the body that the hole is in.
  int depth() const;

 private:
  struct Opened {
    ScopeLabel label;
    NumberGap::Range free;
  };
  ScopeLabel read(char c);
  void open_new();
  ScopeLabel label_of(uint32_t id) const;
  NumberGap::Range* free_of(uint32_t id);

  std::optional<BodyReader> reader_;  ///< none: everything is in the file
  std::shared_ptr<const ScopeMap> map_;
  NumberGap hole_;
  uint32_t first_middle_id_ = 1;
  std::vector<Opened> opened_;  ///< bodies of the middle, by id
};

}  // namespace cambium::syntax
