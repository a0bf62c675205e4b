-- The check of a real file: the library keeps its module object.
return function(module, _, _, keeps_data)
  return function(now)
    assert(type(now) == type(module), "another kind of value")
    assert(not keeps_data or now == module, "another module object")
  end
end
