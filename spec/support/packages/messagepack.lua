-- lua-MessagePack: packs and unpacks by tables of functions, which its settings exchange.

return {
  debian = "lua-messagepack",

  use = function()
    local mp = require "MessagePack"
    local bytes = mp.pack { 1, -200, 2.5, "text", { key = true }, ("x"):rep(300) }
    local back = mp.unpack(bytes)
    mp.set_array "with_hole"
    local hole = mp.unpack(mp.pack { 1, nil, 3 })
    mp.set_array "without_hole"
    local all = {}
    for _, value in mp.unpacker(mp.pack(1) .. mp.pack "two" .. mp.pack(nil)) do
      all[#all + 1] = tostring(value)
    end
    local bad, message = pcall(mp.unpack, bytes:sub(1, 20))
    return table.concat({ #bytes, back[2], back[3], back[4], tostring(back[5].key),
      #back[6], hole[3], table.concat(all, ","),
      tostring(bad), message }, "|")
  end,

  objects = function()
    local mp = require "MessagePack"
    local pack, unpack, cursor = mp.pack, mp.unpack, mp.unpacker(mp.pack "kept")
    return function() return ("%q"):format(pack { 1.5 }) .. unpack(pack "text") .. type(cursor) end
  end,
}
