-- The program around the module: what it set and holds, and whether a reload gave it the new code
-- and kept that.

--- Calls each function that the module reaches, and counts them: each must be of this version, or
--- all but a few of the version `base`. The helpers are counted through the functions that call
--- them.
local function check_code(module, version, base)
  local count, edited = 0, 0
  local function check(owner, name, f)
    if type(f) == "function" and name:find("_%d+$") then
      local own, helpers
      if name:find("^skill") then
        own, helpers = f(owner, false)
      else
        own, helpers = f(false)
      end
      local expected = base or version
      if base and own == version then
        edited = edited + 1
      else
        assert(own == expected,
          name .. " runs the code of version " .. tostring(own) .. ", not of " .. expected)
      end
      assert(helpers == nil or helpers == expected,
        name .. " calls a helper of version " .. tostring(helpers))
      count = count + 1
    end
  end
  for name, value in pairs(module) do
    check(module, name, value)
  end
  for _, class in ipairs({ module.Unit, module.Hero }) do
    for name, value in pairs(class) do
      check(class, name, value)
    end
  end
  for _, area in pairs(module.routes) do
    for name, value in pairs(area.handlers) do
      check(area, name, value)
    end
  end
  assert(not base or edited > 0, "no function runs the code of version " .. version)
  return count
end

--- Runs the program's first part. Returns a function that checks the module as it is after a
--- reload; where the participant keeps data, that the data is there, too.
return function(module, rows, version, keeps_data, base)
  local count = check_code(module, version, base)
  local members, limits, by_id = module.state()
  local hero, metatable = module.Hero.new("hero"), getmetatable(module.Hero.new("other"))
  local settings, held_rows, routes = module.settings, module.rows, module.routes
  local total = 0
  module.fill(rows)
  members.someone = { name = "someone", score = 1, log = {} }
  limits.low = 3
  settings.nested.level = 7
  settings.nested.names[2] = "other"

  return function(now, now_version)
    local found = check_code(now, now_version, base)
    assert(found == count, ("%d functions where there were %d"):format(found, count))
    if not keeps_data then
      return
    end
    assert(now == module, "another module object")
    assert(now.settings == settings and now.rows == held_rows and now.routes == routes,
      "other tables")
    assert(settings.nested.level == 7 and settings.nested.names[2] == "other",
      "the settings are the file's again")
    assert(#held_rows == rows // 2, "rows of the module object were lost")
    local now_members, now_limits, now_by_id = now.state()
    assert(now_members == members and now_limits == limits and now_by_id == by_id,
      "other tables in locals")
    assert(members.someone and limits.low == 3, "the data of the locals is the file's again")
    assert(rows == 0 or by_id[rows - 1].id == rows - 1, "rows of a local were lost")
    total = total + 2
    assert(now.bump(2) == total and now.total() == total,
      "two functions no longer share their local")
    assert(getmetatable(hero) == now.Hero and metatable == now.Hero,
      "instances have lost their class")
    for name, method in pairs(now.Unit) do
      if name:find("^skill") then
        local own = hero[name](hero, false)
        assert(hero[name] == method and (own == now_version or own == base),
          "an instance runs old methods")
      end
    end
  end
end
