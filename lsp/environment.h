// What the process's environment says: the user's folders, proxies, keys. The one config parser
// (settings.cpp) reads it, nobody else. Any thread, as long as nobody changes the environment.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "engine/remote/url.h"

namespace cambium {

/// A variable, if it is set.
std::optional<std::string> environment(const std::string& name);
/// $XDG_DATA_HOME/cambium/models or ~/.local/share/cambium/models: where models are pulled to; empty
/// where there is no home.
std::filesystem::path user_models_folder();
/// http_proxy, https_proxy, all_proxy and no_proxy, as curl reads them.
engine::ProxySettings environment_proxies();

}  // namespace cambium
