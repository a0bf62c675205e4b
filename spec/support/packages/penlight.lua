-- Penlight: the largest library in the list; classes, closures, and modules that change the
-- globals.

return {
  debian = "lua-penlight",

  vm_only = {
    ["pl.lexer"] =
      "it keeps lists of its own functions, and compares those with the functions of later calls",
  },
  grows = {
    ["pl.strict"] =
      "`pl` gives the globals a new metatable, and it sets that up as it did the first one",
  },

  use = function()
    local List, OrderedMap, Map, Set = require "pl.List", require "pl.OrderedMap", require "pl.Map",
      require "pl.Set"
    local class, tablex, stringx, pretty = require "pl.class", require "pl.tablex",
      require "pl.stringx", require "pl.pretty"
    local seq, data, lexer, template = require "pl.seq", require "pl.data", require "pl.lexer",
      require "pl.template"
    local xml, sip, Date, text = require "pl.xml", require "pl.sip", require "pl.Date",
      require "pl.text"
    local comprehension, func, url = require "pl.comprehension".new(), require "pl.func",
      require "pl.url"
    local out = {}
    local function add(...)
      for i = 1, select("#", ...) do out[#out + 1] = tostring((select(i, ...))) end
    end

    local list = List { 3, 1, 2 }
    add(list:sort():append(7):map("_*2"), list:slice(2, 3), List.range(1, 4) .. List { 9 })
    local map = OrderedMap()
    map:set("z", 1):set("a", 2)
    add(map, Map { x = 1 }:keys()[1], Set { 1, 2, 3 } * Set { 2, 3, 4 } == Set { 2, 3 })
    local Animal = class()
    function Animal:_init(name) self.name = name end
    function Animal.__tostring(self) return self.name .. ": " .. self:speak() end
    local Cat = class(Animal)
    function Cat.speak() return "meow" end
    add(Cat "Tom", Cat:class_of(Cat "Tom"), Animal:class_of(Cat "Tom"))
    add(pretty.write({ 1, { a = "b" }, c = true }, ""),
      tablex.deepcompare({ 1, { 2 } }, { 1, { 2 } }))
    add(stringx.split("a b  c", " "):join ",", stringx.title "two words",
      stringx.center("x", 5, "*"))
    add(seq(seq.range(1, 5)):filter(func._1 .. "" ~= nil and function(x) return x > 2 end):sum())
    add(pretty.write(data.read(require "pl.stringio".open "a,b\n1,2\n3,4\n"):column_by_name "b",
      ""))
    for kind, value in lexer.lua "local x = 10 -- note" do add(kind, value) end
    add(template.substitute("# for i = 1, 3 do\n$(i)!\n# end\n", {}))
    add(xml.parse("<a x='1'><b>t</b></a>"):get_elements_with_name "b"[1],
      comprehension "x^2 for x=1,4" ()[4])
    local found = {}
    add(sip.match("$v{name}=$d{number}", "key=42", found), found.name, found.number)
    add(Date { year = 2020, month = 2, day = 28 }:add { day = 2 }:month(),
      text.dedent "  one\n   two\n", url.quote "a b&c")
    return table.concat(out, "|")
  end,

  objects = function()
    local List, class, OrderedMap = require "pl.List", require "pl.class", require "pl.OrderedMap"
    local properties, template = require "pl.class".properties, require "pl.template"
    local list, map = List { "b", "a" }, OrderedMap { { x = 1 }, { y = 2 } }
    local Base = class()
    function Base:_init(n) self.n = n end
    function Base:twice() return self.n * 2 end
    local Derived = class(Base)
    local object = Derived(21)
    local Rect = class(properties)
    function Rect:_init() self.w, self.h = 3, 4 end
    function Rect:get_area() return self.w * self.h end
    local rect = Rect()
    local page = template.compile "$(name) is here\n"
    local iterate = require "pl.seq".list { 4, 5 }
    local memo = require "pl.utils".memoize(function(x) return x .. x end)
    local plus = require "pl.func".I(require "pl.func"._1 + 1)
    return function()
      local items = {}
      for key, value in map:iter() do items[#items + 1] = key .. value end
      return table.concat({ tostring(list:clone():sort():reverse()), table.concat(items),
        object:twice(),
        tostring(object:is_a(Base)),
        rect.area, page:render { name = "he" }, memo "ab", plus(4), type(iterate) }, "|")
    end
  end,
}
