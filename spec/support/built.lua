--- Run before the first spec: they need the library, and say so in one line where it is missing.

local file = io.open "build/hotreload.so"
if not file then
  error("build/hotreload.so is missing: run `make build` first (or `make test`, which does)", 0)
end
file:close()
