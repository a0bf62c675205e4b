//! R7.5: a reload may be asked for from anywhere: deep in coroutines, next to the limits of both
//! stacks, in message handlers and finalizers, under a debug hook that counts, raises or yields.
//!
//! Where Lua itself has no room left, the call may raise as any other call would there; the program
//! is then as it was.

// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use std::cell::Cell;
use std::ffi::c_int;

use mlua::ffi::{self, lua_Debug, lua_State};
use support::story::{self, Story};
use support::{Fault, Outcome, Program, pick};

/// The Lua side: `attempt()` reloads `m` to a version with a number of its own, wherever it is
/// called, and `check()` tells whether that was done, with all of the program as it should be.
const ATTEMPTS: &str = "
    local test = ...
    local version, result, asked = 0, nil, nil
    local sources = setmetatable({}, { __index = function(sources, n)
        sources[n] = ([[
            local calls, t = 0, { 'file' }
            local function helper() calls = calls + 1 return %d end
            return { f = function() return helper(), t end, calls = function() return calls end, \
            sub = { g = function() return %d end } }
        ]]):format(n, n)
        return sources[n]
    end })
    m = require 'm'
    m.sub.data = { 'run time' }
    local f = m.f
    local calls, reload, pack = m.calls(), gg.reload, table.pack

    function test.attempt()
        asked = (asked or version) + 1
        local source = sources[asked]
        result = nil
        result = pack(pcall(reload, 'm', { source = source }))
        if result[1] and result[2] then version = asked end
    end

    -- What became of the last attempt: 'not reached', 'done', 'refused: ...', 'raised: ...'.
    function test.check()
        if not asked then return 'not reached' end
        local how = 'raised: the attempt itself'
        if result then
            local called, done, message = result[1], result[2], result[3]
            if called and done then
                how = 'done'
            elseif called then
                test.equal(type(message), 'string', 'type of the message')
                how = 'refused: ' .. message
            else
                how = 'raised: ' .. tostring(done)
            end
        end
        local is, t = m.f()
        test.equal(is, version, 'version after ' .. how)
        test.equal(m.sub.g(), version, 'version of a nested function')
        test.equal(f(), version, 'version of the helper that an old function calls')
        calls = calls + 2
        test.equal(m.calls(), calls, 'calls')
        test.equal(t[1], 'file')
        test.equal(m.sub.data[1], 'run time')
        test.equal(collectgarbage 'isrunning', true)
        asked, result = nil, nil
        return how
    end
    for n = 1, 3 do sources[n] = sources[n] end";

const VERSION_0: &str = "
    local calls, t = 0, { 'file' }
    local function helper() calls = calls + 1 return 0 end
    return { f = function() return helper(), t end, calls = function() return calls end, \
    sub = { g = function() return 0 end } }";

fn attempts() -> Program {
    let program = Program::new();
    program.write("m", VERSION_0);
    program.must(ATTEMPTS);
    program
}

/// A good attempt, from the top.
fn still_works(program: &Program) {
    assert_eq!(
        program.must("local test = ... test.attempt() return test.check()"),
        "done"
    );
    assert!(program.has_own_allocator());
}

/// Runs attempts ever deeper, until Lua does not reach the attempt any more: `nest(f)` calls `f`
/// one level deeper.
fn nested(nest: &str) {
    nested_from(nest, 120);
}

/// The same; from the depth `near` on every depth is tried.
fn nested_from(nest: &str, near: u32) {
    let program = attempts();
    let counts = program.must(&format!(
        "local test = ...
        local nest = {nest}
        local function go(n)
            if n == 0 then return test.attempt() end
            return nest(function() return (go(n - 1)) end)
        end
        local counts = {{ done = 0, refused = 0, raised = 0 }}
        local depth, step = 0, 40
        while true do
            pcall(go, depth)
            local how = test.check()
            if how == 'not reached' then break end
            if how ~= 'done' then assert(how:find 'overflow' or how:find 'error in error' \
            or how:find 'the attempt itself', how) end
            how = how:match '^%a+'
            counts[how] = counts[how] + 1
            depth = depth + (depth < {near} and step or 1)
        end
        return ('%d %d'):format(counts.done, counts.refused + counts.raised)"
    ));
    let (done, failed) = counts.split_once(' ').unwrap_or_default();
    assert!(
        done.parse::<u32>().is_ok_and(|done| done > 5),
        "done: {done}"
    );
    assert!(
        failed.parse::<u32>().is_ok_and(|failed| failed > 1),
        "failed: {failed}"
    );
    still_works(&program);
}

#[test]
fn deep_in_protected_calls() {
    nested("function(f) return assert(pcall(f)) end");
}

#[test]
fn deep_in_message_handlers() {
    nested_from("function(f) return xpcall(error, f) end", 0);
}

