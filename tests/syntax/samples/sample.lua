local M = {}

local config = {
  name = "x {",
  nested = { 1, 2 },
}

--[[ a comment
function not_code() ]]
function M.area(side, scale)
  if side > 1 then
    return side
  elseif side == 1 then
    return 0
  else
    return [[ end
    ]]
  end
end

function M:each(
  callback
)
  for i = 1, 10 do
    while true do
      break
    end
  end
  for _, v in ipairs(self) do callback(v) end
  repeat
    local x = 1
  until x > 0
  table.sort(self, function(a, b)
    return a < b
  end)
  do
    local y = 2
  end
end

M.run = function()
  return "a" .. 'b'
end

return M
