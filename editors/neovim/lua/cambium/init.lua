--- Cambium for Neovim 0.7 and later: starts the language server and draws its ghost text.
---
--- require('cambium').setup({ cmd = { 'cambium', 'lsp' } })

local M = {}

---@class cambium.Options
---@field cmd string[] the server and its flags; machine-wide things (model, device) are flags. The default
---  is `cambium` on PATH, else the one built in the checkout that this plugin lies in
---@field settings table what the server asks for by workspace/configuration, e.g. { completion = { multiline = false } }
---@field filetypes string[]|nil nil: every file type
---@field delay integer milliseconds of rest before a request
---@field keys table<string, string|false> name of a <Plug> map -> key; false: none
---@field enabled boolean
---@field trusted_folders string[] workspaces in them may steer reviews by their .cambium/review.md

---@return string
local function default_program()
  if vim.fn.executable('cambium') == 1 then
    return 'cambium'
  end
  local here = debug.getinfo(1, 'S').source:sub(2)
  local built = vim.fn.fnamemodify(here, ':p:h:h:h:h:h') .. '/build/release/lsp/cambium'
  return vim.fn.executable(built) == 1 and built or 'cambium'
end

---@type cambium.Options
M.options = {
  cmd = { default_program(), 'lsp' },
  settings = {},
  filetypes = nil,
  delay = 30,
  keys = {
    accept = '<Tab>',
    ['accept-word'] = '<M-Right>',
    ['accept-line'] = '<M-End>',
    ['accept-node'] = '<M-n>',
    dismiss = '<C-]>',
    next = '<M-]>',
    previous = '<M-[>',
  },
  enabled = true,
  trusted_folders = {},
}

--- The last `cambium/status` of the server.
---@type { state: string, message?: string, model?: string, progress?: number }
M.status = { state = 'off' }

---@type integer|nil
local client_id
--- What to do when a server that ends was not asked to: it is started again, after longer and longer
--- pauses, and at last the user is told.
local back_off = { 0, 500, 2000 }
local failures = 0
local stopping = false
local started_at = 0
--- A server that ran this long was fine, milliseconds.
local healthy_after = 60000

--- Whether vim.lsp.enable('cambium') starts the servers, one a workspace, and not we.
---@return boolean
local function enabled_elsewhere()
  return vim.lsp.is_enabled ~= nil and vim.lsp.is_enabled('cambium')
end

---@return table|nil the running client
function M.client()
  local client = client_id and vim.lsp.get_client_by_id(client_id)
  if client then
    return client
  end
  local list = vim.lsp.get_clients or vim.lsp.get_active_clients
  local buffer = vim.api.nvim_get_current_buf()
  local other
  for _, each in ipairs(list()) do
    if each.name == 'cambium' then
      if each.attached_buffers and each.attached_buffers[buffer] then
        return each
      end
      other = other or each
    end
  end
  return other
end

--- Calls a method of a client, which takes itself as an argument since 0.11.
---@param client table
---@param method string
function M.call(client, method, ...)
  if vim.fn.has('nvim-0.11') == 1 then
    return client[method](client, ...)
  end
  return client[method](...)
end

--- UTF-16 units of `text`.
---@param text string
---@return integer
function M.units(text)
  if vim.fn.has('nvim-0.11') == 1 then
    return vim.str_utfindex(text, 'utf-16')
  end
  local _, units = vim.str_utfindex(text)
  return units
end