#[test]
fn deep_in_string_callbacks() {
    nested("function(f) return (string.gsub('x', 'x', function() f() end)) end");
}

#[test]
fn deep_in_comparison_callbacks() {
    nested("function(f) return table.sort({ 2, 1 }, function() f() return false end) end");
}

#[test]
fn deep_in_metamethods() {
    nested("function(f) return setmetatable({}, { __index = function() f() end }).x end");
}

#[test]
fn deep_in_coroutines() {
    nested("function(f) return coroutine.wrap(f)() end");
}

#[test]
fn deep_in_closed_variables() {
    nested(
        "function(f) local guard <close> = setmetatable({}, { __close = function() f() end }) end",
    );
}

#[test]
fn deep_in_loading() {
    nested("function(f) return load(function() f() end) end");
}

/// The stack of a coroutine is filled up to some slots below Lua's limit; from there on every
/// height is tried.
#[test]
fn next_to_the_limit_of_the_stack() {
    let program = attempts();
    let counts = program.must(
        "local test = ...
        local counts = { done = 0, refused = 0, raised = 0 }
        local function go(n)
            if n == 0 then return test.attempt() end
            return (go(n - 1))
        end
        local function fill(...)
            local depth = 0
            while true do
                pcall(go, depth)
                local how = test.check()
                if how == 'not reached' then break end
                if how ~= 'done' then
                    assert(how:find 'overflow' or how:find 'error in error' or how:find \
                    'not enough memory'
                        or how:find 'the attempt itself', how)
                end
                how = how:match '^%a+'
                counts[how] = counts[how] + 1
                depth = depth + 1
            end
        end
        local co = coroutine.create(function() fill(table.unpack({}, 1, 999000)) end)
        assert(coroutine.resume(co))
        return ('%d %d %d'):format(counts.done, counts.refused, counts.raised)",
    );
    let counts: Vec<u32> = counts
        .split(' ')
        .filter_map(|count| count.parse().ok())
        .collect();
    assert!(
        matches!(counts[..], [10..=u32::MAX, 1..=u32::MAX, 1..=u32::MAX]),
        "done, refused, raised: {counts:?}"
    );
    still_works(&program);
}

#[test]
fn after_an_overflow() {
    let program = attempts();
    for overflow in [
        "local function f() return 1 + f() end f()",
        "local function f() return (string.gsub('x', 'x', f)) end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) \
         return t[k .. 'x'] end return t.x",
        "error(setmetatable({}, { __tostring = error }))",
    ] {
        // In the message handler there is little room left, or none.
        program.must(&format!(
            "local test = ...
            xpcall(function() {overflow} end, function() test.attempt() end)
            local how = test.check()
            assert(how == 'done' or how == 'not reached' or how:find 'overflow' or how:find \
            'error in error', how)"
        ));
        still_works(&program);
    }
}

#[test]
fn in_a_message_handler() {
    let program = attempts();
    program.must("local test = ... xpcall(error, test.attempt) test.equal(test.check(), 'done')");
    program.must("local test = ... xpcall(error, function() test.attempt() error() end)");
    program.must(
        "local test = ... local how = test.check() assert(how == 'done' or how:find \
        'error in error', how)",
    );
    still_works(&program);
}

#[test]
fn in_a_finalizer() {
    let program = attempts();
    for mode in ["incremental", "generational"] {
        program.must(&format!(
            "local test = ...
            collectgarbage '{mode}'
            setmetatable({{}}, {{ __gc = test.attempt }})
            collectgarbage()
            collectgarbage()
            test.equal(test.check(), 'done')
            -- the same, in the course of things
            local made = 0
            setmetatable({{}}, {{ __gc = function() made = made + 1 test.attempt() end }})
            while made == 0 do local _ = {{ {{}}, {{}} }} end
            test.equal(test.check(), 'done')"
        ));
        still_works(&program);
    }
}

#[test]
fn in_a_finalizer_that_the_chunk_brings_about() {
    let program = Program::new();
    program.write("m", "return { f = function() return 1 end }");
    program.must("m = require 'm'");
    program.must(
        "local test = ...
        test.reload('m', { source = [[
            local refused
            setmetatable({}, { __gc = function() refused = select(2, gg.reload 'm') end })
            collectgarbage()
            local M = { refused = refused }
            for i = 1, 200 do
                M[i % 5 + 1] = function() return i end
                if i % 20 == 0 then collectgarbage() end
            end
            function M.f() return 2 end
            return M
        ]] })
        assert(m.refused:find 'running in another reload')
        test.equal(m.f(), 2)
        test.reload 'm'
        test.equal(m.f(), 1)",
    );
}

