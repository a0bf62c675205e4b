//! R9.1, R9.2, R9.4: the walk over the whole VM finds each place that holds a wanted value, whole
//! or in slices.

#![cfg(feature = "vendored")] // as is the way to the walk alone
// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};
use support::{Fault, Memory, Outcome, Program, pick};

/// `c_closure(value, …)`: a C function with these upvalues.
unsafe extern "C-unwind" fn c_closure(l: *mut lua_State) -> c_int {
    // SAFETY: the arguments become the upvalues.
    unsafe { ffi::lua_pushcclosure(l, c_closure, ffi::lua_gettop(l)) };
    1
}

/// `box(value, …)`: a full userdata with these user values.
unsafe extern "C-unwind" fn boxed(l: *mut lua_State) -> c_int {
    // SAFETY: within the frame of a C function; the userdata goes below its values.
    unsafe {
        let count = ffi::lua_gettop(l);
        ffi::lua_newuserdatauv(l, 0, count);
        ffi::lua_insert(l, 1);
        for n in (1..=count).rev() {
            ffi::lua_setiuservalue(l, 1, n);
        }
    }
    1
}

/// `parked(value, …)`: a coroutine that runs nothing and has these values on its stack.
unsafe extern "C-unwind" fn parked(l: *mut lua_State) -> c_int {
    // SAFETY: room is made on the new thread.
    unsafe {
        let count = ffi::lua_gettop(l);
        let thread = ffi::lua_newthread(l);
        ffi::luaL_checkstack(thread, count, std::ptr::null());
        ffi::lua_insert(l, 1);
        ffi::lua_xmove(l, thread, count);
    }
    1
}

/// `registry()`.
unsafe extern "C-unwind" fn registry(l: *mut lua_State) -> c_int {
    // SAFETY: a C function has room for one value.
    unsafe { ffi::lua_pushvalue(l, ffi::LUA_REGISTRYINDEX) };
    1
}

/// `yield_on(k_value, …)`: yields, with its arguments on the stack of a C function that goes on
/// later.
unsafe extern "C-unwind" fn yield_on(l: *mut lua_State) -> c_int {
    unsafe extern "C-unwind" fn go_on(_: *mut lua_State, _: c_int, _: ffi::lua_KContext) -> c_int {
        0
    }
    // SAFETY: a C function that ends by yielding nothing.
    unsafe { ffi::lua_yieldk(l, 0, 0, Some(go_on)) }
}

