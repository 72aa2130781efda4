--- Cambium for Neovim 0.7 and later: starts the language server and draws its ghost text.
---
--- require('cambium').setup({ cmd = { 'cambium', 'lsp' } })

local M = {}

---@class cambium.Options
---@field cmd string[] the server and its flags; machine-wide things (model, device) are flags
---@field settings table what the server asks for by workspace/configuration, e.g. { completion = { multiline = false } }
---@field filetypes string[]|nil nil: every file type
---@field delay integer milliseconds of rest before a request
---@field keys table<string, string|false> name of a <Plug> map -> key; false: none
---@field enabled boolean

---@type cambium.Options
M.options = {
  cmd = { 'cambium', 'lsp' },
  settings = {},
  filetypes = nil,
  delay = 30,
  keys = {
    accept = '<Tab>',
    ['accept-word'] = '<M-Right>',
    ['accept-line'] = '<M-End>',
    dismiss = '<C-]>',
    next = '<M-]>',
    previous = '<M-[>',
  },
  enabled = true,
}

--- The last `cambium/status` of the server.
---@type { state: string, message?: string, model?: string, progress?: number }
M.status = { state = 'off' }

---@type integer|nil
local client_id

---@return table|nil the running client
function M.client()
  local client = client_id and vim.lsp.get_client_by_id(client_id)
  if client then
    return client
  end
  -- Started by vim.lsp.enable('cambium') instead of by us.
  local list = vim.lsp.get_clients or vim.lsp.get_active_clients
  for _, each in ipairs(list()) do
    if each.name == 'cambium' then
      return each
    end
  end
end

local function root_of(path)
  local from = path ~= '' and vim.fn.fnamemodify(path, ':p:h') or vim.loop.cwd()
  local git = vim.fn.finddir('.git', vim.fn.escape(from, ' ;') .. ';')
  return git ~= '' and vim.fn.fnamemodify(git, ':p:h:h') or from
end

local function wanted(buffer)
  if vim.bo[buffer].buftype ~= '' or not vim.api.nvim_buf_is_loaded(buffer) then
    return false
  end
  local types = M.options.filetypes
  return types == nil or vim.tbl_contains(types, vim.bo[buffer].filetype)
end

local function on_status(_, params)
  M.status = params or M.status
  vim.cmd('redrawstatus')
  vim.api.nvim_exec_autocmds('User', { pattern = 'CambiumStatus', modeline = false })
end

--- Starts the server if it is not running and attaches `buffer` to it.
---@param buffer integer
function M.attach(buffer)
  if not wanted(buffer) then
    return
  end
  if vim.fn.executable(M.options.cmd[1]) == 0 then
    M.status = { state = 'problem', message = M.options.cmd[1] .. ' is not executable; see :checkhealth cambium' }
    return
  end
  if not (client_id and vim.lsp.get_client_by_id(client_id)) then
    client_id = vim.lsp.start_client({
      name = 'cambium',
      cmd = M.options.cmd,
      root_dir = root_of(vim.api.nvim_buf_get_name(buffer)),
      settings = { cambium = M.options.settings },
      handlers = { ['cambium/status'] = on_status },
      on_exit = function()
        M.status = { state = 'off', message = 'the server has ended' }
      end,
    })
  end
  if client_id then
    vim.lsp.buf_attach_client(buffer, client_id)
  end
end

local function map_keys()
  for name, key in pairs(M.options.keys) do
    if key then
      local plug = '<Plug>(cambium-' .. name .. ')'
      -- Without a suggestion the key does what it did before.
      vim.keymap.set('i', key, function()
        if require('cambium.ghost').visible() then
          return plug
        end
        return vim.fn.pumvisible() == 1 and key == '<Tab>' and '<C-n>' or key
      end, { expr = true, remap = true, replace_keycodes = true, desc = 'Cambium: ' .. name })
    end
  end
end

---@param options cambium.Options|nil
function M.setup(options)
  M.options = vim.tbl_deep_extend('force', M.options, options or {})
  map_keys()
  local group = vim.api.nvim_create_augroup('cambium', { clear = true })
  vim.api.nvim_create_autocmd({ 'FileType', 'BufEnter' }, {
    group = group,
    callback = function(event)
      M.attach(event.buf)
    end,
  })
  require('cambium.ghost').enable(group)
  M.attach(vim.api.nvim_get_current_buf())
end

--- For a status line: "cambium", "cambium 40%", "cambium off".
---@return string
function M.statusline()
  local status = M.status
  if not M.options.enabled then
    return 'cambium off'
  elseif status.state == 'loading' and status.progress then
    return ('cambium %d%%'):format(status.progress * 100)
  elseif status.state == 'ready' then
    return 'cambium'
  end
  return 'cambium ' .. status.state
end

return M