--- Bytes of `text` (which may hold several lines) that so many units are; all of it where it is shorter.
---@param text string
---@param units integer
---@param encoding string utf-8, utf-16 or utf-32
---@return integer
function M.bytes(text, units, encoding)
  if encoding == 'utf-8' then
    return math.min(units, #text)
  elseif vim.fn.has('nvim-0.11') == 1 then
    return vim.str_byteindex(text, encoding, units, false)
  end
  local ok, byte = pcall(vim.str_byteindex, text, units, encoding == 'utf-16')
  return ok and byte or #text
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

--- Handler of the notification `cambium/status`.
function M.on_status(_, params)
  M.status = params or M.status
  vim.cmd('redrawstatus')
  vim.api.nvim_exec_autocmds('User', { pattern = 'CambiumStatus', modeline = false })
end

--- Folders that the user trusts for this session, by `:Cambium trust`.
---@type table<string, boolean>
local trusted = {}

--- Tells the server which of the client's folders the user trusts: by a message, since what a workspace
--- says of itself can reach settings.
---@param client table
---@param folder string|nil one more that is trusted from now on
function M.tell_trust(client, folder)
  if folder then
    trusted[folder] = true
  end
  local folders = {}
  for _, each in ipairs(client.workspace_folders or {}) do
    local path = vim.uri_to_fname(each.uri)
    local told = trusted[path]
    for _, outer in ipairs(M.options.trusted_folders) do
      local whole = vim.fn.fnamemodify(vim.fn.expand(outer), ':p'):gsub('/$', '')
      told = told or path == whole or vim.startswith(path, whole .. '/')
    end
    if told then
      table.insert(folders, each.uri)
    end
  end
  M.call(client, 'notify', 'cambium/workspaceTrust', { folders = folders })
end

--- Once the server is there.
function M.on_init(client)
  M.tell_trust(client)
  for name, run in pairs(require('cambium.command').actions) do
    vim.lsp.commands[name] = run
  end
end

--- What our client can do beyond Neovim's: it asks what is to be changed.
local function capabilities()
  local made = vim.lsp.protocol.make_client_capabilities()
  made.experimental = { cambium = { requests = true } }
  return made
end

local function attach_all()
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    M.attach(buffer)
  end
end

local function ended()
  client_id = nil
  M.status = { state = 'off', message = 'the server has ended' }
  if stopping then
    stopping = false
    attach_all()
    return
  end
  failures = vim.loop.now() - started_at > healthy_after and 1 or failures + 1
  local pause = back_off[failures]
  if pause then
    vim.defer_fn(attach_all, pause)
  else
    M.status = { state = 'problem', message = 'the server keeps stopping; see :Cambium log' }
    vim.notify('Cambium: ' .. M.status.message .. ', then :Cambium restart', vim.log.levels.WARN)
  end
end

--- Stops the server, if there is one, and starts it again.
function M.restart()
  failures = 0
  if enabled_elsewhere() then
    vim.lsp.enable('cambium', false)
    vim.lsp.enable('cambium')
    return
  end
  local client = client_id and vim.lsp.get_client_by_id(client_id)
  if client then
    stopping = true
    M.call(client, 'stop')
  else
    attach_all()
  end
end

--- Starts the server if it is not running and attaches `buffer` to it.
---@param buffer integer
function M.attach(buffer)
  if not wanted(buffer) or enabled_elsewhere() then
    return
  end
  if vim.fn.executable(M.options.cmd[1]) == 0 then
    local message = M.options.cmd[1] .. ' is not executable; see :checkhealth cambium'
    if M.status.message ~= message then -- once, not in every buffer
      M.status = { state = 'problem', message = message }
      vim.notify('Cambium: ' .. message, vim.log.levels.WARN)
    end
    return
  end
  local running = M.client()
  if running then
    vim.lsp.buf_attach_client(buffer, running.id)
    return
  end
  started_at = vim.loop.now()
  local config = {
    name = 'cambium',
    cmd = M.options.cmd,
    root_dir = root_of(vim.api.nvim_buf_get_name(buffer)),
    settings = { cambium = M.options.settings },
    handlers = { ['cambium/status'] = M.on_status },
    on_init = M.on_init,
    capabilities = capabilities(),
    on_exit = vim.schedule_wrap(ended),
  }
  if vim.lsp.start then -- 0.8
    client_id = vim.lsp.start(config, { bufnr = buffer })
  else
    client_id = vim.lsp.start_client(config)
    if client_id then
      vim.lsp.buf_attach_client(buffer, client_id)
    end
  end
end

--- What `key` does in insert mode without us.
local function fallback(key)
  local before = vim.fn.maparg(key, 'i', false, true)
  if vim.tbl_isempty(before) or (before.desc or ''):find('^Cambium') then
    return function()
      return key
    end
  end
  return function()
    if before.callback then
      local keys = before.callback()
      return before.expr == 1 and keys or ''
    end
    return before.expr == 1 and vim.api.nvim_eval(before.rhs) or before.rhs
  end
end

local function map_keys()
  for name, key in pairs(M.options.keys) do
    if key then
      local plug = '<Plug>(cambium-' .. name .. ')'
      -- Without a suggestion the key does what it did before.
      local otherwise = fallback(key)
      vim.keymap.set('i', key, function()
        return require('cambium.ghost').visible() and plug or otherwise()
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
  -- While Neovim starts, the rest of the user's configuration may still call vim.lsp.enable(); BufEnter follows.
  if vim.v.vim_did_enter == 1 then
    M.attach(vim.api.nvim_get_current_buf())
  end
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
