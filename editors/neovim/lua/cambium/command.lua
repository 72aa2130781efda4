--- :Cambium and its words.

local M = {}

local function cambium()
  return require('cambium')
end

local function execute(command, done, arguments)
  local client = cambium().client()
  if not client then
    vim.notify('Cambium: the server is not running; see :checkhealth cambium', vim.log.levels.WARN)
    return
  end
  cambium().call(client, 'request', 'workspace/executeCommand', { command = command, arguments = arguments or {} }, function(err, result)
    if err then
      vim.notify('Cambium: ' .. err.message, vim.log.levels.ERROR)
    elseif done then
      done(result)
    end
  end, 0)
end

--- What a client calls a place: zero-based, the character in UTF-16 units.
---@param line integer from 1
local function line_end(line)
  local text = vim.api.nvim_buf_get_lines(0, line - 1, line, true)[1]
  return { line = line - 1, character = cambium().units(text) }
end

--- A window below with text that is nobody's file.
---@param lines string[]
local function show(lines)
  vim.cmd('botright new')
  vim.bo.buftype = 'nofile'
  vim.bo.bufhidden = 'wipe'
  vim.bo.swapfile = false
  vim.api.nvim_buf_set_lines(0, 0, -1, true, lines)
  vim.bo.modifiable = false
  vim.bo.filetype = 'markdown'
  vim.wo.wrap = true
  vim.wo.linebreak = true
end

--- Asks for an explanation, and shows what the model says.
---@param argument table of the server's command cambium.explain
local function explain(argument)
  argument.uri = argument.uri or vim.uri_from_bufnr(0)
  vim.notify('Cambium: asking for an explanation')
  execute('cambium.explain', function(result)
    local lines = vim.split(vim.trim(result.text), '\n', { plain = true })
    vim.list_extend(lines, { '', ('*%s*'):format(result.timings.route.model) })
    show(lines)
  end, { argument })
end

--- The server's name for the finding on the cursor's line; nil: there is none.
---@return string|nil
local function finding_here()
  local line = vim.api.nvim_win_get_cursor(0)[1] - 1
  for _, diagnostic in ipairs(vim.diagnostic.get(0, { lnum = line })) do
    local sent = diagnostic.user_data and diagnostic.user_data.lsp or {}
    if diagnostic.source == 'cambium' and sent.data then
      return sent.data.fingerprint
    end
  end
end

--- The lines of a range, or the cursor.
---@param range integer[]?
local function place_of(range)
  if range then
    return { start = { line = range[1] - 1, character = 0 }, ['end'] = line_end(range[2]) }
  end
  local cursor = vim.api.nvim_win_get_cursor(0)
  local before = vim.api.nvim_get_current_line():sub(1, cursor[2])
  local _, units = vim.str_utfindex(before)
  local at = { line = cursor[1] - 1, character = units }
  return { start = at, ['end'] = at }
end

--- Has a model write into the file, or beside it. The server makes the edit, if the file is still the one
--- that it asked about.
---@param argument table of the server's command cambium.write
local function write(argument)
  argument.uri = argument.uri or vim.uri_from_bufnr(0)
  local function start(request)
    if argument.task == 'change' and vim.trim(request or '') == '' then
      return
    end
    argument.request = request
    vim.notify('Cambium: asking the model')
    execute('cambium.write', function(result)
      local what = result.newFile and vim.uri_to_fname(result.newFile) or argument.task
      vim.notify('Cambium: wrote ' .. what .. (result.note and ' · ' .. result.note or ''))
    end, { argument })
  end
  if argument.task == 'change' and not argument.request then
    if vim.ui and vim.ui.input then
      vim.ui.input({ prompt = 'What is to be changed? ' }, start)
    else
      start(vim.fn.input('What is to be changed? '))
    end
  else
    start(argument.request)
  end
end

--- Code actions of the server that end in something to read or begin with a question.
M.actions = {
  ['cambium.explain'] = function(command)
    local argument = vim.deepcopy(command.arguments[1])
    argument.show = nil
    explain(argument)
  end,
  ['cambium.write'] = function(command)
    write(vim.deepcopy(command.arguments[1]))
  end,
}

