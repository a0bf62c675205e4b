-- fifo: a queue, a class by metatable.

return {
  debian = "lua-fifo",

  use = function()
    local queue = require "fifo"(1, 2, 3)
    queue:push "x"
    local first = queue:pop()
    queue:insert(2, "in")
    local all = { queue:peek(1), queue:peek(2), tostring(queue:length()) }
    queue:setempty(function() return "nothing", "left" end)
    for _ = 1, 5 do all[#all + 1] = tostring(queue:pop()) end
    return table.concat(all, ",") .. first .. queue:length() .. " in the queue"
  end,

  objects = function()
    local queue = require "fifo"()
    queue:setempty(function() return "empty" end)
    return function()
      queue:push "a"
      return queue:peek() .. queue:pop() .. queue:pop() .. #queue
    end
  end,
}