/// The Lua side: `find`, `has`, `count` and a function that is wanted.
const LUA_SIDE: &str = r#"
    local function a_source(name, text) return assert(load(text or "return 1", name)) end
    old = a_source("=old")

    -- All hits for the values of a list, in one call.
    function find(wanted, source)
      local pass, done, hits = walk(nil, wanted, nil, source)
      assert(pass, done)
      assert(done == true)
      return hits
    end

    -- How many of the hits have all these fields.
    function count(hits, fields)
      local n = 0
      for _, hit in ipairs(hits) do
        local all = true
        for name, value in pairs(fields) do all = all and rawequal(hit[name], value) end
        if all then n = n + 1 end
      end
      return n
    end

    function has(hits, fields)
      local n = count(hits, fields)
      if n ~= 1 then
        local text = {}
        for name, value in pairs(fields) do text[#text + 1] = name .. "=" .. tostring(value) end
        error("found " .. n .. " times: " .. table.concat(text, ", "), 2)
      end
    end
"#;

fn program() -> Program {
    with(Memory::new())
}

fn with(memory: Memory) -> Program {
    let program = Program::with(memory);
    let l = program.state();
    // SAFETY: nothing runs in the state; there is memory for a few globals.
    unsafe {
        for (name, function) in [
            (c"walk", hotreload::walk_heap as ffi::lua_CFunction),
            (c"c_closure", c_closure),
            (c"box", boxed),
            (c"parked", parked),
            (c"registry", registry),
            (c"yield_on", yield_on),
        ] {
            ffi::lua_pushcfunction(l, function);
            ffi::lua_setglobal(l, name.as_ptr());
        }
    }
    program.must(LUA_SIDE);
    program
}

/// Runs a text in a new program.
#[track_caller]
fn check(text: &str) {
    program().must(text);
}

#[test]
fn finds_values_and_keys_of_tables() {
    check(
        r#"
        local array, record, keys = { 1, old, "x", old }, { name = old,
          deep = { { { old } } } }, { [old] = 1, [{}] = old }
        kept = { array, record, keys, setmetatable({}, { __index = { old } }) }
        local hits = find { old }
        has(hits, { place = "value", container = array, key = 2, value = old })
        has(hits, { place = "value", container = array, key = 4, value = old })
        has(hits, { place = "value", container = record, key = "name", value = old })
        has(hits, { place = "value", container = record.deep[1][1], key = 1 })
        has(hits, { place = "key", container = keys, key = old, value = old })
        assert(count(hits, { place = "value", container = keys }) == 1)
        has(hits, { place = "value", container = getmetatable(kept[4]).__index, key = 1 })
        has(hits, { place = "value", container = _G, key = "old" })
    "#,
    );
}

#[test]
fn finds_wanted_tables_as_well_as_functions_and_both_at_once() {
    check(
        r#"
        local t, f = {}, function() return old end
        kept = { t, f, [t] = f, setmetatable({}, t) }
        local hits = find { t, f }
        has(hits, { place = "value", container = kept, key = 1, value = t })
        has(hits, { place = "value", container = kept, key = 2, value = f })
        has(hits, { place = "key", container = kept, key = t, value = t })
        has(hits, { place = "value", container = kept, key = t, value = f })
        has(hits, { place = "metatable", container = kept[3], value = t })
    "#,
    );
}

#[test]
fn finds_a_function_of_c() {
    check(
        r#"
        kept = { print, [print] = 1, c_closure(print) }
        local hits = find { print }
        has(hits, { place = "value", container = kept, key = 1 })
        has(hits, { place = "key", container = kept, key = print })
        has(hits, { place = "upvalue", container = kept[2], n = 1 })
        has(hits, { place = "value", container = _G, key = "print" })
    "#,
    );
}

#[test]
fn finds_metatables_of_tables_and_userdata() {
    check(
        r#"
        local mt = {}
        local t, u = setmetatable({}, mt), box()
        debug.setmetatable(u, mt)
        kept = { t, u }
        local hits = find { mt }
        has(hits, { place = "metatable", container = t, value = mt })
        has(hits, { place = "metatable", container = u, value = mt })
    "#,
    );
}

#[test]
fn finds_metatables_of_all_basic_types() {
    check(
        r#"
        local values = { true, 1, "x", print, coroutine.create(print), debug.upvalueid(find, 1) }
        for i = 0, #values do
          local value, mt = values[i], { __name = "mt" .. i }
          local before = debug.getmetatable(value)
          debug.setmetatable(value, mt)
          local hits = find { mt }
          debug.setmetatable(value, before)
          local of
          for _, hit in ipairs(hits) do
            if hit.place == "type" then assert(not of) of = { hit.container } end
          end
          assert(of, i)
          assert(type(of[1]) == type(value), i)
        end
        -- What only such a metatable holds is found, too.
        local mt = { __index = { { old } } }
        debug.setmetatable(nil, mt)
        local hits = find { old }
        debug.setmetatable(nil, nil)
        has(hits, { place = "value", container = mt.__index[1], key = 1 })
    "#,
    );
}

#[test]
fn finds_upvalues_of_lua_and_c_functions() {
    check(
        r#"
        local a, b, c = old, {}, old
        local function f() return b, a end
        local made = c_closure(1, old, old)
        local inner = c_closure(function() return c end)
        kept = { f, made, inner }
        local hits = find { old }
        has(hits, { place = "upvalue", container = f, n = 2, value = old })
        has(hits, { place = "upvalue", container = made, n = 2 })
        has(hits, { place = "upvalue", container = made, n = 3 })
        local _, inside = debug.getupvalue(inner, 1)
        has(hits, { place = "upvalue", container = inside, n = 1 })
    "#,
    );
}

#[test]
fn reports_a_cell_that_functions_share_once() {
    check(
        r#"
        do
          local cell = old
          kept = {}
          for i = 1, 1000 do kept[i] = function() return cell, i end end
        end
        local hits = find { old }
        local n = 0
        for _, hit in ipairs(hits) do
          if hit.place == "upvalue" and type(hit.container) == "function"
            and debug.getupvalue(hit.container, hit.n) == "cell" then n = n + 1 end
        end
        assert(n == 1, n)
    "#,
    );
}

#[test]
fn finds_all_user_values() {
    check(
        r#"
        local u = box(old, nil, { old }, old)
        kept = u
        local hits = find { old }
        has(hits, { place = "user value", container = u, n = 1 })
        has(hits, { place = "user value", container = u, n = 4 })
        has(hits, { place = "value", container = debug.getuservalue(u, 3), key = 1 })
        assert(count(hits, { place = "user value", container = u }) == 2)
    "#,
    );
}

#[test]
fn finds_the_registry_and_what_is_loaded() {
    check(
        r#"
        registry().mine = old
        package.loaded.mine = { old }
        local hits = find { old }
        has(hits, { place = "value", container = registry(), key = "mine" })
        has(hits, { place = "value", container = package.loaded.mine, key = 1 })
    "#,
    );
}

#[test]
fn finds_slots_of_a_suspended_coroutine() {
    check(
        r#"
        local old = old
        local function body(fixed, ...)
          local a, t = old, { 1, old }
          local function inner(...)
            local b = old
            -- `old` is a temporary while the call is under way.
            return #{ old, coroutine.yield() } + b
          end
          inner(old, 7, old)
          return a, t, ...
        end
        local co = coroutine.create(body)
        assert(coroutine.resume(co, 1, old, 2, old))
        kept = co
        local hits = find { old }
        local function value(level, n) return select(2, debug.getlocal(co, level, n)) end
        local seen = 0
        for _, hit in ipairs(hits) do
          if hit.place == "local" and hit.container == co then
            assert(value(hit.level, hit.n) == old)
            seen = seen + 1
          end
        end
        -- Level 0 is the yield, 1 is inner, 2 is body.
        has(hits, { place = "local", container = co, level = 1, n = 1 })
        local temporaries = 0
        for n = 2, 20 do
          local name, it = debug.getlocal(co, 1, n)
          if name and it == old then
            temporaries = temporaries + 1
            has(hits, { place = "local", container = co, level = 1, n = n })
          end
        end
        assert(temporaries >= 1)
        has(hits, { place = "local", container = co, level = 2, n = 2 })
        has(hits, { place = "local", container = co, level = 2, n = -1 })
        has(hits, { place = "local", container = co, level = 2, n = -3 })
        -- The varargs of inner stand among the temporaries of body.
        local varargs = 0
        for n = 3, 40 do
          local name, it = debug.getlocal(co, 2, n)
          if name and it == old then
            varargs = varargs + 1
            has(hits, { place = "local", container = co, level = 2, n = n })
          end
        end
        assert(varargs >= 2)
        assert(seen == 1 + temporaries + 1 + 2 + varargs, seen)
        has(hits, { place = "value", container = value(2, 3), key = 2 })
    "#,
    );
}

#[test]
fn writing_to_each_hit_of_a_coroutine_changes_what_it_goes_on_with() {
    check(
        r#"
        local old, new = old, function() return "new" end
        local co = coroutine.create(function(a, ...)
          local b = { old }
          local function inner(...) return coroutine.yield(), ... end
          return a, b[1], select('#', ...), ..., inner(a, old)
        end)
        assert(coroutine.resume(co, old, 1, old))
        kept = co
        local hits = find { old }
        for _, hit in ipairs(hits) do
          if hit.place == "local" and hit.container == co then
            assert(debug.setlocal(co, hit.level, hit.n, new))
          elseif hit.place == "value" and hit.container ~= _G and hit.container ~= hits then
            rawset(hit.container, hit.key, new)
          end
        end
        local results = table.pack(coroutine.resume(co, old))
        assert(results[1], results[2])
        assert(results[2] == new and results[3] == new and results[4] == 2, "a, b, count")
        assert(results[5] == 1)
        assert(results[6] == old) -- what the yield returns was given by hand
        assert(results[7] == new and results[8] == new)
    "#,
    );
}

#[test]
fn finds_slots_of_c_functions_that_yielded() {
    check(
        r#"
        local co = coroutine.wrap(function() yield_on(1, old, { old }) end)
        local other = coroutine.create(function(...)
          pcall(function(...) table.unpack({ coroutine.yield() }) end, ...)
        end)
        co()
        coroutine.resume(other, old)
        kept = { co, other }
        local _, thread = debug.getupvalue(co, 1)
        local hits = find { old }
        has(hits, { place = "local", container = thread, level = 0, n = 2 })
        local _, t = debug.getlocal(thread, 0, 3)
        has(hits, { place = "value", container = t, key = 1 })
        -- The varargs of the function that pcall runs stand among the values of pcall.
        local n = 0
        for _, hit in ipairs(hits) do
          if hit.container == other and hit.level == 2 then
            assert(select(2, debug.getlocal(other, 2, hit.n)) == old)
            n = n + 1
          end
        end
        assert(n == 1, n)
    "#,
    );
}

#[test]
fn finds_slots_of_a_coroutine_that_has_not_started_or_is_finished() {
    check(
        r#"
        local a = coroutine.create(old)
        local b = parked(1, old, { old }, old)
        local c = coroutine.create(function() end)
        coroutine.resume(c)
        local empty = parked()
        kept = { a, b, c, empty }
        local hits = find { old }
        has(hits, { place = "slot", container = a, n = 1 })
        has(hits, { place = "slot", container = b, n = 2 })
        has(hits, { place = "slot", container = b, n = 4 })
        assert(count(hits, { container = b }) == 2)
        assert(count(hits, { container = c }) == 0)
    "#,
    );
}

#[test]
fn finds_locals_of_a_coroutine_that_died_of_an_error() {
    check(
        r#"
        local old = old
        local co = coroutine.create(function(...)
          local a = { old }
          local b = old
          local function fail() local c = old; error({ old }) end
          fail()
          return a, b
        end)
        local ok, message = coroutine.resume(co, old)
        assert(not ok)
        kept = co
        local hits = find { old }
        has(hits, { place = "local", container = co, level = 1, n = 1 })
        has(hits, { place = "local", container = co, level = 2, n = 2 })
        has(hits, { place = "local", container = co, level = 2, n = -1 })
        has(hits, { place = "value", container = select(2, debug.getlocal(co, 2, 1)), key = 1 })
        has(hits, { place = "value", container = message, key = 1 })
    "#,
    );
}

#[test]
fn finds_slots_of_a_coroutine_that_died_of_a_stack_overflow() {
    check(
        r#"
        local old = old
        local function body()
          local mine = old
          local function deeper() return 1 + deeper() end
          return deeper() + 1, mine
        end
        local co = coroutine.create(body)
        assert(not coroutine.resume(co))
        kept = co
        local hits = find { old }
        local outermost = 0
        for _, hit in ipairs(hits) do
          if hit.container == co then outermost = hit.level end
        end
        -- Very far from the innermost, where the error handler was.
        assert(outermost > 60000, outermost)
        has(hits, { place = "local", container = co, level = outermost, n = 1, value = old })
        assert(select(2, debug.getlocal(co, outermost, 1)) == old)
    "#,
    );
}

#[test]
fn finds_slots_of_running_and_normal_coroutines() {
    check(
        r#"
        local old = old
        local main = coroutine.running()
        local function outer(...)
          local mine = { old }
          local me = coroutine.running()
          local inner = coroutine.wrap(function(...)
            local own, at = old, coroutine.running()
            local hits = find { old }
            return hits, at, own
          end)
          local hits, at = inner(old)
          return hits, me, at, mine, ...
        end
        local hits, me, at, mine = coroutine.wrap(outer)(old)
        has(hits, { place = "value", container = mine, key = 1 })
        -- The innermost: level 0 is walk, 1 is find, 2 the function of the coroutine.
        has(hits, { place = "local", container = at, level = 2, n = 1 })
        has(hits, { place = "local", container = at, level = 2, n = -1 })
        -- The one that waits for it: level 0 is the C function of wrap, 1 is outer.
        has(hits, { place = "local", container = me, level = 1, n = -1 })
        local n = 0
        for _, hit in ipairs(hits) do if hit.container == main then n = n + 1 end end
        assert(n >= 1)
    "#,
    );
}

#[test]
fn walks_the_function_of_an_activation_that_nothing_else_holds() {
    check(
        r#"
        local co
        do
          local up = { old }
          co = coroutine.wrap(function() coroutine.yield(up) end)
        end
        local up = co()
        kept = co
        local hits = find { old }
        has(hits, { place = "value", container = up, key = 1 })
        local n = 0
        for _, hit in ipairs(find { up }) do if hit.place == "upvalue" then n = n + 1 end end
        assert(n == 1, n)
    "#,
    );
}

#[test]
fn wants_the_functions_of_a_source() {
    check(
        r#"
        local text =
          "local n = 0 return function() n = n + 1 return n end, function() return {} end"
        local f, g = load(text, "@mine")()
        local h = load(text, "@other")()
        kept = { f, f, { g }, h, [g] = true }
        local hits = find({}, "@mine")
        has(hits, { place = "value", container = kept, key = 1, value = f })
        has(hits, { place = "value", container = kept, key = 2, value = f })
        has(hits, { place = "value", container = kept[3], key = 1, value = g })
        has(hits, { place = "key", container = kept, key = g, value = g })
        assert(count(hits, { value = h }) == 0)
    "#,
    );
}

#[test]
fn runs_no_metamethod_and_changes_nothing() {
    check(
        r#"
        local function no() error("a metamethod ran") end
        local events = {}
        for name in ("index newindex call len pairs eq lt le concat tostring close unm add \z
          name metatable"):gmatch("%a+") do
          events["__" .. name] = no
        end
        local u = box(old)
        debug.setmetatable(u, events)
        kept = { setmetatable({ old, a = { old } }, events), u, [setmetatable({}, events)] = old }
        registry().kept = kept
        local entries = {}
        for key, value in next, kept do entries[#entries + 1] = { key, value } end
        local hits = find { old }
        has(hits, { place = "value", container = kept[1], key = 1 })
        has(hits, { place = "user value", container = u, n = 1 })
        local i = 0
        for key, value in next, kept do
          i = i + 1
          assert(rawequal(entries[i][1], key) and rawequal(entries[i][2], value))
        end
        assert(i == #entries)
    "#,
    );
}

#[test]
fn walks_weak_tables_and_keeps_nothing_alive() {
    check(
        r#"
        local values = setmetatable({ { old } }, { __mode = "v" })
        local keys = setmetatable({ [{ old }] = { old } }, { __mode = "k" })
        local both = setmetatable({ function() return values end }, { __mode = "kv" })
        kept = { values, keys, both }
        collectgarbage("stop")
        local pass, done, hits = walk(nil, { old })
        assert(done == true)
        local n = 0
        for _, hit in ipairs(hits) do if hit.container == values[1] then n = n + 1 end end
        assert(n == 1)
        local key, value = next(keys)
        has(hits, { container = key, key = 1 })
        has(hits, { container = value, key = 1 })
        hits, key, value = nil, nil, nil
        collectgarbage("restart")
        collectgarbage()
        collectgarbage()
        assert(next(values) == nil and next(keys) == nil and next(both) == nil)
        assert(pass)
    "#,
    );
}

#[test]
fn a_paused_pass_keeps_nothing_alive() {
    check(
        r#"
        local list = setmetatable({}, { __mode = "v" })
        kept = {}
        for i = 1, 20000 do
          local node = { { i }, function() return i end }
          list[i], kept[i] = node, node
        end
        local pass, done = walk(nil, {}, 0)
        for _ = 1, 30 do
          assert(pass and done == false, done)
          pass, done = walk(pass, {}, 0)
        end
        kept = nil
        collectgarbage()
        collectgarbage()
        assert(next(list) == nil)
        while not done do pass, done = walk(pass, {}, 0) assert(pass, done) end
    "#,
    );
}

#[test]
fn depth_and_width_are_bounded_by_memory_only() {
    check(
        r#"
        local n = 100000
        local last = { old }
        local list = last
        for _ = 1, n do list = { list } end
        local closures = last
        for _ = 1, n do local up = closures closures = function() return up end end
        local metatables = last
        for _ = 1, n do metatables = setmetatable({}, metatables) end
        local keys = last
        for _ = 1, n do keys = { [keys] = true } end
        local boxes = last
        for _ = 1, 20000 do boxes = box(boxes) end
        local threads = last
        for _ = 1, 5000 do
          local inner = threads
          threads = coroutine.create(function() coroutine.yield() return inner end)
          coroutine.resume(threads)
        end
        local wide = {}
        for i = 1, n do wide[i] = { i } end
        local mixed
        for i = 1, n do mixed = { next = mixed, payload = { i, { i } }, more = { {}, {} } } end
        kept = { list, closures, metatables, keys, boxes, threads, wide, mixed }
        wide[n][1] = old
        mixed.payload[2][1] = old
        local hits = find { old }
        has(hits, { container = last, key = 1 })
        has(hits, { container = wide[n], key = 1 })
        has(hits, { container = mixed.payload[2], key = 1 })
        -- Each of them alone.
        for i, it in ipairs { list, closures, metatables, keys, boxes, threads } do
          kept = { it }
          has(find { old }, { container = last, key = 1 })
        end
    "#,
    );
}

#[test]
fn a_deep_stack_is_walked() {
    check(
        r#"
        local old = old
        local function down(n) local mine = n % 100 == 0 and old or n local hits
          if n == 0 then hits = find { old } else hits = down(n - 1) end
          return hits, mine
        end
        local co = coroutine.create(down)
        local ok, hits = coroutine.resume(co, 2000)
        assert(ok, hits)
        local n = 0
        for _, hit in ipairs(hits) do if hit.container == co and hit.n == 2 then n = n + 1 end end
        assert(n == 21, n)
    "#,
    );
}

/// Heaps of random shape; each reference to a wanted value is known.
const RANDOM: &str = r#"
    local seed = ...
    math.randomseed(seed)
    local random = math.random
    local wanted, planted = { function() end, {}, old, print }, 0
    local function target() planted = planted + 1 return wanted[random(#wanted)] end
    local objects = { {} }
    local function any() return objects[random(#objects)] end
    local function value()
      local kind = random(10)
      if kind == 1 then
        return target()
      elseif kind <= 4 then
        return any()
      elseif kind == 5 then
        return tostring(random(50))
      else
        return random(100)
      end
    end
    -- In each object only new slots are written, so that no planted reference is lost.
    local function put(t, key, it) if rawget(t, key) == nil then rawset(t, key, it()) end end
    local makers = {
      function() local t = {} for i = 1, random(0, 6) do t[i] = value() end return t end,
      function()
        local t = {}
        for _ = 1, random(0, 4) do put(t, tostring(random(1000)), value) end
        return t
      end,
      function()
        local t = {}
        for _ = 1, random(0, 300) do put(t, random(2) == 1 and any() or random(1 << 40), value) end
        return t
      end,
      function() local a, b = value(), value() return function() return a, b end end,
      function() return c_closure(value(), value(), value()) end,
      function() return box(value(), nil, value()) end,
      function() return parked(value(), value()) end,
      function()
        local co = coroutine.create(function(...)
          local a, b = value(), value()
          coroutine.yield()
          return a, b, ...
        end)
        assert(coroutine.resume(co, value(), value()))
        return co
      end,
      function() return setmetatable({ value() }, makers_meta) end,
    }
    for _ = 1, 3000 do
      local it = makers[random(#makers)]()
      objects[#objects + 1] = it
      local holder = any()
      if type(holder) == "table" then
        put(holder, it, function() return true end)
      else
        objects[1][#objects[1] + 1] = it
      end
    end
    for _, it in ipairs(objects) do objects[1][#objects[1] + 1] = it end
    kept, kept_wanted, kept_planted = objects[1], wanted, planted
"#;

/// Counts the hits that are not the list of the wanted, the globals, or the library's own.
const RANDOM_COUNT: &str = r#"
    -- The list of the wanted is not walked: what stands in it is hidden.
    kept_wanted.hidden, kept = kept, nil
    local function signature(hit)
      return hit.place .. tostring(hit.container) .. tostring(hit.key) .. tostring(hit.level)
        .. tostring(hit.n)
    end
    local function all(budget)
      local list, pass, done, hits = {}, nil, nil, nil
      repeat
        pass, done, hits = walk(pass, kept_wanted, budget)
        assert(pass, done)
        for _, hit in ipairs(hits) do
          -- The stack of the running coroutine is another each time, and earlier hits may stand
          -- there.
          local own = hit.container == coroutine.running() or type(hit.container) == "table"
            and rawget(hit.container, "place")
          if not own then list[#list + 1] = signature(hit) end
        end
      until done
      return list
    end
    local before = #all()
    kept = kept_wanted.hidden
    local whole = all()
    assert(#whole - before == kept_planted, #whole - before .. " of " .. kept_planted)
    local sliced, set = all(0), {}
    for _, it in ipairs(whole) do set[it] = true end
    for _, it in ipairs(sliced) do assert(set[it], it) set[it] = nil end
    assert(next(set) == nil)
"#;

#[test]
fn finds_each_reference_of_random_heaps_whole_and_in_slices() {
    for seed in 1..=pick(4, 12, 12) {
        let program = with(Memory::scattered(seed));
        program.must(&RANDOM.replacen("...", &seed.to_string(), 1));
        program.must(RANDOM_COUNT);
    }
}

#[test]
fn slices_survive_whatever_the_program_does_in_between() {
    for seed in 1..=2 {
        let program = with(Memory::scattered(seed));
        program.must(&RANDOM.replacen("...", &seed.to_string(), 1));
        program.must(
            r#"
            local big, names = {}, {}
            for i = 1, 5000 do big[i] = { i } names["name" .. i] = { i } end
            kept[#kept + 1] = big
            kept[#kept + 1] = names
            local slices = 0
            for _ = 1, 2 do
              local pass, done
              repeat
                pass, done = walk(pass, kept_wanted, 0)
                assert(pass, done)
                slices = slices + 1
                -- Mostly nothing: the program is not to grow faster than it is walked.
                local what = math.random(24)
                if what == 1 then collectgarbage()
                elseif what == 2 then
                  for i = 1, 100 do names["more" .. math.random(100000)] = { i } end
                elseif what == 3 then
                  for key in pairs(names) do
                    if math.random(3) == 1 then names[key] = nil end
                  end
                elseif what == 4 then for _ = 1, 50 do table.remove(big) end
                elseif what == 5 then kept[math.random(#kept)] = { {}, {} }
                elseif what == 6 then collectgarbage("step")
                elseif what == 7 then
                  for key in pairs(names) do names[key] = nil end
                  names.x = {}
                  collectgarbage()
                  names.y = {}
                elseif what == 8 then
                  for _ = 1, 500 do big[#big + 1] = function() return big end end
                end
              until done
            end
            assert(slices > 50, slices)
            -- Afterwards a pass in one call finds what is there.
            local place = { [old] = old, old }
            kept[#kept + 1] = place
            local hits = find { old }
            has(hits, { place = "key", container = place })
            has(hits, { place = "value", container = place, key = 1 })
        "#,
        );
    }
}

#[test]
fn slices_end_whatever_the_shape_of_the_heap() {
    check(
        r#"
        local list, wide, closures, threads = {}, {}, function() end, {}
        for _ = 1, 20000 do list = { list } end
        for i = 1, 20000 do wide[i] = i end
        for _ = 1, 20000 do local up = closures closures = function() return up end end
        for i = 1, 5000 do threads[i] = coroutine.create(print) end
        for _, it in ipairs { list, wide, closures, threads, parked(table.unpack(wide)) } do
          kept = it
          local slices, pass, done = 0, nil, nil
          repeat
            pass, done = walk(pass, {}, 0)
            slices = slices + 1
          until done
          -- Without a budget a slice is some hundred entries.
          assert(slices >= 10, slices)
        end
    "#,
    );
}

#[test]
fn tells_the_smallest_objects_apart() {
    check(
        r#"
        -- What holds the last reference is met only if nothing else was taken for it.
        local all, last = {}, {}
        for i = 1, 5000 do
          all[3 * i - 2], all[3 * i - 1], all[3 * i] = function() end, box(), box({ old })
        end
        kept = all
        local n = 0
        for _, hit in ipairs(find { old }) do
          if hit.place == "value" and hit.key == 1 then n = n + 1 end
        end
        assert(n >= 5000, n)
        local functions = {}
        for i = 1, 5000 do functions[i] = all[3 * i - 2] end
        local hits, found = find(functions), 0
        for _, hit in ipairs(hits) do if hit.container == all then found = found + 1 end end
        assert(found == 5000, found)
    "#,
    );
}

#[test]
fn a_slice_sees_the_stack_of_the_coroutine_that_runs() {
    check(
        r#"
        kept = {}
        for i = 1, 20000 do kept[i] = {} end
        local pass, done, hits = walk(nil, { old }, 0)
        assert(done == false)
        local co = coroutine.create(function()
          local mine = old
          local hits
          pass, done, hits = walk(pass, { old }, 0)
          return hits, mine
        end)
        local ok, hits = coroutine.resume(co)
        assert(ok, hits)
        -- Level 0 is walk.
        has(hits, { place = "local", container = co, level = 1, n = 1 })
    "#,
    );
}

#[test]
fn a_state_can_be_closed_with_a_paused_pass() {
    let program = program();
    program.must(
        r#"
        kept = {}
        for i = 1, 20000 do kept[i] = {} end
        pass = walk(nil, { old }, 0)
        another = walk(nil, { old }, 0)
    "#,
    );
}

#[test]
fn a_pass_that_has_ended_is_refused_and_so_is_what_is_none() {
    check(
        r#"
        local pass, done = walk(nil, {})
        assert(done == true)
        local none, message = walk(pass, {})
        assert(none == nil and message:find "internal error")
        for _, it in ipairs { {}, io.stdout, box(), print, 1 } do
          none, message = walk(it, {})
          assert(none == nil and message:find "not a pass", message)
        end
        -- Nor is one that was finalized.
        local paused = walk(nil, {}, 0)
        debug.getmetatable(paused).__gc(paused)
        none, message = walk(paused, {})
        assert(none == nil and message:find "internal error", message)
        debug.getmetatable(paused).__gc(paused)
    "#,
    );
}

/// A program to walk while memory is short; `sliced` has a paused pass to go on with.
const SHORT: &str = r#"
    kept = { old, { old }, setmetatable({}, { old }) }
    for i = 1, 300 do kept[#kept + 1] = { i, function() return i, old end } end
    local co = coroutine.create(function() local mine = old coroutine.yield() return mine end)
    coroutine.resume(co)
    kept.co = co
"#;

#[test]
fn a_lack_of_memory_is_reported_and_changes_nothing() {
    for fault in [
        Fault::once as fn(u64) -> Fault,
        Fault::some,
        Fault::from,
        Fault::hiccup,
    ] {
        for n in (1..).step_by(pick(5, 1, 1)) {
            let program = program();
            program.must(SHORT);
            program.must("local hits = find { old } before = #hits");
            program.push("return walk");
            program.push("return nil");
            program.push("return { old }");
            let outcome = program.call(2, fault(n));
            let hit = program.memory.failed() > 0;
            match &outcome {
                Outcome::Done => {}
                Outcome::Refused(Some(message)) => {
                    assert!(message.contains("not enough memory"), "{n}: {message}")
                }
                Outcome::Refused(None) => assert!(fault(n).stays(), "{n}: no message"),
                Outcome::Raised(message) => panic!("{n}: {message}"),
            }
            program.must("local hits = find { old } assert(#hits == before)");
            if !hit {
                break;
            }
        }
    }
}

#[test]
fn a_lack_of_memory_in_a_slice_ends_the_pass() {
    for n in (1..).step_by(pick(5, 1, 1)) {
        let program = program();
        program.must("kept = {} for i = 1, 3000 do kept[i] = { {}, function() return i end } end");
        program.must(
            "pass = walk(nil, { old }, 0) for _ = 1, 10 do pass = walk(pass, { old }, 0) end",
        );
        program.push("return walk");
        program.push("return pass");
        program.push("return { old }");
        let outcome = program.call(2, Fault::once(n));
        let hit = program.memory.failed() > 0;
        if let Outcome::Raised(message) = &outcome {
            panic!("{n}: {message}");
        }
        program.must("pass = nil has(find { old }, { container = _G, key = 'old' })");
        if !hit {
            break;
        }
    }
}

#[test]
fn a_collection_at_each_allocation_changes_nothing() {
    let program = program();
    program.must(SHORT);
    program.must("local hits = find { old } before = #hits");
    program.push("return walk");
    program.push("return nil");
    program.push("return { old }");
    assert_eq!(program.call(2, Fault::Collect), Outcome::Done);
    program.must("local hits = find { old } assert(#hits == before)");
}
