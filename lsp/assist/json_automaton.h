// Reads a JSON document byte by byte under a schema and says whether what was read can still become one.
// Every state that is alive can be finished: nothing leads into a dead end, whatever its length. UTF-8 and
// escapes are checked within strings, a \u that names half a pair included, so that every parser takes the
// document. White space between tokens comes in runs of kMostBlanks at most, of which a line end takes 8.
//
// Where several choices of a schema are still open, all are followed (at most kMostThreads). A state is a
// value: cheap to copy, compared by key().
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lsp/assist/json_schema.h"

namespace cambium::assist {

class JsonState {
 public:
  static constexpr uint8_t kMostBlanks = 24;
  static constexpr size_t kMostThreads = 128;

  /// Before the document's first byte.
  explicit JsonState(const JsonSchema& schema);

  /// Takes a byte into `next`, which is overwritten; false if nothing valid can follow (then `next` is
  /// dead). `schema` is the one the state began with.
  bool step(const JsonSchema& schema, uint8_t byte, JsonState& next) const;
  bool alive() const { return !threads_.empty(); }
  /// The document may end here.
  bool complete() const;
  /// The document has ended: only white space could follow.
  bool closed() const;

  /// Equal keys: the same texts of up to `reach` bytes may follow. Counts that are further from their
  /// bound than that do not tell states apart.
  std::string key(const JsonSchema& schema, uint32_t reach) const;

 private:
  enum class Phase : uint8_t;
  /// One value that is being read; 12 bytes.
  struct Frame {
    JsonSchema::NodeId node;
    uint16_t at;  ///< bytes of a literal or a key that are read
    Phase phase;
    uint8_t inside;  ///< of a string's character or a number
    uint32_t count;  ///< characters, items; the next member of an object
    bool operator==(const Frame&) const = default;
  };
  /// One way to read what came so far. Copies only the frames in use.
  struct Thread {
    Thread() = default;
    Thread(const Thread& other) { *this = other; }
    Thread& operator=(const Thread& other);
    bool operator==(const Thread& other) const;
    Frame& top() { return frames[depth - 1]; }
    const Frame& top() const { return frames[depth - 1]; }
    bool push(JsonSchema::NodeId node);

    std::array<Frame, JsonSchema::kDeepest> frames;
    uint8_t depth = 0;
    uint8_t blanks = 0;
  };
  class Reader;

  std::vector<Thread> threads_;
};

}  // namespace cambium::assist
