-- Makes the seeds of the fuzz targets: dumps of Lua files, with debug information and without.
--
--    lua5.4 fuzz/seeds.lua FOLDER MOST FILE...
--
-- A file that does not compile, or whose dump has more than MOST bytes, is left out. Prints how
-- many dumps it wrote.

local folder, most = arg[1], tonumber(arg[2])
local count = 0
for i = 3, #arg do
  local main = loadfile(arg[i])
  for _, strip in ipairs { false, true } do
    local dump = main and string.dump(main, strip)
    if dump and #dump <= most then
      local out = assert(io.open(("%s/%d%s"):format(folder, i - 2, strip and "-stripped" or ""),
        "wb"))
      assert(out:write(dump))
      assert(out:close())
      count = count + 1
    end
  end
end
print(count)
