-- For `vim.lsp.enable('cambium')` in Neovim 0.11 and later.
return {
  cmd = { 'cambium', 'lsp' },
  root_markers = { '.git', '.cambium' },
}
