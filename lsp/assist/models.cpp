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

}  // namespace cambium::assist
