#include "lsp/assist/json_automaton.h"

#include <algorithm>
#include <string_view>

namespace cambium::assist {

namespace {

using Kind = JsonSchema::Kind;
using NodeId = JsonSchema::NodeId;

/// Longer numbers are not kept exactly by the programs that read them.
constexpr uint32_t kMostDigits = 15;
constexpr uint32_t kMostExponent = 2;
constexpr uint8_t kLineEnd = 8;  ///< blanks

/// Where a string's next byte stands.
enum class Inside : uint8_t {
  plain,
  escape,    ///< after a backslash
  hex,       ///< the first digit of \uXXXX
  hex_of_d,  ///< the second, after D: this may become half a pair
  any3,      ///< three more digits
  any2,
  any1,
  high2,  ///< two more digits of a pair's first half
  high1,
  pair_slash,  ///< the second half must follow
  pair_u,
  pair_d,
  pair_low,
  tail1,  ///< one more byte of a UTF-8 sequence
  tail2,
  tail3,
  after_e0,  ///< not the long way to write a shorter sequence
  after_ed,  ///< not a surrogate
  after_f0,
  after_f4,  ///< not past U+10FFFF
  dead,
};

/// Where a number's next byte stands.
enum class Digits : uint8_t {
  minus,
  zero,
  whole,
  point,
  fraction,
  exponent,
  exponent_sign,
  power,
  dead,
};

bool is_blank(uint8_t b) { return b == ' ' || b == '\n' || b == '\t' || b == '\r'; }
bool is_digit(uint8_t b) { return b >= '0' && b <= '9'; }
bool is_hex(uint8_t b) { return is_digit(b) || (b >= 'a' && b <= 'f') || (b >= 'A' && b <= 'F'); }
bool between(uint8_t b, uint8_t least, uint8_t most) { return b >= least && b <= most; }
bool among(uint8_t b, std::string_view list) {
  return list.find(static_cast<char>(b)) != list.npos;
}

/// The first byte of a character of several.
Inside lead(uint8_t b) {
  if (between(b, 0xc2, 0xdf)) return Inside::tail1;
  if (b == 0xe0) return Inside::after_e0;
  if (b == 0xed) return Inside::after_ed;
  if (between(b, 0xe1, 0xef)) return Inside::tail2;
  if (b == 0xf0) return Inside::after_f0;
  if (between(b, 0xf1, 0xf3)) return Inside::tail3;
  return b == 0xf4 ? Inside::after_f4 : Inside::dead;
}

/// Within a character.
Inside next_inside(Inside at, uint8_t b) {
  const auto tail = [&](uint8_t least, uint8_t most, Inside then) {
    return between(b, least, most) ? then : Inside::dead;
  };
  const auto digit = [&](Inside then) { return is_hex(b) ? then : Inside::dead; };
  const auto one_of = [&](std::string_view list, Inside then) {
    return among(b, list) ? then : Inside::dead;
  };
  switch (at) {
    case Inside::escape:
      return b == 'u' ? Inside::hex : one_of("\"\\/bfnrt", Inside::plain);
    case Inside::hex:
      return among(b, "dD") ? Inside::hex_of_d : digit(Inside::any3);
    case Inside::hex_of_d:
      return between(b, '0', '7') ? Inside::any2 : one_of("89abAB", Inside::high2);
    case Inside::any3:
      return digit(Inside::any2);
    case Inside::any2:
      return digit(Inside::any1);
    case Inside::any1:
      return digit(Inside::plain);
    case Inside::high2:
      return digit(Inside::high1);
    case Inside::high1:
      return digit(Inside::pair_slash);
    case Inside::pair_slash:
      return one_of("\\", Inside::pair_u);
    case Inside::pair_u:
      return one_of("u", Inside::pair_d);
    case Inside::pair_d:
      return one_of("dD", Inside::pair_low);
    case Inside::pair_low:
      return one_of("cdefCDEF", Inside::any2);
    case Inside::tail1:
      return tail(0x80, 0xbf, Inside::plain);
    case Inside::tail2:
      return tail(0x80, 0xbf, Inside::tail1);
    case Inside::tail3:
      return tail(0x80, 0xbf, Inside::tail2);
    case Inside::after_e0:
      return tail(0xa0, 0xbf, Inside::tail1);
    case Inside::after_ed:
      return tail(0x80, 0x9f, Inside::tail1);
    case Inside::after_f0:
      return tail(0x90, 0xbf, Inside::tail2);
    case Inside::after_f4:
      return tail(0x80, 0x8f, Inside::tail2);
    case Inside::plain:
    case Inside::dead:
      break;
  }
  return Inside::dead;
}

bool ends_number(uint8_t inside) {
  const auto at = static_cast<Digits>(inside);
  return at == Digits::zero || at == Digits::whole || at == Digits::fraction || at == Digits::power;
}

}  // namespace

enum class JsonState::Phase : uint8_t {
  value,  ///< nothing of it is read
  literal,
  string,
  number,
  first_key,  ///< or the end of the object
  next_key,
  key,  ///< of a member
  colon,
  after_member,
  first_item,  ///< or the end of the array
  after_item,
};

JsonState::Thread& JsonState::Thread::operator=(const Thread& other) {
  depth = other.depth;
  blanks = other.blanks;
  std::copy_n(other.frames.begin(), depth, frames.begin());
  return *this;
}

bool JsonState::Thread::operator==(const Thread& other) const {
  return depth == other.depth && blanks == other.blanks &&
         std::equal(frames.begin(), frames.begin() + depth, other.frames.begin());
}

bool JsonState::Thread::push(NodeId node) {
  if (depth == frames.size()) return false;
  frames[depth++] = {node, 0, Phase::value, 0, 0};
  return true;
}

/// One byte for all threads.
class JsonState::Reader {
 public:
  Reader(const JsonSchema& schema, uint8_t byte, std::vector<Thread>& out)
      : schema_(schema), byte_(byte), out_(out) {}

