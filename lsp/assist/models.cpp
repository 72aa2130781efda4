#include "lsp/assist/models.h"

#include <utility>

namespace cambium::assist {

const char* to_string(Role role) {
  switch (role) {
    case Role::completion:
      return "completion";
    case Role::reasoning:
      return "reasoning";
    case Role::general:
      return "general";
  }
  return "general";
}

void Models::acquire_larger(Role role, Use use) {
  use(fail(ErrorCode::not_found,
           std::string("the role \"") + to_string(role) + "\" has no larger model"));
}

void FixedModels::set(Role role, std::shared_ptr<engine::Generator> generator) {
  generators_[static_cast<size_t>(role)] = std::move(generator);
}

bool FixedModels::has(Role role) const { return generators_[static_cast<size_t>(role)] != nullptr; }

bool FixedModels::chats(Role role) const {
  return has(role) && generators_[static_cast<size_t>(role)]->capabilities().chat;
}

std::string FixedModels::name(Role role) const {
  return has(role) ? generators_[static_cast<size_t>(role)]->capabilities().model : std::string();
}

void FixedModels::acquire(Role role, Use use) {
  if (has(role)) {
    use(generators_[static_cast<size_t>(role)]);
  } else {
    use(fail(ErrorCode::not_found, std::string("no model has the role '") + to_string(role) + "'"));
  }
}

void FixedModels::set_larger(Role role, std::shared_ptr<engine::Generator> generator,
                             double threshold) {
  larger_[static_cast<size_t>(role)] = std::move(generator);
  thresholds_[static_cast<size_t>(role)] = threshold;
}

std::optional<Cascade> FixedModels::cascade(Role role) const {
  const auto& larger = larger_[static_cast<size_t>(role)];
  if (!larger) return std::nullopt;
  return Cascade{larger->capabilities().model, thresholds_[static_cast<size_t>(role)]};
}

void FixedModels::acquire_larger(Role role, Use use) {
  const auto& larger = larger_[static_cast<size_t>(role)];
  if (!larger) return Models::acquire_larger(role, std::move(use));
  use(larger);
}

}  // namespace cambium::assist
