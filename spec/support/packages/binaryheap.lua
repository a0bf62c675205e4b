-- binaryheap: heaps whose methods are closures and shared functions.

return {
  debian = "lua-binaryheap",

  use = function()
    local binaryheap = require "binaryheap"
    local heap, out = binaryheap.minUnique(), {}
    for i, word in ipairs { "d", "a", "c", "b" } do heap:insert((i * 7) % 5, word) end
    heap:update("a", 0)
    heap:remove "c"
    while heap:peek() do out[#out + 1] = table.concat({ heap:pop() }, "") end
    return table.concat(out, ",") .. " a heap, emptied"
  end,

  objects = function()
    local heap = require "binaryheap".maxHeap(function(a, b) return a > b end)
    for i = 1, 9 do heap:insert(i * 4 % 9) end
    return function()
      local top = heap:pop()
      heap:insert(top)
      return tostring(top) .. heap:size()
    end
  end,
}
