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
  std::string name;
  bool chats = false;
  uint64_t bytes = 0;  ///< what it takes loaded: an estimate until it was
  std::shared_ptr<ModelHost> host;
  std::chrono::steady_clock::time_point used;  ///< of a failed load: when it failed

  bool is_loaded() const { return host->state() == ModelHost::State::ready; }
};

namespace {

constexpr std::chrono::seconds kTryAgainAfter{30};  // a load that failed

std::string gigabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GB", static_cast<double>(bytes) / 1e9);
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

void ModelPool::acquire(Role role, Use use) {
  boost::asio::dispatch(strand_, [self = shared_from_this(), role, use = std::move(use)] {
    const auto entry = self->entry(role);
    if (!entry) {
      return use(fail(ErrorCode::not_found, std::string("no model has the role \"") +
                                                assist::to_string(role) +
                                                "\"; give it one in models.json"));
    }
    // An endpoint comes back, a file is replaced: after a while it is worth another try.
    if (entry->host->state() == ModelHost::State::failed &&
        self->now() - entry->used >= kTryAgainAfter) {
      entry->host->unload();
    }
    entry->host->acquire([self, entry, use](const Result<LoadedModel>& model) {
      if (!model) return use(tl::unexpected(model.error()));
      const int64_t kept = entry->host->keep(*model);
      // The last to drop it tells the strand, wherever that is.
      use(std::shared_ptr<engine::Generator>(
          model->generator.get(), [self, entry, kept](engine::Generator*) {
            boost::asio::post(self->strand_, [entry, kept] { entry->host->release(kept); });
          }));
    });
  });
}

std::vector<ModelPool::Row> ModelPool::rows() const {
  std::vector<Row> rows;
  for (const auto& entry : entries_) rows.push_back({entry->host, entry->roles, entry->bytes});
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
                wanted.name + " needs about " + gigabytes(wanted.bytes) + ", and models may take " +
                    gigabytes(options_.memory_bytes) +
                    "; use a smaller one or raise \"memoryGB\" in models.json");
  }
  while (loaded_bytes() + wanted.bytes > options_.memory_bytes) {
    Entry* oldest = least_recently_used(&wanted);
    if (oldest == nullptr) {
      return fail(ErrorCode::out_of_memory,
                  wanted.name + " has no room beside the models at work (" +
                      gigabytes(loaded_bytes()) + " of " + gigabytes(options_.memory_bytes) +
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
