-- Moses: one table of functions, and the same again in short.

return {
  debian = "lua-moses",

  use = function()
    local _ = require "moses"
    local chained = _.chain({ 1, 2, 3,
      4 }):map(function(v) return v * v end):filter(function(v) return v % 2 == 0 end):value()
    return table.concat(chained, ",") .. _.sum { 1, 2, 3 }
      .. table.concat(_.flatten { 1, { 2, { 3 } } }, ",")
      .. table.concat(_.sort(_.keys { a = 1, b = 2 }),
        "") .. tostring(_.isEqual({ 1, { 2 } }, { 1, { 2 } }))
      .. tostring(require "moses_min".max { 3, 9, 4 })
      .. table.concat(_.zip({ 1, 2 }, { "a", "b" })[2], "")
        .. " by Moses"
  end,

  objects = function()
    local _ = require "moses"
    local add, composed = _.curry(function(a, b) return a + b end, 2), _.compose(tostring,
      function(x) return x + 1 end)
    local memo, wrapped = _.memoize(function(x) return x * 2 end), _ { 5, 6 }
    return function() return add(1)(2) .. composed(4) .. memo(21)
      .. table.concat(wrapped:map(function(x) return x + 1 end):value(), ",") end
  end,
}
