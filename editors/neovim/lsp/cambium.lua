-- For `vim.lsp.enable('cambium')` in Neovim 0.11 and later. In 0.12, `vim.lsp.inline_completion.enable()`
-- then shows its suggestions; in 0.11, and for parts of a suggestion, `require('cambium').setup()` does.
return {
  cmd = require('cambium').options.cmd,
  root_markers = { '.git', '.cambium' },
  handlers = { ['cambium/status'] = require('cambium').on_status },
  capabilities = { experimental = { cambium = { requests = true } } },
  on_init = require('cambium').on_init,
}
