#include "syntax/reading.h"

#include <algorithm>
#include <utility>

#include "syntax/scope_numbers.h"

namespace cambium::syntax {
namespace {

// Bytes between two states that are kept: what an edit costs to read (about 5 ns a byte, and twice
// this), against memory (about half a kilobyte for each).
constexpr size_t kStride = 4096;

size_t line_start_after(std::string_view text, size_t at) {
  const size_t end = at < text.size() ? text.find('\n', at) : std::string_view::npos;
  return end == std::string_view::npos ? text.size() : end + 1;
}

}  // namespace

// --- the reader's state ---------------------------------------------------------------------------

uint32_t ReaderShift::id(uint32_t before) const {
  if (before == 0) return 0;
  if (before > known) return static_cast<uint32_t>(before + ids);
  const auto at = std::lower_bound(open.begin(), open.end(), std::pair{before, 0U});
  return at != open.end() && at->first == before ? at->second : UINT32_MAX;
}

BodyReader BodyReader::checkpoint() {
  std::vector<ReadBody> bodies = std::exchange(bodies_, {});
  BodyReader out = *this;
  bodies_ = std::move(bodies);
  out.label_ = 0;  // of use to skip() only, which comes after a step
  if (!comment_line_) out.comment_body_ = 0;
  if (mode_ == Mode::code || mode_ == Mode::line_comment) {
    out.string_ = {};
    out.delimiter_.clear();
    out.matched_ = 0;
  }
  if (rules_->layout >= Layout::keys) {  // these are of use within a line or a tag only
    out.significant_at_ = out.word_begin_ = UINT32_MAX;
    if (mode_ == Mode::code) {
      out.word_.clear();
      out.significant_ = 0;
      out.run_ = 0;
      out.header_indent_ = 0;
    }
  }
  return out;
}

BodyReader BodyReader::resumed(const BodyReader& checkpoint, std::vector<ReadBody> bodies) {
  BodyReader out = checkpoint;
  out.bodies_ = std::move(bodies);
  out.bodies_.resize(out.next_id_ - out.first_id_);
  for (const uint32_t id : out.open_bodies()) {
    out.bodies_[id - out.first_id_].end = 0;
    out.bodies_[id - out.first_id_].closed_at = UINT32_MAX;
  }
  return out;
}

BodyReader BodyReader::shifted(const ReaderShift& shift) const {
  BodyReader out = *this;
  for (Frame& frame : out.frames_) {
    frame.id = shift.id(frame.id);
    frame.opener = shift.place(frame.opener);
  }
  for (uint32_t* place : {&out.pos_, &out.code_end_, &out.significant_at_, &out.word_begin_})
    *place = shift.place(*place);
  out.comment_body_ = shift.id(comment_body_);
  out.next_id_ = static_cast<uint32_t>(next_id_ + shift.ids);
  return out;
}

// --- the text ---------------------------------------------------------------------------------------

Replaced Replaced::then(const Replaced& next) const {
  // What of the text between them belongs to the old one, on either side.
  const uint32_t before = std::min(begin, next.begin);
  const uint32_t end = std::max(new_end, next.old_end);
  return {before, end - new_end + old_end, end - next.old_end + next.new_end};
}

Reading::Reading(const Language& language, std::string_view text) : language_(&language) {
  BodyReader start(*language.rules);
  found_.changes = {{0, 0}};
  found_.checkpoints.push_back({start.checkpoint(), 0, 1});
  read(text, std::move(start), {}, 0, {});
}

void Reading::edit(const Replaced& replaced, std::string_view text) {
  Found old = std::exchange(found_, {});
  const auto behind = [](uint32_t at) {
    return [at](const Checkpoint& c) { return c.reader.position() <= at; };
  };
  const auto begin = old.checkpoints.begin();
  const auto resume =
      std::partition_point(begin + 1, old.checkpoints.end(), behind(replaced.begin)) - 1;
  const auto next =
      std::partition_point(resume + 1, old.checkpoints.end(), behind(replaced.old_end));

  found_.checkpoints.assign(begin, resume + 1);
  found_.changes.assign(old.changes.begin(),
                        old.changes.begin() + static_cast<std::ptrdiff_t>(resume->changes));
  ReaderShift shift;
  shift.begin = replaced.begin;
  shift.old_end = replaced.old_end;
  shift.bytes = static_cast<int64_t>(replaced.new_end) - replaced.old_end;
  read(text, BodyReader::resumed(resume->reader, old.bodies), old,
       static_cast<size_t>(next - begin), std::move(shift));
}

// Reads on from where the reader stands, until it stands as the old reading did at one of its
// checkpoints from `next` on.
void Reading::read(std::string_view text, BodyReader reader, const Found& old, size_t next,
                   ReaderShift shift) {
  size_ = static_cast<uint32_t>(std::min<size_t>(text.size(), UINT32_MAX));
  bytes_read_ = 0;
  if (text.size() > kMaxText) {
    found_ = {};
    found_.changes = {{0, 0}};
    found_.checkpoints.push_back({BodyReader(*language_->rules).checkpoint(), 0, 1});
    return;
  }
  for (size_t at = reader.position(); at < text.size();) {
    size_t stop = line_start_after(text, at + kStride);
    bool was_kept = false;
    if (next < old.checkpoints.size()) {
      const size_t kept = shift.place(old.checkpoints[next].reader.position());
      was_kept = kept <= stop;
      stop = std::min(stop, kept);
    }
    read_text(reader, text.substr(at, stop - at), found_.changes);
    bytes_read_ += stop - at;
    at = stop;
    if (at == text.size()) break;
    BodyReader now = reader.checkpoint();
    if (was_kept) {
      if (meets(reader, now, old, old.checkpoints[next], shift)) {
        join(std::move(reader), old, next, shift);
        return;
      }
      ++next;
    }
    found_.checkpoints.push_back({std::move(now), reader.bodies().size(), found_.changes.size()});
  }
  found_.last = reader.current();
  found_.bodies = reader.drain();
}

// Whether `reader`, whose state is `now`, says the same from here on as the old one did from `then`.
bool Reading::meets(const BodyReader& reader, const BodyReader& now, const Found& old,
                    const Checkpoint& then, ReaderShift& shift) const {
  const std::vector<uint32_t> open = reader.open_bodies(), was_open = then.reader.open_bodies();
  if (open.size() != was_open.size()) return false;
  shift.open.clear();
  for (size_t i = 0; i < open.size(); ++i) {
    const uint32_t begin = reader.bodies()[open[i] - 1].begin;
    const uint32_t was = old.bodies[was_open[i] - 1].begin;
    // What is put before the first byte of a body is in it. Where a body begins matters to where it
    // ends only while there is no code in it.
    const bool grown = begin == was && was == shift.begin && reader.code_end() > begin;
    if (begin != shift.place(was) && !grown) return false;
    shift.open.emplace_back(was_open[i], open[i]);
  }
  std::sort(shift.open.begin(), shift.open.end());
  shift.known = static_cast<uint32_t>(then.bodies);
  shift.ids = static_cast<int64_t>(reader.bodies().size()) - static_cast<int64_t>(then.bodies);
  return found_.changes.back().scope == shift.id(old.changes[then.changes - 1].scope) &&
         now == then.reader.shifted(shift);
}

// The rest of the old result, moved.
void Reading::join(BodyReader reader, const Found& old, size_t met, const ReaderShift& shift) {
  const Checkpoint& then = old.checkpoints[met];
  const size_t changes = found_.changes.size();
  found_.bodies = reader.drain();
  for (const auto& [before, after] : shift.open) {
    const ReadBody& was = old.bodies[before - 1];
    if (was.closed_at == UINT32_MAX) continue;
    found_.bodies[after - 1].end = shift.place(was.end);
    found_.bodies[after - 1].closed_at = shift.place(was.closed_at);
  }
  for (size_t i = then.bodies; i < old.bodies.size(); ++i) {
    ReadBody body = old.bodies[i];
    body.opener = shift.place(body.opener);
    body.begin = shift.place(body.begin);
    if (body.closed_at != UINT32_MAX) body.end = shift.place(body.end);
    body.closed_at = shift.place(body.closed_at);
    body.parent = shift.id(body.parent);
    found_.bodies.push_back(body);
  }
  for (size_t i = then.changes; i < old.changes.size(); ++i)
    found_.changes.push_back({shift.place(old.changes[i].byte), shift.id(old.changes[i].scope)});
  for (size_t i = met; i < old.checkpoints.size(); ++i) {
    const Checkpoint& c = old.checkpoints[i];
    found_.checkpoints.push_back({c.reader.shifted(shift),
                                  static_cast<size_t>(static_cast<int64_t>(c.bodies) + shift.ids),
                                  c.changes - then.changes + changes});
  }
  found_.last = shift.id(old.last);
}

ScopeMap Reading::map() const {
  if (size_ > kMaxText) return ScopeMap::whole_file(size_);
  ScopeMap map = map_of_bodies(found_.bodies, size_);
  map.changes_ = found_.changes;
  // At the end of the text: what comes next is read as white space.
  if (found_.last != map.changes_.back().scope) map.changes_.push_back({size_, found_.last});
  number_scopes(map);
  return map;
}

}  // namespace cambium::syntax
