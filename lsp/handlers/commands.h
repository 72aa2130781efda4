// workspace/executeCommand, and what clients tell of the suggestions they showed.
#pragma once

#include <string>
#include <vector>

namespace cambium::lsp {

class Session;
void bind_commands(Session& session);
/// The names that initialize announces.
std::vector<std::string> command_names();

}  // namespace cambium::lsp
