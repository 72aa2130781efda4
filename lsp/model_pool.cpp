#include "lsp/model_pool.h"

#include <algorithm>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <cstdio>
#include <utility>

namespace cambium::lsp {

using assist::Role;

struct ModelPool::Entry {
  std::vector<Role> roles;
  std::map<Role, double> larger_of;
  std::string name;
  bool chats = false;
  uint64_t bytes = 0;  ///< what it takes loaded: an estimate until it was
  std::shared_ptr<ModelHost> host;
  std::chrono::steady_clock::time_point used;  ///< of a failed load: when it failed

  bool is_loaded() const { return host->state() == ModelHost::State::ready; }
};

namespace {

constexpr std::chrono::seconds kTryAgainAfter{30};  // a load that failed

std::string size_text(uint64_t bytes) {
  char text[32];
  const auto n = static_cast<double>(bytes);
  std::snprintf(text, sizeof text, n < 1e9 ? "%.0f MB" : "%.1f GB", n < 1e9 ? n / 1e6 : n / 1e9);
  return text;
}

}  // namespace

ModelPool::ModelPool(boost::asio::any_io_executor strand, PoolOptions options)
    : strand_(std::move(strand)), options_(std::move(options)), timer_(strand_) {}

std::shared_ptr<ModelPool> ModelPool::create(boost::asio::any_io_executor strand,
                                             std::vector<PooledModel> models, PoolOptions options) {
  std::shared_ptr<ModelPool> pool(new ModelPool(std::move(strand), std::move(options)));
  for (PooledModel& model : models) pool->add(std::move(model));
  pool->start_timer();
  return pool;
}

void ModelPool::add(PooledModel model) {
  const auto entry = std::make_shared<Entry>();
  entry->roles = std::move(model.roles);
  entry->larger_of = std::move(model.larger_of);
  entry->name = model.name;
  entry->chats = model.chats;
  entry->bytes = model.bytes;
  entry->host = std::make_shared<ModelHost>(strand_, model.name, std::move(model.load));
  // Plain pointers, since close() takes the hooks off: others may hold the host for longer.
  ModelHost::Hooks hooks;
  hooks.before_load = [this, entry = entry.get()] { return make_room(*entry); };
  hooks.loaded = [this, entry = entry.get()](const Result<LoadedModel>& came) {
    entry->used = now();
    if (!came) return;
    if (came->capabilities.memory_bytes > 0) entry->bytes = came->capabilities.memory_bytes;
    loaded(*entry);
  };
  hooks.used = [this, entry = entry.get()] { entry->used = now(); };
  entry->host->set_hooks(std::move(hooks));
  entries_.push_back(entry);
}

std::chrono::steady_clock::time_point ModelPool::now() const {
  return options_.now ? options_.now() : std::chrono::steady_clock::now();
}

std::shared_ptr<ModelPool::Entry> ModelPool::entry(Role role) const {
  for (const auto& entry : entries_) {
    if (std::find(entry->roles.begin(), entry->roles.end(), role) != entry->roles.end()) {
      return entry;
    }
  }
  return nullptr;
}

std::shared_ptr<ModelHost> ModelPool::host(Role role) const {
  const auto found = entry(role);
  return found ? found->host : nullptr;
}

// What is asked from any thread was fixed when the pool was made.
bool ModelPool::has(Role role) const { return entry(role) != nullptr; }

bool ModelPool::chats(Role role) const {
  const auto found = entry(role);
  return found && (found->chats || role != Role::completion);
}

std::string ModelPool::name(Role role) const {
  const auto found = entry(role);
  return found ? found->name : std::string();
}

std::shared_ptr<ModelPool::Entry> ModelPool::larger_entry(Role role) const {
  for (const auto& entry : entries_) {
    if (entry->larger_of.contains(role)) return entry;
  }
  return nullptr;
}

std::optional<assist::Cascade> ModelPool::cascade(Role role) const {
  const auto found = larger_entry(role);
  if (!found) return std::nullopt;
  return assist::Cascade{found->name, found->larger_of.at(role)};
}

void ModelPool::acquire(Role role, Use use) {
  boost::asio::dispatch(strand_, [self = shared_from_this(), role, use = std::move(use)] {
    const auto entry = self->entry(role);
    if (!entry) {
      return use(fail(ErrorCode::not_found, std::string("no model has the role \"") +
                                                assist::to_string(role) +
                                                "\"; give it one in models.json"));
    }
    self->acquire_entry(entry, use);
  });
}

void ModelPool::acquire_larger(Role role, Use use) {
  boost::asio::dispatch(strand_, [self = shared_from_this(), role, use = std::move(use)] {
    const auto small = self->entry(role), larger = self->larger_entry(role);
    if (!small || !larger) return self->Models::acquire_larger(role, use);
    if (auto why = self->why_not_both(*small, *larger)) return use(tl::unexpected(*why));
    self->acquire_entry(larger, use);
  });
}

// An endpoint comes back, a file is replaced: after a while it is worth another try.
void ModelPool::try_again(Entry& entry) const {
  if (entry.host->state() == ModelHost::State::failed && now() - entry.used >= kTryAgainAfter) {
    entry.host->unload();
  }
}

void ModelPool::acquire_entry(const std::shared_ptr<Entry>& entry, const Use& use) {
  try_again(*entry);
  entry->host->acquire([self = shared_from_this(), entry, use](const Result<LoadedModel>& model) {
    if (!model) return use(tl::unexpected(model.error()));
    const int64_t kept = entry->host->keep(*model);
    // The last to drop it tells the strand, wherever that is.
    use(std::shared_ptr<engine::Generator>(
        model->generator.get(), [self, entry, kept](engine::Generator*) {
          boost::asio::post(self->strand_, [entry, kept] { entry->host->release(kept); });
        }));
  });
}

std::optional<Error> ModelPool::why_not_both(const Entry& small, const Entry& larger) const {
  const uint64_t both = small.bytes + larger.bytes;
  if (options_.memory_bytes == 0 || larger.bytes == 0 || both <= options_.memory_bytes) {
    return std::nullopt;
  }
  return Error{ErrorCode::out_of_memory,
               larger.name + " and " + small.name + " need about " + size_text(both) +
                   " together, and models may take " + size_text(options_.memory_bytes) +
                   "; raise \"memoryGB\" in models.json or name a smaller one"};
}

std::shared_ptr<assist::CompletionService> ModelPool::completions(const LoadedModel& small) {
  const auto two = cascade(Role::completion);
  if (!two) return small.completion;
  using Larger = assist::CascadeCompleter::Larger;
  Larger larger;
  larger.name = two->larger;
  larger.get = [self = shared_from_this()](bool wanted, Larger::Use use) {
    boost::asio::dispatch(self->strand_,
                          [self, wanted, use = std::move(use)] { self->get_larger(wanted, use); });
  };
  return std::make_shared<assist::CascadeCompleter>(small.completion, std::move(larger),
                                                    two->threshold);
}

void ModelPool::get_larger(bool wanted, const assist::CascadeCompleter::Larger::Use& use) {
  const auto small = entry(Role::completion), larger = larger_entry(Role::completion);
  if (auto why = why_not_both(*small, *larger)) return use(tl::unexpected(*why));
  ModelHost& host = *larger->host;
  if (host.model() == nullptr) {
    if (!wanted) return use(fail(ErrorCode::unavailable, "it is not loaded"));
    // What is wrong is known now where the load does not even begin.
    const auto why = std::make_shared<std::string>("it is being loaded");
    try_again(*larger);
    host.acquire([why](const Result<LoadedModel>& model) {
      if (!model) *why = model.error().message;
    });
    return use(fail(ErrorCode::unavailable, *why));
  }
  const LoadedModel& model = *host.model();
  const int64_t kept = host.keep(model);
  use(std::shared_ptr<assist::CompletionService>(
      model.completion.get(),
      [self = shared_from_this(), larger, kept](assist::CompletionService*) {
        boost::asio::post(self->strand_, [larger, kept] { larger->host->release(kept); });
      }));
}

std::vector<ModelPool::Row> ModelPool::rows() const {
  std::vector<Row> rows;
  for (const auto& entry : entries_) {
    Row& row = rows.emplace_back(Row{entry->host, entry->roles, {}, entry->bytes});
    for (const auto& [role, threshold] : entry->larger_of) row.larger_of.push_back(role);
  }
  return rows;
}

std::vector<std::shared_ptr<ModelHost>> ModelPool::hosts() const {
  std::vector<std::shared_ptr<ModelHost>> hosts;
  for (const auto& entry : entries_) hosts.push_back(entry->host);
  return hosts;
}

uint64_t ModelPool::loaded_bytes() const {
  uint64_t bytes = 0;
  for (const auto& entry : entries_) {
    const auto state = entry->host->state();
    if (state == ModelHost::State::ready || state == ModelHost::State::loading) {
      bytes += entry->bytes;
    }
  }
  return bytes;
}

ModelPool::Entry* ModelPool::least_recently_used(const Entry* besides) const {
  Entry* oldest = nullptr;
  for (const auto& entry : entries_) {
    if (entry.get() == besides || !entry->is_loaded() || entry->bytes == 0) continue;
    if (entry->host->working()) continue;
    if (oldest == nullptr || entry->used < oldest->used) oldest = entry.get();
  }
  return oldest;
}

Result<void> ModelPool::make_room(const Entry& wanted) {
  if (options_.memory_bytes == 0 || wanted.bytes == 0) return {};
  if (wanted.bytes > options_.memory_bytes) {
    return fail(ErrorCode::out_of_memory,
                wanted.name + " needs about " + size_text(wanted.bytes) + ", and models may take " +
                    size_text(options_.memory_bytes) +
                    "; use a smaller one or raise \"memoryGB\" in models.json");
  }
  while (loaded_bytes() + wanted.bytes > options_.memory_bytes) {
    Entry* oldest = least_recently_used(&wanted);
    if (oldest == nullptr) {
      return fail(ErrorCode::out_of_memory,
                  wanted.name + " has no room beside the models at work (" +
                      size_text(loaded_bytes()) + " of " + size_text(options_.memory_bytes) +
                      "); ask again when they are done");
    }
    oldest->host->unload();
  }
  return {};
}

void ModelPool::loaded(const Entry& entry) {
  if (options_.memory_bytes == 0) return;
  while (loaded_bytes() > options_.memory_bytes) {
    Entry* oldest = least_recently_used(&entry);
    if (oldest == nullptr) return;  // what it really takes, it has; the next load is refused
    oldest->host->unload();
  }
}

void ModelPool::sweep() {
  if (options_.idle.count() == 0) return;
  for (const auto& entry : entries_) {
    if (!entry->is_loaded() || entry->host->working()) continue;
    if (now() - entry->used >= options_.idle) entry->host->unload();
  }
}

void ModelPool::start_timer() {
  if (options_.idle.count() == 0) return;
  timer_.expires_after(std::chrono::minutes(1));
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code stopped) {
    const auto self = weak.lock();
    if (stopped || !self) return;
    self->sweep();
    self->start_timer();
  });
}

void ModelPool::close() {
  timer_.cancel();
  for (const auto& entry : entries_) {
    entry->host->set_hooks({});
    entry->host->close();
  }
}

}  // namespace cambium::lsp
