// Work spread over threads, each with an engine of its own that runs on that thread's share of the
// machine: small models finish sooner so than with all threads in one matrix.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/engine.h"
#include "engine/result.h"

namespace cambium::eval {

/// Called with finished and all steps, from any thread, one at a time.
using OnProgress = std::function<void(size_t done, size_t all)>;
/// Does step i; an error ends everything.
using Work = std::function<std::optional<Error>(size_t step)>;
/// Called once a thread, with its engine.
using MakeWork = std::function<Work(std::shared_ptr<engine::Generator>)>;

/// How every engine is loaded: one compute thread, one slot.
engine::LoadOptions one_thread(engine::LoadOptions options);

/// Steps [0, n), each once, in no order, on `threads` threads (0: all cores); `first` is the engine of
/// the calling thread, the others load their own from `path` as one_thread(load) says. Blocks.
Result<void> run_on_engines(const std::string& path, const engine::LoadOptions& load, int threads,
                            std::shared_ptr<engine::Generator> first, size_t n,
                            const MakeWork& make_work, const OnProgress& on_progress);

}  // namespace cambium::eval
