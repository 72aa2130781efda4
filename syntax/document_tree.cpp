#include "syntax/document_tree.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "syntax/reading.h"
#include "syntax/tree_changes.h"

namespace cambium::syntax {
namespace {

Replaced replaced_by(const TSInputEdit& edit) {
  return {edit.start_byte, edit.old_end_byte, edit.new_end_byte};
}

bool touch(ByteRange a, ByteRange b) { return a.begin <= b.end && b.begin <= a.end; }

/// The facts of an older text, moved to where their bytes are now. An opener in replaced bytes is gone.
void move_facts(TreeFacts& facts, const Replaced& move) {
  std::erase_if(facts.scopes, [&](const TreeScope& scope) {
    return scope.opener >= move.begin && scope.opener < move.old_end;
  });
  for (TreeScope& scope : facts.scopes) {
    if (scope.opener >= move.begin) scope.opener = scope.opener - move.old_end + move.new_end;
    scope.owner = move(scope.owner);
    scope.header = move(scope.header);
  }
  for (TreeMark& mark : facts.marks) mark.range = move(mark.range);
}

/// Asks the tree again for what lies in the `dirty` ranges of `text`.
void refresh_facts(TreeFacts& facts, std::vector<ByteRange> dirty, const Tree& tree,
                   std::string_view text) {
  // A header or an import that is touched is read again whole.
  for (ByteRange& range : dirty) {
    ByteRange wide = range;
    std::erase_if(facts.scopes, [&](const TreeScope& scope) {
      const ByteRange head{scope.owner.begin, std::max(scope.opener + 1, scope.header.end)};
      if (!touch(head, range)) return false;
      wide = {std::min(wide.begin, head.begin), std::max(wide.end, head.end)};
      return true;
    });
    std::erase_if(facts.marks, [&](const TreeMark& mark) {
      if (!touch(mark.range, range)) return false;
      wide = {std::min(wide.begin, mark.range.begin), std::max(wide.end, mark.range.end)};
      return true;
    });
    range = wide;
  }
  const auto replace = [](auto& all, auto& found, auto key) {
    std::erase_if(all, [&](const auto& item) {
      const auto at = std::lower_bound(found.begin(), found.end(), key(item),
                                       [&](const auto& f, const auto& k) { return key(f) < k; });
      return at != found.end() && key(*at) == key(item);
    });
    const auto middle = static_cast<std::ptrdiff_t>(all.size());
    all.insert(all.end(), std::make_move_iterator(found.begin()),
               std::make_move_iterator(found.end()));
    std::inplace_merge(all.begin(), all.begin() + middle, all.end(),
                       [&](const auto& a, const auto& b) { return key(a) < key(b); });
  };
  for (const ByteRange& range : dirty) {
    // What ends where the range begins may have ended elsewhere before.
    TreeFacts found = tree_facts(tree, text,
                                 {range.begin - std::min(range.begin, 1U),
                                  std::min(range.end + 1, static_cast<uint32_t>(text.size()))});
    replace(facts.scopes, found.scopes, [](const TreeScope& s) { return s.opener; });
    replace(facts.marks, found.marks, [](const TreeMark& m) {
      return std::pair{m.range.begin, m.range.end};
    });
  }
}

std::shared_ptr<const ScopeMap> shifted(std::shared_ptr<const ScopeMap> map,
                                        const TSInputEdit& edit) {
  return std::make_shared<const ScopeMap>(
      map->shifted(edit.start_byte, edit.old_end_byte, edit.new_end_byte - edit.start_byte));
}

}  // namespace

struct DocumentTree::State : std::enable_shared_from_this<State> {
  const Language* language = nullptr;
  std::shared_ptr<ParseThread> thread;
  Options options;
  std::atomic<bool> stale{false};  ///< the running parse is of a text that is no more