  void read(Thread thread) {
    // A number ends with the first byte that is none of it, which is then its parent's.
    while (thread.depth > 0 && thread.top().phase == Phase::number) {
      Frame& frame = thread.top();
      const Digits next = next_digit(frame);
      if (next != Digits::dead) {
        frame.inside = static_cast<uint8_t>(next);
        return keep(thread);
      }
      if (!ends_number(frame.inside)) return;
      --thread.depth;
    }
    if (thread.depth == 0) {
      if (is_blank(byte_)) blank(thread);
      return;
    }
    Frame& frame = thread.top();
    switch (frame.phase) {
      case Phase::literal:
        return literal(thread);
      case Phase::string:
        return string(thread);
      case Phase::key:
        return key(thread);
      default:
        break;
    }
    if (is_blank(byte_)) return blank(thread);
    const JsonSchema::Node& node = schema_.node(frame.node);
    switch (frame.phase) {
      case Phase::value:
        return value(thread);
      case Phase::first_key:
        if (byte_ == '}') return close_object(thread);
        return keys(thread);
      case Phase::next_key:
        return keys(thread);
      case Phase::colon:
        if (byte_ != ':') return;
        frame.phase = Phase::after_member;
        if (node.kind == Kind::map) {
          if (!thread.push(node.child)) return;
        } else if (!thread.push(node.members[frame.count++].value)) {
          return;
        }
        return keep(thread);
      case Phase::after_member:
        if (byte_ == '}') return close_object(thread);
        if (byte_ != ',') return;
        if (node.kind == Kind::object && frame.count == node.members.size()) return;
        frame.phase = Phase::next_key;
        return keep(thread);
      case Phase::first_item:
        if (byte_ == ']') return node.least == 0 ? close(thread) : void();
        return item(thread);
      case Phase::after_item:
        if (byte_ == ']') return frame.count >= node.least ? close(thread) : void();
        if (byte_ != ',' || frame.count >= node.most) return;
        ++frame.count;
        if (thread.push(node.child)) keep(thread);
        return;
      default:
        return;
    }
  }