/// A thread that was never resumed: the host calls into it directly.
#[test]
fn on_a_thread_that_the_host_runs() {
    let program = attempts();
    // SAFETY: the thread stays on the state's stack while it is used; the call is protected.
    unsafe {
        let l = program.state();
        let thread = ffi::lua_newthread(l);
        program.push("local test = ... return test.attempt");
        ffi::lua_xmove(l, thread, 1);
        assert_eq!(ffi::lua_pcall(thread, 0, 0, 0), ffi::LUA_OK);
        ffi::lua_settop(l, 0);
    }
    assert_eq!(program.must("local test = ... return test.check()"), "done");
    still_works(&program);
}

// -------------------------------------------------------------------------------------------------
// debug hooks

thread_local! {
    /// Events until the debug hook acts.
    static COUNTDOWN: Cell<u64> = const { Cell::new(0) };
}

fn due() -> bool {
    COUNTDOWN.with(|countdown| {
        countdown.set(countdown.get().saturating_sub(1));
        countdown.get() == 0
    })
}

unsafe extern "C-unwind" fn counts(_: *mut lua_State, _: *mut lua_Debug) {
    due();
}

/// Raises once.
unsafe extern "C-unwind" fn raises(l: *mut lua_State, _: *mut lua_Debug) {
    if due() {
        // SAFETY: no Rust value lives across the jump.
        unsafe {
            ffi::lua_sethook(l, None, 0, 0);
            ffi::luaL_error(l, c"timeout".as_ptr());
        }
    }
}

/// Yields at every event, where that is allowed.
unsafe extern "C-unwind" fn yields(l: *mut lua_State, _: *mut lua_Debug) {
    // SAFETY: a hook of a Lua function may yield without values; nothing is done after it.
    unsafe {
        if ffi::lua_isyieldable(l) != 0 {
            ffi::lua_yield(l, 0);
        }
    }
}

/// Yields once.
unsafe extern "C-unwind" fn yields_once(l: *mut lua_State, _: *mut lua_Debug) {
    // SAFETY: as above.
    unsafe {
        if due() {
            ffi::lua_sethook(l, None, 0, 0);
            if ffi::lua_isyieldable(l) != 0 {
                ffi::lua_yield(l, 0);
            }
        }
    }
}

/// Reloads once, from within.
unsafe extern "C-unwind" fn reloads(l: *mut lua_State, _: *mut lua_Debug) {
    if due() {
        // SAFETY: a hook has LUA_MINSTACK slots; the call is protected and what it leaves is
        // popped.
        unsafe {
            ffi::lua_sethook(l, None, 0, 0);
            let top = ffi::lua_gettop(l);
            ffi::lua_getglobal(l, c"gg".as_ptr());
            ffi::lua_getfield(l, -1, c"reload".as_ptr());
            ffi::lua_pushstring(l, c"m".as_ptr());
            ffi::lua_pcall(l, 1, 2, 0);
            ffi::lua_settop(l, top);
        }
    }
}

type Hook = unsafe extern "C-unwind" fn(*mut lua_State, *mut lua_Debug);

fn set_hook(l: *mut lua_State, hook: Hook, after: u64) {
    COUNTDOWN.set(after);
    // SAFETY: the hook stays until it is taken away, before the test ends.
    unsafe { ffi::lua_sethook(l, Some(hook), ffi::LUA_MASKCOUNT, 1) };
}

fn take_hook(l: *mut lua_State) {
    // SAFETY: as above.
    unsafe { ffi::lua_sethook(l, None, 0, 0) };
}

fn call_with_hook(program: &Program, story: &Story, hook: Hook, after: u64) -> (Outcome, bool) {
    program.must("local test = ... test.snapshot()");
    story.push(program);
    set_hook(program.state(), hook, after);
    let outcome = program.call(2, Fault::None);
    take_hook(program.state());
    (outcome, COUNTDOWN.get() == 0)
}

