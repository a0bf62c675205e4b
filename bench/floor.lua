-- The floor: reads the file, compiles it and runs its chunk, nothing else.
return function(name, path, module, rows)
  -- The data stays alive, as it does in the other states; a module without data may go.
  local kept = rows > 0 and module or nil
  return function()
    local chunk = assert(loadfile(path))
    local value = chunk(name, path)
    package.loaded[name] = value
    return value, kept
  end
end
