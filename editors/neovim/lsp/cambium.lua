-- For `vim.lsp.enable('cambium')` in Neovim 0.12. `vim.lsp.inline_completion.enable()` then shows its
-- suggestions, or `require('cambium').setup()`, which also accepts parts of one.
return {
  cmd = require('cambium').options.cmd,
  root_markers = { '.git', '.cambium' },
  handlers = { ['cambium/status'] = require('cambium').on_status },
  capabilities = { experimental = { cambium = { requests = true } } },
  on_init = require('cambium').on_init,
}
