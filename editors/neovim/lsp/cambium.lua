-- For `vim.lsp.enable('cambium')` since Neovim 0.11. `require('cambium').setup()` then shows its suggestions and
-- accepts parts of one, or, in 0.12, `vim.lsp.inline_completion.enable()`, whole ones only.
return {
  cmd = require('cambium').options.cmd,
  root_markers = { '.git', '.cambium' },
  handlers = { ['cambium/status'] = require('cambium').on_status },
  capabilities = { experimental = { cambium = { requests = true } } },
  on_init = require('cambium').on_init,
}
