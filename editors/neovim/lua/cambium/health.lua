--- :checkhealth cambium

local M = {}

function M.check()
  local health = vim.health or {}
  local start = health.start or require('health').report_start
  local ok = health.ok or require('health').report_ok
  local warn = health.warn or require('health').report_warn
  local err = health.error or require('health').report_error

  start('cambium')
  if vim.fn.has('nvim-0.7') == 1 then
    ok('Neovim is new enough')
  else
    err('Neovim 0.7 or later is needed')
  end
  local cmd = require('cambium').options.cmd
  if vim.fn.executable(cmd[1]) == 1 then
    local version = vim.fn.system({ cmd[1], '--version' })
    ok(('%s: %s'):format(vim.fn.exepath(cmd[1]), vim.trim(version)))
  else
    err(('%s is not executable'):format(cmd[1]),
      { 'build it with ./dev build, then setup({ cmd = { "/path/to/cambium", "lsp" } })' })
  end
  local client = require('cambium').client()
  if client then
    ok('the server is running' .. (require('cambium').status.model and ': ' .. require('cambium').status.model or ''))
  else
    warn('the server is not running: open a file, or call require("cambium").setup()')
  end
end

return M
