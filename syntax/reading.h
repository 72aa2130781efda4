// The bodies of a text that is being edited, read again only where an edit can have changed them.
//
// A reader goes from left to right, so nothing before an edit changes; and as soon as it stands, at the
// same place behind the edit, in the same state as the reading of the old text did, it would say the
// same from there on. A reading therefore keeps its state at a line start every few kilobytes. After an
// edit it goes on from the last of these before it, and stops at the first behind it where the two
// readings meet; all that follows is the old result, moved. Typing in the middle of a file then reads
// a few kilobytes however long the file is, and a bracket that shifts the nesting reads to the end.
//
// Not for use by two threads at a time.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "syntax/body_reader.h"
#include "syntax/languages.h"
#include "syntax/scopes.h"

namespace cambium::syntax {

/// [begin, old_end) became [begin, new_end).
struct Replaced {
  uint32_t begin = 0, old_end = 0, new_end = 0;

  /// Where a byte is afterwards; one of the replaced bytes is at the end of the new ones.
  uint32_t operator()(uint32_t byte) const {
    if (byte <= begin) return byte;
    return byte < old_end ? new_end : byte - old_end + new_end;
  }
  ByteRange operator()(ByteRange range) const { return {(*this)(range.begin), (*this)(range.end)}; }
  /// One replacement that holds both, `next` having come after this one.
  Replaced then(const Replaced& next) const;
};

class Reading {
 public:
  /// Texts over kMaxText have no bodies.
  Reading(const Language& language, std::string_view text);

  /// `text` is the whole new text. O(bytes read again + bodies).
  void edit(const Replaced& replaced, std::string_view text);

  /// As read_scopes() of the text: kinds are `block`, names and headers empty.
  ScopeMap map() const;
  /// Bytes that the last call looked at.
  size_t bytes_read() const { return bytes_read_; }

 private:
  struct Checkpoint {
    BodyReader reader;
    size_t bodies = 0, changes = 0;  ///< found up to here
  };
  /// What an earlier reading found.
  struct Found {
    std::vector<ReadBody> bodies;
    std::vector<ScopeMap::Change> changes;  ///< without the one at the end of the text
    std::vector<Checkpoint> checkpoints;    ///< ascending; the first is the start of the text
    uint32_t last = 0;                      ///< id of the body at the end of the text
  };
  void read(std::string_view text, BodyReader reader, const Found& old, size_t next,
            ReaderShift shift);
  bool meets(const BodyReader& reader, const BodyReader& now, const Found& old,
             const Checkpoint& then, ReaderShift& shift) const;
  void join(BodyReader reader, const Found& old, size_t met, const ReaderShift& shift);

  const Language* language_;
  uint32_t size_ = 0;
  Found found_;
  size_t bytes_read_ = 0;
};

}  // namespace cambium::syntax
