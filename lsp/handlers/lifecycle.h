// initialize, initialized, shutdown, exit, and what a client says of its workspace and settings.
#pragma once

namespace cambium::lsp {

class Session;
void bind_lifecycle(Session& session);

}  // namespace cambium::lsp