 private:
  void keep(Thread& thread) {
    thread.blanks = 0;
    add(thread);
  }
  void add(const Thread& thread) {
    if (out_.size() == kMostThreads || std::find(out_.begin(), out_.end(), thread) != out_.end())
      return;
    out_.push_back(thread);
  }
  void blank(Thread& thread) {
    // A line end counts for more: an indented line is usual, a page of empty ones is a model that is lost.
    thread.blanks += byte_ == '\n' ? kLineEnd : 1;
    if (thread.blanks <= kMostBlanks) add(thread);
  }
  void close(Thread& thread) {
    --thread.depth;
    keep(thread);
  }
  void close_object(Thread& thread) {
    const Frame& frame = thread.top();
    const auto& members = schema_.node(frame.node).members;
    for (size_t i = frame.count; i < members.size(); ++i) {
      if (members[i].required) return;
    }
    close(thread);
  }

  void value(Thread& thread) {
    Frame& frame = thread.top();
    const JsonSchema::Node& node = schema_.node(frame.node);
    const bool room = thread.depth < JsonSchema::kDeepest;
    switch (node.kind) {
      case Kind::literal:
        frame.phase = Phase::literal;
        return literal(thread);
      case Kind::string:
        if (byte_ != '"') return;
        frame.phase = Phase::string;
        return keep(thread);
      case Kind::integer:
      case Kind::number:
        if (byte_ != '-' && !is_digit(byte_)) return;
        frame.phase = Phase::number;
        frame.inside = static_cast<uint8_t>(byte_ == '-'   ? Digits::minus
                                            : byte_ == '0' ? Digits::zero
                                                           : Digits::whole);
        frame.count = 1;
        return keep(thread);
      case Kind::object:
      case Kind::map:
        if (byte_ != '{' || !room) return;
        frame.phase = Phase::first_key;
        return keep(thread);
      case Kind::array:
        if (byte_ != '[' || !room) return;
        frame.phase = Phase::first_item;
        return keep(thread);
      case Kind::any_of:
        for (const NodeId choice : node.choices) {
          Thread other = thread;
          other.top().node = choice;
          value(other);
        }
        return;
    }
  }

  void literal(Thread& thread) {
    Frame& frame = thread.top();
    const std::string& bytes = schema_.node(frame.node).bytes;
    if (static_cast<uint8_t>(bytes[frame.at]) != byte_) return;
    if (++frame.at == bytes.size()) --thread.depth;
    keep(thread);
  }

  void string(Thread& thread) {
    Frame& frame = thread.top();
    const JsonSchema::Node& node = schema_.node(frame.node);
    const auto go_on = [&](Inside at) {
      if (at == Inside::dead) return;
      frame.inside = static_cast<uint8_t>(at);
      keep(thread);
    };
    const auto inside = static_cast<Inside>(frame.inside);
    if (inside != Inside::plain) return go_on(next_inside(inside, byte_));
    if (byte_ == '"') {
      if (frame.count < node.least) return;
      return close(thread);
    }
    if (byte_ < ' ' || frame.count == node.most) return;
    if (frame.count < JsonSchema::kUnbounded - 1) ++frame.count;
    go_on(byte_ == '\\' ? Inside::escape : byte_ < 0x80 ? Inside::plain : lead(byte_));
  }

  Digits next_digit(Frame& frame) const {
    const bool digit = is_digit(byte_);
    const bool integer = schema_.node(frame.node).kind == Kind::integer;
    const auto more = [&](Digits then, uint32_t most) {
      return digit && ++frame.count <= most ? then : Digits::dead;
    };
    const auto part = [&](Digits then) {
      frame.count = 0;
      return then;
    };
    const auto at = static_cast<Digits>(frame.inside);
    switch (at) {
      case Digits::minus:
        return byte_ == '0' ? Digits::zero : digit ? Digits::whole : Digits::dead;
      case Digits::zero:
      case Digits::whole:
        if (digit && at == Digits::whole) return more(Digits::whole, kMostDigits);
        if (integer) return Digits::dead;
        if (byte_ == '.') return part(Digits::point);
        return among(byte_, "eE") ? part(Digits::exponent) : Digits::dead;
      case Digits::point:
        return more(Digits::fraction, kMostDigits);
      case Digits::fraction:
        if (among(byte_, "eE")) return part(Digits::exponent);
        return more(Digits::fraction, kMostDigits);
      case Digits::exponent:
        if (among(byte_, "+-")) return Digits::exponent_sign;
        return more(Digits::power, kMostExponent);
      case Digits::exponent_sign:
      case Digits::power:
        return more(Digits::power, kMostExponent);
      case Digits::dead:
        break;
    }
    return Digits::dead;
  }

