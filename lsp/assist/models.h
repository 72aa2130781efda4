// Who has the models, seen by the features that use them: roles go in, generators come out. The
// language server's implementation loads at first need and unloads what is idle; the command line's
// and the tests' are simpler.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/generator.h"
#include "engine/result.h"

namespace cambium::assist {

/// What a model is for. One model may have several roles; it is loaded once.
enum class Role : uint8_t {
  completion,  ///< fill-in-the-middle at the cursor (DeepSeek-Coder base, the bundled model)
  reasoning,   ///< thinks before it answers (R1 and its distills)
  general,     ///< explains, chats, summarises (V2, an instruct model)
};
inline constexpr std::array kRoles = {Role::completion, Role::reasoning, Role::general};
const char* to_string(Role role);

/// A larger model behind the one that has a role: asked where that one is not sure (assist/cascade.h).
struct Cascade {
  std::string larger;    ///< its name to show
  double threshold = 0;  ///< mean token probability, 0..1, from which the small one's answer counts
};
/// Where models.json names none. `cambium eval --cascade` finds the one for two given models.
inline constexpr double kDefaultThreshold = 0.8;

class Models {
 public:
  virtual ~Models() = default;
  /// Whether the user gave this role a model. Any thread, cheap.
  virtual bool has(Role role) const = 0;
  /// Whether that model answers in words: the completion model does if it is an instruct one.
  virtual bool chats(Role role) const = 0;
  /// A name to show of the role's model: "DeepSeek-R1-Distill-Qwen-7B"; empty without one.
  virtual std::string name(Role role) const = 0;
  /// Gives the role's model to `use`, after loading it if need be. Callable on any thread, returns at
  /// once; `use` is called exactly once, on whatever thread, and must not block. The error is one
  /// sentence for the user: no such role, a damaged file, an endpoint that is down, no memory.
  using Use = std::function<void(const Result<std::shared_ptr<engine::Generator>>&)>;
  virtual void acquire(Role role, Use use) = 0;
  /// Whether the role has a larger model too. Any thread, cheap.
  virtual std::optional<Cascade> cascade(Role) const { return std::nullopt; }
  /// As acquire(), of that one.
  virtual void acquire_larger(Role role, Use use);
};

/// Models that are there already. Immutable once shared.
class FixedModels final : public Models {
 public:
  void set(Role role, std::shared_ptr<engine::Generator> generator);
  bool has(Role role) const override;
  bool chats(Role role) const override;
  std::string name(Role role) const override;
  void acquire(Role role, Use use) override;

  void set_larger(Role role, std::shared_ptr<engine::Generator> generator, double threshold);
  std::optional<Cascade> cascade(Role role) const override;
  void acquire_larger(Role role, Use use) override;

 private:
  std::array<std::shared_ptr<engine::Generator>, kRoles.size()> generators_, larger_;
  std::array<double, kRoles.size()> thresholds_{};
};

}  // namespace cambium::assist