/// What has changed, apart from what a hook (`__hotfix`) wrote itself.
fn changes(program: &Program) -> String {
    let changes = program.must("local test = ... return test.changes() or ''");
    changes
        .lines()
        .filter(|line| !line.starts_with("_G.m.migrated"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// What a reload that was cut short has left: nothing, or all of the new version.
fn whole(program: &Program, story: &Story, outcome: &Outcome, when: u64) {
    let changes = changes(program);
    let done = !changes.is_empty();
    if matches!(outcome, Outcome::Refused(_)) {
        assert!(
            !done,
            "{}, event {when}: {outcome:?}, but\n{changes}",
            story.name
        );
    }
    assert!(
        program.has_own_allocator() && program.is_collecting(),
        "{}, event {when}",
        story.name
    );
    program.must(&format!("local test = ... test.done = {done}"));
    if let Err(message) = program.run(story.settle) {
        panic!(
            "{}, event {when}: {outcome:?}, afterwards: {message}; changes:\n{changes}",
            story.name
        );
    }
}

const HOOKED: [&Story; 2] = [&story::REGISTRY, &story::FIRST];

#[test]
fn under_a_debug_hook_that_counts() {
    for story in HOOKED.into_iter().chain([&story::HOOK, &story::RAISES]) {
        let program = story.begin();
        let (outcome, _) = call_with_hook(&program, story, counts, u64::MAX);
        story.settle(&program, outcome == Outcome::Done);
    }
}

#[test]
fn under_a_debug_hook_that_raises() {
    for story in HOOKED.into_iter().chain([&story::HOOK, &story::RAISES]) {
        for event in (1..).step_by(pick(13, 1, 1)) {
            let program = story.begin();
            let (outcome, acted) = call_with_hook(&program, story, raises, event);
            if !acted {
                break;
            }
            if let Outcome::Raised(message) = &outcome {
                assert!(
                    message.contains("timeout"),
                    "{}, event {event}: {message}",
                    story.name
                );
            }
            whole(&program, story, &outcome, event);
        }
    }
}

#[test]
fn under_a_debug_hook_that_reloads() {
    for story in HOOKED {
        for event in (1..).step_by(pick(29, 3, 3)) {
            let program = story.begin();
            let (outcome, acted) = call_with_hook(&program, story, reloads, event);
            if !acted {
                break;
            }
            let settled = program
                .run(&format!(
                    "local test = ... test.done = {}",
                    outcome == Outcome::Done
                ))
                .and_then(|_| program.run(story.settle));
            assert_eq!(
                settled.err(),
                None,
                "{}, event {event}: {outcome:?}",
                story.name
            );
        }
    }
}

/// Resumes the reload in the coroutine `test.co` under a hook.
fn resume(program: &Program, hook: Hook, after: u64) -> c_int {
    program.push("local test = ... return test.co");
    // SAFETY: the coroutine is on the state's stack; resuming is protected.
    unsafe {
        let l = program.state();
        let co = ffi::lua_tothread(l, -1);
        set_hook(co, hook, after);
        let mut results = 0;
        let status = ffi::lua_resume(co, l, 0, &raw mut results);
        take_hook(co);
        if status == ffi::LUA_YIELD || status == ffi::LUA_OK {
            ffi::lua_settop(co, -results - 1);
        }
        ffi::lua_settop(l, 0);
        status
    }
}

fn begin_in_coroutine(story: &Story) -> Program {
    let program = story.begin();
    program.must(&format!(
        "local test = ...
        local options = {}
        test.co = coroutine.create(function() test.result = table.pack(gg.reload('m', options)) end)
        test.snapshot()",
        story.options
    ));
    program
}

#[test]
fn under_a_debug_hook_that_yields_at_every_instruction() {
    for story in HOOKED.into_iter().chain([&story::HOOK, &story::RAISES]) {
        let program = begin_in_coroutine(story);
        let mut yielded = 0;
        while resume(&program, yields, 0) == ffi::LUA_YIELD {
            yielded += 1;
            if yielded % 40 == 0 {
                program.must("collectgarbage()");
            }
        }
        assert!(yielded > 100, "{}: {yielded} yields", story.name);
        let done = program.must("local test = ... return test.result[1]") == "true";
        assert!(done == (story.ends == story::End::Done), "{}", story.name);
        story.settle(&program, done);
    }
}

/// Stops a reload at every so many-th event, where a hook may yield, does something with its
/// coroutine, and looks at the program.
fn stopped(story: &Story, step: usize, then: &str) {
    for event in (1..).step_by(step) {
        let program = begin_in_coroutine(story);
        let status = resume(&program, yields_once, event);
        if COUNTDOWN.get() > 0 {
            break;
        }
        if status != ffi::LUA_YIELD {
            continue; // where no yield is allowed
        }
        program.must(then);
        let changes = changes(&program);
        program.must(&format!(
            "local test = ... test.done = {}",
            !changes.is_empty()
        ));
        if let Err(message) = program.run(story.settle) {
            panic!(
                "{}, event {event}: {message}; changes:\n{changes}",
                story.name
            );
        }
    }
}

#[test]
fn under_a_debug_hook_that_yields_in_a_coroutine_that_is_closed() {
    for story in HOOKED.into_iter().chain([&story::HOOK]) {
        stopped(
            story,
            pick(13, 1, 1),
            "local test = ... assert(coroutine.close(test.co))",
        );
    }
}

#[test]
fn under_a_debug_hook_that_yields_in_a_coroutine_that_is_lost() {
    for story in HOOKED {
        stopped(
            story,
            pick(29, 3, 3),
            "local test = ... test.co = nil collectgarbage() collectgarbage()",
        );
    }
}

#[test]
fn under_a_debug_hook_that_yields_to_another_reload() {
    for story in HOOKED {
        stopped(
            story,
            pick(29, 3, 3),
            "local test = ... gg.reload 'm' assert(coroutine.resume(test.co))",
        );
    }
}