  /// Every member that may come next: those up to the first that must.
  void keys(Thread& thread) {
    Frame& frame = thread.top();
    const JsonSchema::Node& node = schema_.node(frame.node);
    if (byte_ != '"') return;
    if (node.kind == Kind::map) {
      frame.phase = Phase::colon;
      if (!thread.push(JsonSchema::kKey)) return;
      thread.top().phase = Phase::string;
      return keep(thread);
    }
    for (auto i = frame.count; i < node.members.size(); ++i) {
      Thread other = thread;
      Frame& member = other.top();
      member.phase = Phase::key;
      member.count = i;
      member.at = 1;
      keep(other);
      if (node.members[i].required) return;
    }
  }

  void key(Thread& thread) {
    Frame& frame = thread.top();
    const std::string& key = schema_.node(frame.node).members[frame.count].key;
    if (static_cast<uint8_t>(key[frame.at]) != byte_) return;
    if (++frame.at == key.size()) frame.phase = Phase::colon;
    keep(thread);
  }

  void item(Thread& thread) {
    Frame& frame = thread.top();
    const JsonSchema::Node& node = schema_.node(frame.node);
    if (node.most == 0) return;
    frame.phase = Phase::after_item;
    frame.count = 1;
    if (!thread.push(node.child)) return;
    value(thread);
  }

  const JsonSchema& schema_;
  const uint8_t byte_;
  std::vector<Thread>& out_;
};

JsonState::JsonState(const JsonSchema& schema) {
  Thread thread;
  thread.push(schema.root());
  threads_.push_back(thread);
}

bool JsonState::step(const JsonSchema& schema, uint8_t byte, JsonState& next) const {
  next.threads_.clear();
  Reader reader(schema, byte, next.threads_);
  for (const Thread& thread : threads_) reader.read(thread);
  return next.alive();
}

bool JsonState::complete() const {
  return std::any_of(threads_.begin(), threads_.end(), [](const Thread& thread) {
    return thread.depth == 0 || (thread.depth == 1 && thread.top().phase == Phase::number &&
                                 ends_number(thread.top().inside));
  });
}

bool JsonState::closed() const {
  return alive() && std::all_of(threads_.begin(), threads_.end(),
                                [](const Thread& thread) { return thread.depth == 0; });
}

std::string JsonState::key(const JsonSchema& schema, uint32_t reach) const {
  std::string out;
  const auto put = [&](uint32_t value, size_t bytes) {
    for (; bytes > 0; --bytes, value >>= 8) out += static_cast<char>(value & 0xff);
  };
  for (const Thread& thread : threads_) {
    put(thread.depth, 1);
    put(thread.blanks, 1);
    for (size_t i = 0; i < thread.depth; ++i) {
      const Frame& frame = thread.frames[i];
      const JsonSchema::Node& node = schema.node(frame.node);
      uint32_t count = frame.count;
      const bool counts = node.kind == Kind::string || node.kind == Kind::array;
      if (counts && count > node.least &&
          (node.most == JsonSchema::kUnbounded || node.most - count > reach)) {
        count = node.least + 1;
      }
      put(frame.node, 2);
      put(frame.at, 2);
      put(static_cast<uint32_t>(frame.phase), 1);
      put(frame.inside, 1);
      put(count, 4);
    }
  }
  return out;
}

}  // namespace cambium::assist
