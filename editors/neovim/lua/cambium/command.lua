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
  argument.uri = vim.uri_from_bufnr(0)
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

local verbs = {
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
    vim.notify(('Cambium: %s%s%s'):format(status.state, status.model and ' · ' .. status.model or '',
      status.message and ' · ' .. status.message or ''))
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
      vim.notify(('Cambium: %d suggestions shown, %d accepted, %d in part; %d characters kept; %.0f ms (median)')
        :format(result.shown, result.accepted, result.partiallyAccepted, result.acceptedCharacters,
          result.latencyMs.p50))
    end)
  end,
  unload = function()
    execute('cambium.unload')
  end,
  log = function()
    vim.cmd('tabedit ' .. vim.fn.fnameescape(require('vim.lsp.log').get_filename()))
  end,
  restart = function()
    cambium().restart()
  end,
  review = function()
    execute('cambium.review', function(result)
      vim.notify(('Cambium: %d finding(s) in this file'):format(result.findings))
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

---@param words string[]
---@param range integer[]? the first line and the last, where some were given
function M.run(words, range)
  local verb = verbs[words[1]]
  if not verb then
    vim.notify(('Cambium: no "%s"; there are %s'):format(words[1], table.concat(M.complete(''), ', ')),
      vim.log.levels.ERROR)
    return
  end
  verb(range)
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
