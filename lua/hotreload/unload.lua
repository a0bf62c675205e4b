-- Before the new code (R7.8): `__unload` of the modules that run.
-- Part of the library (src/lua/open.rs includes it).

local core = ...
local memo, says, shown = core.memo, core.says, core.arguments.shown

local next, rawget = next, rawget
local format = string.format
local loaded = core.loaded

local unload = {}

--- Puts back what the functions wrote, unless one of them has yielded.
local function put_back(state)
    local stays = ""
    for i = #state.memos, 1, -1 do
        if not state.has_yielded then stays = stays .. memo.put_back(state.memos[i]) end
    end
    return stays
end
unload.put_back = put_back

--- Calls them, each with what the reload would do. Returns what they are to hand on and what was
--- remembered; or nil and why the reload is refused. They may yield.
function unload.run(reports, services)
    local state = { memos = {}, has_yielded = false, kept = {} }
    for _, report in next, reports do
        local name = report.module
        local f = says.field(name, "__unload")
        if f then
            local guard <close> = services.guard(name)
            local yielded, ok, result, known = memo.call(rawget(loaded, name), f, report)
            guard[core.layout.guard.open] = false
            state.memos[#state.memos + 1] = known
            state.has_yielded = state.has_yielded or yielded
            if not ok or result == false then
                local why = ok and "returned false" or "raised: " .. result
                return nil, format("module '%s' was not reloaded, nothing was changed: "
                    .. "its __unload %s%s", shown(name), why, put_back(state))
            end
            state.kept[name] = result
        end
    end
    return state
end

return unload
