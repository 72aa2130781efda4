-- Defines what exists without a call of setup(): the <Plug> maps, the command, the highlight group.
if vim.g.loaded_cambium then
  return
end
vim.g.loaded_cambium = true

vim.api.nvim_set_hl(0, 'CambiumGhost', { default = true, link = 'Comment' })

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
  nargs = '+',
  range = true,
  desc = 'Cambium: explain, why, comment, tests, change, review, trust, status, models, stats, toggle, unload, log, restart',
  complete = function(lead)
    return require('cambium.command').complete(lead)
  end,
})