  mutable std::mutex mutex;  // held for copies and shifts only, never for a parse
  mutable std::condition_variable idle;
  std::shared_ptr<const std::string> text;
  SyntaxSnapshot current;
  std::optional<Tree> tree;        ///< the last good one, edited up to `text`
  std::vector<TSInputEdit> edits;  ///< since the text that `facts` are of
  bool reset = false;              ///< the text was replaced: `facts` are of another one
  bool scheduled = false, closed = false;

  // Of the parse thread alone:
  std::optional<Parser> parser;
  std::optional<Reading> reading;  // of the same text as the facts
  TreeFacts facts;
  bool have_facts = false;

  bool parses() const { return language && text->size() <= kMaxText; }
  void schedule();  // with the mutex held
  void post();
  void parse();
  void update_facts(const Tree& fresh, const std::optional<Tree>& old, std::string_view source,
                    const std::vector<TSInputEdit>& done);
  void update_reading(std::string_view source, const std::vector<TSInputEdit>& done);
};

void DocumentTree::State::schedule() {
  stale.store(true, std::memory_order_relaxed);
  if (scheduled || !parses()) return;
  scheduled = true;
  post();
}

void DocumentTree::State::post() {
  thread->post([weak = weak_from_this()] {
    if (const auto state = weak.lock()) state->parse();
  });
}

void DocumentTree::State::update_facts(const Tree& fresh, const std::optional<Tree>& old,
                                       std::string_view source,
                                       const std::vector<TSInputEdit>& done) {
  constexpr size_t kMany = 32;  // ranges, beyond which one query over all is cheaper
  std::vector<ByteRange> dirty;
  if (have_facts && old) dirty = changed_places(*old, fresh);
  for (size_t i = 0; i < done.size(); ++i) {
    // The place of this edit as it lies in the newest text.
    ByteRange range{done[i].start_byte, done[i].new_end_byte};
    for (size_t j = i + 1; j < done.size(); ++j) range = replaced_by(done[j])(range);
    dirty.push_back(range);
  }
  if (have_facts && old && dirty.size() <= kMany) {
    refresh_facts(facts, std::move(dirty), fresh, source);
  } else {
    facts = tree_facts(fresh, source, {0, static_cast<uint32_t>(source.size())});
  }
  have_facts = true;
}

void DocumentTree::State::update_reading(std::string_view source,
                                         const std::vector<TSInputEdit>& done) {
  if (!reading) {
    reading.emplace(*language, source);
  } else if (!done.empty()) {
    Replaced all = replaced_by(done[0]);
    for (size_t i = 1; i < done.size(); ++i) all = all.then(replaced_by(done[i]));
    reading->edit(all, source);
  }
}

// One attempt. If the text has moved on since, another is posted, behind those of other documents.
void DocumentTree::State::parse() {
  std::shared_ptr<const std::string> source;
  std::optional<Tree> old;
  std::vector<TSInputEdit> done;
  {
    const std::lock_guard lock(mutex);
    if (closed || !parses()) {
      scheduled = false;
      idle.notify_all();
      return;
    }
    source = text;
    old = tree;
    done = edits;
    if (std::exchange(reset, false)) {
      have_facts = false;
      reading.reset();
    }
    stale.store(false, std::memory_order_relaxed);
  }
  if (!parser) parser.emplace(*language);
  ParseLimits limits = options.parse;
  limits.cancel = &stale;
  std::optional<Tree> fresh = parser->parse(*source, old ? &*old : nullptr, limits);
  if (!fresh && stale.load(std::memory_order_relaxed)) {
    if (!have_facts) {
      const std::lock_guard lock(mutex);
      reset = true;
    }
    post();
    return;
  }
  if (!have_facts) facts = {};
  for (const TSInputEdit& edit : done) move_facts(facts, replaced_by(edit));
  if (fresh) update_facts(*fresh, old, *source, done);
  update_reading(*source, done);
  auto map = std::make_shared<ScopeMap>(reading->map());
  name_scopes(*map, facts.scopes);
  auto items = std::make_shared<const std::vector<OutlineItem>>(outline(facts));

  const std::lock_guard lock(mutex);
  if (reset) {  // another text altogether; nothing of this one is of use
    post();
    return;
  }
  edits.erase(edits.begin(), edits.begin() + static_cast<std::ptrdiff_t>(done.size()));
  current.scopes = std::move(map);
  for (const TSInputEdit& edit : edits) current.scopes = shifted(current.scopes, edit);
  current.outline = std::move(items);
  current.exact = edits.empty();
  current.tree = fresh && edits.empty() ? std::make_shared<const Tree>(*fresh) : nullptr;
  if (fresh) {
    tree = std::move(fresh);
    for (const TSInputEdit& edit : edits) tree->edit(edit);
  }
  if (!edits.empty()) {
    post();
    return;
  }
  scheduled = false;
  idle.notify_all();
}

DocumentTree::DocumentTree(const Language* language, std::string text,
                           std::shared_ptr<ParseThread> thread, Options options)
    : state_(std::make_shared<State>()) {
  state_->language = language;
  state_->thread = std::move(thread);
  state_->options = options;
  set_text(std::move(text));
}

DocumentTree::~DocumentTree() {
  const std::lock_guard lock(state_->mutex);
  state_->closed = true;
  state_->stale.store(true, std::memory_order_relaxed);
}

void DocumentTree::apply_edit(const Edit& asked) {
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  Edit edit = asked;
  const uint32_t size = static_cast<uint32_t>(std::min<size_t>(state.text->size(), UINT32_MAX));
  edit.begin = std::min(edit.begin, size);
  edit.old_end = std::clamp(edit.old_end, edit.begin, size);
  const bool parsed = state.parses();
  auto text = std::make_shared<const std::string>(applied(*state.text, edit));
  if (!parsed || text->size() > kMaxText) {  // into, out of or within a text that is too large
    state.text = std::move(text);
    state.current = {std::make_shared<const ScopeMap>(ScopeMap::whole_file(
                         static_cast<uint32_t>(std::min<size_t>(state.text->size(), UINT32_MAX)))),
                     nullptr, nullptr, state.current.revision + 1, !state.parses()};
    state.tree.reset();
    state.edits.clear();
    state.reset = true;
    state.schedule();
    return;
  }
  const TSInputEdit input = input_edit(*state.text, edit);
  if (state.tree) state.tree->edit(input);
  state.edits.push_back(input);
  state.text = std::move(text);
  state.current.scopes = shifted(state.current.scopes, input);
  state.current.tree = nullptr;
  state.current.exact = false;
  ++state.current.revision;
  state.schedule();
}

void DocumentTree::set_text(std::string text) {
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  state.text = std::make_shared<const std::string>(std::move(text));
  // Without a tree yet, what a reading gives; a large text is read on the parse thread.
  constexpr size_t kQuick = 64u << 10;
  const uint32_t size = static_cast<uint32_t>(std::min<size_t>(state.text->size(), UINT32_MAX));
  state.current.scopes = std::make_shared<const ScopeMap>(
      size <= kQuick ? read_scopes(state.language, *state.text) : ScopeMap::whole_file(size));
  state.current.tree = nullptr;
  state.current.outline = nullptr;
  state.current.exact = !state.parses();
  ++state.current.revision;
  state.tree.reset();
  state.edits.clear();
  state.reset = true;
  state.schedule();
}

const Language* DocumentTree::language() const { return state_->language; }

std::shared_ptr<const std::string> DocumentTree::text() const {
  const std::lock_guard lock(state_->mutex);
  return state_->text;
}

SyntaxSnapshot DocumentTree::snapshot() const {
  const std::lock_guard lock(state_->mutex);
  return state_->current;
}

bool DocumentTree::wait(std::chrono::milliseconds limit) const {
  std::unique_lock lock(state_->mutex);
  return state_->idle.wait_for(lock, limit, [this] { return !state_->scheduled; });
}

}  // namespace cambium::syntax
