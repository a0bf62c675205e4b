-- inifile: parses and writes .ini files.

return {
  debian = "lua-inifile",

  use = function()
    local inifile = require "inifile"
    local name = os.tmpname()
    local parsed = inifile.parse("[one]\na=1\nb=true\n; note\n[two]\nc=text\n", "memory")
    parsed.two.d = 7
    local text = inifile.save(name, parsed, "memory")
    local back = inifile.parse(text, "memory")
    os.remove(name)
    return tostring(back.one.a + 1) .. tostring(back.one.b) .. back.two.c .. back.two.d
      .. " from the file"
  end,

  objects = function()
    local parse, save = require "inifile".parse, require "inifile".save
    local kept = parse("[s]\nk=v\n", "memory")
    return function() return kept.s.k .. type(save) .. parse("[s]\nn=0.5\n", "memory").s.n end
  end,
}
