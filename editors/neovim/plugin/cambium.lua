-- Defines what exists without a call of setup(): the <Plug> maps, the command, the highlight group.
if vim.g.loaded_cambium then
  return
end
vim.g.loaded_cambium = true

local function highlight()
  -- Since 0.10 the default colours leave comments plain where the terminal has no 24-bit colours, and ghost
  -- text would look like text.
  local comment = vim.api.nvim_get_hl and vim.api.nvim_get_hl(0, { name = 'Comment', link = false })
  vim.api.nvim_set_hl(0, 'CambiumGhost', comment and not (comment.ctermfg or comment.cterm)
    and { default = true, fg = comment.fg, ctermfg = 8 } or { default = true, link = 'Comment' })
end
highlight()
vim.api.nvim_create_autocmd('ColorScheme', { callback = highlight, desc = 'Cambium: the colour of ghost text' })

local function plug(name, desc)
  vim.keymap.set('i', '<Plug>(cambium-' .. name .. ')', function()
    require('cambium.ghost')[name:gsub('-', '_')]()
  end, { desc = 'Cambium: ' .. desc })
end
plug('accept', 'accept the suggestion')
plug('accept-word', 'accept its next word')
plug('accept-line', 'accept its next line')
plug('accept-node', 'accept its next syntax node')
plug('dismiss', 'dismiss the suggestion')
plug('next', 'show the next suggestion')
plug('previous', 'show the previous suggestion')

vim.api.nvim_create_user_command('Cambium', function(call)
  require('cambium.command').run(call.fargs, call.range > 0 and { call.line1, call.line2 } or nil)
end, {
  nargs = '*',
  range = true,
  desc = 'Cambium: explain, why, comment, tests, change, review, trust, status, models, stats, toggle, unload, log, restart',
  complete = function(lead)
    return require('cambium.command').complete(lead)
  end,
})
