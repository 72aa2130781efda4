--- :Cambium and its words.

local M = {}

local function cambium()
  return require('cambium')
end

local function execute(command, done)
  local client = cambium().client()
  if not client then
    vim.notify('Cambium: the server is not running; see :checkhealth cambium', vim.log.levels.WARN)
    return
  end
  client.request('workspace/executeCommand', { command = command, arguments = {} }, function(err, result)
    if err then
      vim.notify('Cambium: ' .. err.message, vim.log.levels.ERROR)
    elseif done then
      done(result)
    end
  end, 0)
end

local verbs = {
  status = function()
    local status = cambium().status
    vim.notify(('Cambium: %s%s%s'):format(status.state, status.model and ' · ' .. status.model or '',
      status.message and ' · ' .. status.message or ''))
  end,
  toggle = function()
    local options = cambium().options
    options.enabled = not options.enabled
    require('cambium.ghost').dismiss()
    vim.notify('Cambium: suggestions are ' .. (options.enabled and 'on' or 'off'))
  end,
  stats = function()
    execute('cambium.stats', function(result)
      vim.notify(vim.inspect(result))
    end)
  end,
  unload = function()
    execute('cambium.unload')
  end,
  log = function()
    vim.cmd('tabedit ' .. vim.fn.fnameescape(vim.lsp.get_log_path()))
  end,
  restart = function()
    local client = cambium().client()
    if client then
      client.stop()
    end
    vim.defer_fn(function()
      cambium().attach(vim.api.nvim_get_current_buf())
    end, 200)
  end,
}

---@param words string[]
function M.run(words)
  local verb = verbs[words[1]]
  if not verb then
    vim.notify(('Cambium: no "%s"; there are %s'):format(words[1], table.concat(M.complete(''), ', ')),
      vim.log.levels.ERROR)
    return
  end
  verb()
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