local verbs = {
  comment = function(range)
    write({ task = 'comment', range = place_of(range) })
  end,
  tests = function(range)
    write({ task = 'tests', range = place_of(range) })
  end,
  change = function(range, request)
    write({ task = 'change', range = place_of(range), request = request ~= '' and request or nil })
  end,
  trust = function()
    local client = cambium().client()
    local folder = client and client.config.root_dir
    local file = folder and folder .. '/.cambium/review.md'
    if not file or vim.fn.filereadable(file) == 0 then
      vim.notify('Cambium: this workspace has no .cambium/review.md', vim.log.levels.WARN)
      return
    end
    -- Neovim 0.9 remembers the answer, and asks again when the file has changed. Since 0.12 it only shows the
    -- file, for `:trust`.
    if vim.secure and vim.secure.read then
      if not vim.secure.read(file) then
        vim.notify('Cambium: the rules of this workspace do not count; to trust them, view the file, then :trust '
          .. 'there, then :Cambium trust again', vim.log.levels.WARN)
        return
      end
    elseif vim.fn.confirm(('May %s tell the model that reviews what to look for?'):format(file), '&Yes\n&No', 2) ~= 1 then
      return
    end
    cambium().tell_trust(client, folder)
    vim.notify('Cambium: the rules of this workspace count from now on')
  end,
  explain = function(range)
    explain(range and {
      range = { start = { line = range[1] - 1, character = 0 }, ['end'] = line_end(range[2]) },
    } or {})
  end,
  why = function()
    local finding = finding_here()
    if finding then
      explain({ finding = finding })
    else
      vim.notify('Cambium: there is no finding on this line', vim.log.levels.WARN)
    end
  end,
  status = function()
    local status = cambium().status
    local message = status.message or ''
    local said = { status.state }
    -- Of a model that is loaded the message says more than its name.
    if status.model and not vim.startswith(message, status.model) then
      table.insert(said, status.model)
    end
    if message ~= '' then
      table.insert(said, message)
    end
    vim.notify('Cambium: ' .. table.concat(said, ' · '))
  end,
  toggle = function()
    local options = cambium().options
    options.enabled = not options.enabled
    require('cambium.ghost').dismiss()
    local native, client = vim.lsp.inline_completion, cambium().client()
    if native and native.is_enabled() and client then
      native.enable(options.enabled, { client_id = client.id })
    end
    vim.notify('Cambium: suggestions are ' .. (options.enabled and 'on' or 'off'))
  end,
  stats = function()
    execute('cambium.stats', function(result)
      vim.notify(('Cambium: suggestions: %d shown, %d accepted, %d in part; %d characters kept; %.0f ms (median)')
        :format(result.shown, result.accepted, result.partiallyAccepted, result.acceptedCharacters,
          result.latencyMs.p50))
    end)
  end,
  unload = function()
    execute('cambium.unload', function()
      vim.notify('Cambium: the model loads again at the next request')
    end)
  end,
  log = function()
    vim.cmd('tabedit ' .. vim.fn.fnameescape(require('vim.lsp.log').get_filename()))
  end,
  restart = function()
    vim.notify('Cambium: starting the server again')
    cambium().restart()
  end,
  review = function()
    execute('cambium.review', function(result)
      local count = result.findings
      local found = count == 0 and 'nothing to complain about' or count == 1 and '1 finding' or count .. ' findings'
      vim.notify(table.concat({ ('Cambium: %s in this file'):format(found), unpack(result.notes) }, '\n'))
    end, { { uri = vim.uri_from_bufnr(0) } })
  end,
  models = function()
    execute('cambium.models', function(models)
      for _, model in ipairs(models) do
        vim.notify(('%s: %s%s'):format(model.name, model.state, model.description and ' · ' .. model.description or ''))
      end
    end)
  end,
}

---@param words string[] none: what the server is doing
---@param range integer[]? the first line and the last, where some were given
function M.run(words, range)
  local verb = verbs[words[1] or 'status']
  if not verb then
    vim.notify(('Cambium: there is no "%s", but %s'):format(words[1], table.concat(M.complete(''), ', ')),
      vim.log.levels.ERROR)
    return
  end
  verb(range, table.concat(words, ' ', 2))
end

---@param lead string
---@return string[]
function M.complete(lead)
  local names = vim.tbl_filter(function(name)
    return vim.startswith(name, lead)
  end, vim.tbl_keys(verbs))
  table.sort(names)
  return names
end

return M
