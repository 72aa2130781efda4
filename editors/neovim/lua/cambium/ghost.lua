--- Ghost text: asks for textDocument/inlineCompletion while one types, and draws it by extmarks.
---
--- Neovim 0.7 can't shift text to the right of an extmark, so in the middle of a line the rest of the
--- line is drawn again after the suggestion.

local M = {}

local namespace = vim.api.nvim_create_namespace('cambium')
local api = vim.api

---@class cambium.Suggestion
---@field buffer integer
---@field row integer 0-based
---@field column integer 0-based, bytes: where the suggestion is drawn
---@field items table[] the server's items
---@field index integer which one is shown
---@field text string what is left of it to insert at the cursor
---@field accepted integer UTF-16 units accepted so far

---@type cambium.Suggestion|nil
local shown
---@type integer|nil
local pending
--- Where a suggestion was dismissed, by place().
---@type integer[]|nil
local dismissed
local timer = vim.loop.new_timer()

local function cambium()
  return require('cambium')
end

---@return boolean
function M.visible()
  return shown ~= nil
end

local function clear()
  if shown and api.nvim_buf_is_valid(shown.buffer) then
    api.nvim_buf_clear_namespace(shown.buffer, namespace, 0, -1)
  end
  shown = nil
end

local function draw()
  local s = shown
  api.nvim_buf_clear_namespace(s.buffer, namespace, 0, -1)
  local lines = vim.split(s.text, '\r?\n')
  local line = api.nvim_buf_get_lines(s.buffer, s.row, s.row + 1, false)[1] or ''
  local rest = line:sub(s.column + 1)
  local first = { { lines[1], 'CambiumGhost' } }
  if rest ~= '' and #lines == 1 then
    table.insert(first, { rest, 'Normal' })
  end
  local below = {}
  for i = 2, #lines do
    local text = lines[i] .. (i == #lines and rest or '')
    -- A tab in virtual text is drawn as one cell; spaces look as the inserted text will.
    below[#below + 1] = { { (text:gsub('\t', (' '):rep(vim.bo[s.buffer].tabstop))), 'CambiumGhost' } }
  end
  if #lines > 1 and rest ~= '' then
    table.insert(first, { (' '):rep(vim.fn.strdisplaywidth(rest)), 'Normal' })
  end
  api.nvim_buf_set_extmark(s.buffer, namespace, s.row, s.column, {
    virt_text = first,
    virt_text_pos = 'overlay',
    virt_lines = #below > 0 and below or nil,
    hl_mode = 'combine',
  })
end

--- What an item adds at the cursor: its text without what already stands between its range's start and
--- the cursor. nil if it does not fit there.
local function added(item, buffer, row, column, encoding)
  local text = type(item.insertText) == 'table' and item.insertText.value or item.insertText
  if not item.range then
    return text
  end
  local start = item.range.start
  local line = api.nvim_buf_get_lines(buffer, row, row + 1, false)[1] or ''
  local typed = line:sub(cambium().bytes(line, start.character, encoding) + 1, column)
  if start.line ~= row or text:sub(1, #typed) ~= typed then
    return nil
  end
  return text:sub(#typed + 1)
end

local function show(items, buffer, row, column, encoding)
  clear()
  local fitting = {}
  for _, item in ipairs(items) do
    local text = added(item, buffer, row, column, encoding)
    if text and text ~= '' then
      fitting[#fitting + 1] = { item = item, text = text }
    end
  end
  if #fitting == 0 then
    return
  end
  shown = { buffer = buffer, row = row, column = column, items = fitting, index = 1,
    text = fitting[1].text, accepted = 0 }
  draw()
  local client = cambium().client()
  if client then
    cambium().call(client, 'notify', 'textDocument/didShowCompletion', { item = fitting[1].item })
  end
end

local function cursor()
  local at = api.nvim_win_get_cursor(0)
  return at[1] - 1, at[2]
end

--- The buffer, its text's version and the cursor.
local function place()
  local buffer = api.nvim_get_current_buf()
  return { buffer, api.nvim_buf_get_changedtick(buffer), cursor() }
end

--- Whether Neovim itself (0.12) draws this client's suggestions, after vim.lsp.inline_completion.enable().
---@return boolean
local function drawn_elsewhere(client, buffer)
  local native = vim.lsp.inline_completion
  return native ~= nil and native.is_enabled({ bufnr = buffer, client_id = client.id })
end

--- Whoever no longer waits for an answer does not get it: a late one would draw again what was dismissed.
local function drop_pending()
  local client = cambium().client()
  if pending and client then
    cambium().call(client, 'cancel_request', pending)
  end
  pending = nil
end

local function request(kind)
  local client = cambium().client()
  local buffer = api.nvim_get_current_buf()
  if not client or not cambium().options.enabled or drawn_elsewhere(client, buffer)
    or api.nvim_get_mode().mode:sub(1, 1) ~= 'i'
    -- Whoever types fast dismisses before Neovim tells of the key before.
    or vim.deep_equal(dismissed, place()) then
    return
  end
  drop_pending()
  local encoding = client.offset_encoding or 'utf-16'
  local params = vim.lsp.util.make_position_params(0, encoding)
  params.context = { triggerKind = kind }
  local row, column = cursor()
  local tick = api.nvim_buf_get_changedtick(buffer)
  local id
  local ok
  ok, id = cambium().call(client, 'request', 'textDocument/inlineCompletion', params, function(err, result)
    if pending ~= id then
      return
    end
    pending = nil
    local now_row, now_column = cursor()
    local stale = api.nvim_get_current_buf() ~= buffer or now_row ~= row or now_column ~= column
      or api.nvim_buf_get_changedtick(buffer) ~= tick or api.nvim_get_mode().mode:sub(1, 1) ~= 'i'
    if err or stale then
      return
    end
    show(result and (result.items or result) or {}, buffer, row, column, encoding)
  end, buffer)
  pending = ok and id or nil
end

--- After a keystroke: keep what is still right of the suggestion, then ask again.
local function changed()
  local row, column = cursor()
  if shown then
    local s = shown
    local line = api.nvim_buf_get_lines(s.buffer, row, row + 1, false)[1] or ''
    local typed = row == s.row and column >= s.column and line:sub(s.column + 1, column) or nil
    if typed and typed ~= '' and s.text:sub(1, #typed) == typed and #typed < #s.text
      and api.nvim_get_current_buf() == s.buffer then
      s.text, s.column = s.text:sub(#typed + 1), column
      draw()
    elseif typed ~= '' then
      clear()
    end
  end
  timer:stop()
  timer:start(cambium().options.delay, 0, vim.schedule_wrap(function()
    request(2)
  end))
end

--- Inserts the first `bytes` of the suggestion at the cursor.
local function insert(bytes)
  local s = shown
  if not s then
    return
  end
  local part, rest = s.text:sub(1, bytes), s.text:sub(bytes + 1)
  local item = s.items[s.index].item
  local lines = vim.split(part, '\r?\n')
  api.nvim_buf_clear_namespace(s.buffer, namespace, 0, -1)
  api.nvim_buf_set_text(s.buffer, s.row, s.column, s.row, s.column, lines)
  local row = s.row + #lines - 1
  local column = #lines == 1 and s.column + #part or #lines[#lines]
  api.nvim_win_set_cursor(0, { row + 1, column })
  local client = cambium().client()
  s.accepted = s.accepted + cambium().units(part)
  if rest == '' then
    clear()
    if client and item.command then
      cambium().call(client, 'request', 'workspace/executeCommand',
        { command = item.command.command, arguments = item.command.arguments }, function() end, s.buffer)
    end
  else
    s.row, s.column, s.text = row, column, rest
    draw()
    if client then
      cambium().call(client, 'notify', 'textDocument/didPartiallyAcceptCompletion', { item = item, acceptedLength = s.accepted })
    end
  end
end

function M.accept()
  insert(shown and #shown.text or 0)
end

function M.accept_word()
  if shown then
    local _, last = shown.text:find('^%s*[%w_]+')
    if not last then
      _, last = shown.text:find('^%s*[^%w_%s]+')
    end
    insert(last or #shown.text)
  end
end

function M.accept_line()
  if shown then
    insert((shown.text:find('\n', 2, true) or #shown.text + 1) - 1)
  end
end

--- Accepts up to the end of the next syntax node, which the server knows.
function M.accept_node()
  local s = shown
  local client = cambium().client()
  if not s or not client then
    return
  end
  local params = vim.lsp.util.make_position_params(0, client.offset_encoding or 'utf-16')
  params.text = s.text
  cambium().call(client, 'request', 'workspace/executeCommand', { command = 'cambium.node', arguments = { params } },
    function(err, result)
      if not err and result and shown == s and s.text == params.text then
        insert(cambium().bytes(s.text, result.length, 'utf-16'))
      end
    end, s.buffer)
end

function M.dismiss()
  timer:stop()
  drop_pending()
  clear()
  dismissed = place()
end

local function cycle(by)
  if shown then
    shown.index = (shown.index - 1 + by) % #shown.items + 1
    shown.text = shown.items[shown.index].text
    draw()
  end
end

function M.next()
  cycle(1)
end

function M.previous()
  cycle(-1)
end

--- Draws suggestions from now on.
---@param group integer augroup
function M.enable(group)
  api.nvim_create_autocmd({ 'TextChangedI', 'CursorMovedI', 'TextChangedP' }, {
    group = group,
    callback = changed,
  })
  api.nvim_create_autocmd({ 'InsertLeave', 'BufLeave' }, { group = group, callback = M.dismiss })
end

return M
