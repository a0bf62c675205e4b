//! R7.1: whichever of Rust's own requests for memory is refused while a reload works, the process
//! lives, the program is as it was or the reload is done, and the next one works.
//!
//! A request that cannot report its refusal ends the process: of large ones there is none. So each
//! refusal is tried in a process of its own, a fork of one in which the story has come to its
//! reload. `make test` leaves most requests out; with `HOTRELOAD_STRESS` in the environment it is
//! every 13th large one, and every ninth of any size. With `HOTRELOAD_STACKS` the stack of each
//! that ends the process is shown; `HOTRELOAD_STORY` names the only story to be told.

#![cfg(feature = "vendored")] // only that build can be told to share nothing
#![cfg(target_os = "linux")]
// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use mlua::ffi;
use support::ledger::{self, Ledger};
use support::story::{self, End, Story};
use support::{Program, is_stress, pick};

#[global_allocator]
static LEDGER: Ledger = Ledger;

/// How a child ends.
const FINE: i32 = 0;
const WRONG: i32 = 1;
/// No request was refused: there are fewer.
const BEYOND: i32 = 2;

/// The story's call, with requests refused; then what it has come to. Returns how the child ends.
fn tell(story: &Story, program: &Program, first: u64, count: u64, trace: bool) -> i32 {
    let l = program.state();
    // SAFETY: the function and its arguments were pushed; the call is protected.
    let (status, refused) = ledger::refusing(first, count, trace, || unsafe {
        ffi::lua_pcall(l, 2, 2, 0)
    });
    // SAFETY: as the call left them.
    let (done, message) = unsafe {
        let done = status == ffi::LUA_OK && ffi::lua_toboolean(l, -2) != 0;
        let message = (ffi::lua_type(l, -1) == ffi::LUA_TSTRING).then(|| program.text_at(-1));
        ffi::lua_settop(l, 0);
        (done, message)
    };
    if refused == 0 {
        return BEYOND;
    }
    let wrong = |what: &str| {
        eprintln!(
            "{}: {count} refused from {first}: {what}: {message:?}",
            story.name
        );
        WRONG
    };
    if status != ffi::LUA_OK
        && !message
            .as_deref()
            .unwrap_or_default()
            .contains("not enough memory")
    {
        return wrong("raised");
    }
    if !done && message.is_none() {
        return wrong("no message");
    }
    let admitted = count > 1
        && message.as_deref().is_some_and(|text| {
            text.contains("could not be put back") || text.contains("could not be undone")
        });
    if admitted {
        return FINE;
    }
    if !program.has_own_allocator() || !program.is_collecting() {
        return wrong("the allocator or the collector is not as it was");
    }
    if !done && story.ends != End::Part || story.ends == End::Dry {
        let changes = program.must("local test = ... return test.changes()");
        if changes != "nil" {
            return wrong(&changes);
        }
    }
    if let (true, End::Refused(_)) = (done, story.ends) {
        return wrong("not refused");
    }
    let settled = program.run(&format!("local test = ... test.done = {done}"));
    match settled.and_then(|_| program.run(story.settle)) {
        Ok(_) => FINE,
        Err(message) => wrong(&format!("afterwards: {message}")),
    }
}

/// Runs `tell` in a fork. None where that was ended by a signal.
fn tell_apart(
    story: &Story,
    program: &Program,
    first: u64,
    count: u64,
    trace: bool,
) -> Option<i32> {
    // SAFETY: this is the only thread that has locks of ours; the child ends without running
    // anything else.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0, "no process");
        if child == 0 {
            libc::alarm(30); // what stands still has failed, too
            if !trace {
                let null = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY);
                libc::dup2(null, libc::STDERR_FILENO);
            }
            let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                tell(story, program, first, count, trace)
            }));
            libc::_exit(told.unwrap_or(WRONG));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
    }
}

/// Tells each story with each of its requests refused, from the first that is told on in steps.
/// Returns how many were told, and how many of them ended the process.
fn tell_all<'a>(stories: impl Iterator<Item = &'a Story>, step: u64) -> (u32, u32) {
    let only = std::env::var("HOTRELOAD_STORY").ok();
    let (mut told, mut ended, mut wrong) = (0, 0, 0);
    for (number, story) in stories.enumerate() {
        if only.as_ref().is_some_and(|only| only != story.name) {
            continue;
        }
        let program = story.begin();
        program.must("local test = ... if not test.taken then test.snapshot() end");
        for count in [1, u64::MAX] {
            story.push(&program);
            // Other requests in each story.
            for first in (1 + number as u64 % step..).step_by(step as usize) {
                match tell_apart(story, &program, first, count, false) {
                    Some(BEYOND) => break,
                    Some(FINE) => {}
                    how => {
                        ended += u32::from(how.is_none());
                        wrong += u32::from(how.is_some());
                        if how.is_some() || std::env::var_os("HOTRELOAD_STACKS").is_some() {
                            eprintln!("== {}: {count} refused from {first}: {how:?}", story.name);
                            tell_apart(story, &program, first, count, true);
                        }
                    }
                }
                told += 1;
            }
            // SAFETY: nothing runs in the state.
            unsafe { ffi::lua_settop(program.state(), 0) };
        }
    }
    assert_eq!(wrong, 0, "of {told} went wrong");
    (told, ended)
}

/// A module that has all that can be many: functions, locals, tables, rows, closures, references,
/// conflicts, and a source name that is its text.
const WIDE: Story = Story {
    name: "wide",
    before: &[],
    after: &[],
    start: "
        local test = ...
        local function text(version, f, ending)
            local lines = { 'local count, list, M, one = 0, {}, { rows = {}, twins = {} }, { 7 }' }
            local function add(line, ...) lines[#lines + 1] = line:format(...) end
            for i = 1, 110 do add('local l%d = { %d }', i, i) end
            for i = 1, 110 do
                add('function M.f%d(x) count = count + 1 list[1] = l%d return %d end', i, \
                (i + version) % 110 + 1, version)
                add('M.t%d = { g = M.f%d, h = function() return %s end, new%d_%d = { M.f%d } }', \
                i, i, version, version, i, i)
                add('M.rows[%d] = { id = %d, %d }', i, i, i)
                add('M.twins.k%d = one', i)
                add('M.twins.f%d = M.f1', i)
                add('if not HANDLERS[%d] then HANDLERS[%d] = M.f%d else \
                HANDLERS[#HANDLERS + 1] = M.f%d end', i, i, i, i)
                add('M.c%d = %s', i, f)
            end
            add 'function M.make(n) return function() n = n + 1 return n end end'
            add(ending or 'return M')
            return table.concat(lines, '\\n')
        end
        HANDLERS, held = {}, {}
        local options = {
            source = text(2, 'function() end'),
            conflict = text(2, '{}'),
            raise = text(2, 'function() end', ('error((\"x\"):rep(5000))')),
        }
        package.preload.m = load(text(1, 'function() end'))
        m = require 'm'
        package.preload.m = nil
        m.f1()
        for i = 1, 110 do
            held[i], held[m['f' .. i]] = m['f' .. i], i
            held[i + 110] = m.make(i)
        end
        function test.go(name, given)
            local checked = { source = options[given.which or 'source'] }
            for key, value in pairs(given) do if key ~= 'which' then checked[key] = value end end
            return gg.reload(name, checked)
        end",
    call: "local test = ... return test.go",
    options: "{ report = 'full' }",
    ends: End::Done,
    settle: "
        local test = ...
        test.equal(#HANDLERS, 110)
        test.equal(m.f1(), test.done and 2 or 1)
        while not assert(require 'hotreload'.sweep()) do end
        local ok, why = test.go('m', { scope = 'vm' })
        test.equal(ok, true, why)
        for i = 1, 110 do
            test.equal(held[i](), 2)
            test.equal(held[held[i]], i)
            test.equal(held[i + 110](), i + 1)
        end",
};

const GROWN: [Story; 9] = [
    WIDE,
    Story {
        name: "wide, everywhere",
        options: "{ report = 'full', scope = 'vm' }",
        ..WIDE
    },
    Story {
        name: "wide, in slices",
        options: "{ scope = 'vm', budget_ms = 0.01 }",
        ..WIDE
    },
    Story {
        name: "wide, merged",
        options: "{ report = 'full', data = 'merge' }",
        ..WIDE
    },
    Story {
        name: "wide, replaced",
        options: "{ data = 'replace' }",
        ..WIDE
    },
    Story {
        name: "wide, dry",
        options: "{ dry_run = true, scope = 'vm' }",
        ends: End::Dry,
        ..WIDE
    },
    Story {
        name: "wide, refused",
        options: "{ which = 'conflict' }",
        ends: End::Refused("110 conflict(s)"),
        ..WIDE
    },
    Story {
        name: "wide, kept",
        options: "{ which = 'conflict', on_conflict = 'keep', report = 'full' }",
        ..WIDE
    },
    Story {
        name: "wide, raising",
        options: "{ which = 'raise' }",
        ends: End::Refused("xxxxx"),
        ..WIDE
    },
];

/// Requests of this size and more are those that grow with the program: what is smaller are names,
/// paths, lines of a message.
const LARGE: usize = 2048;

#[test]
fn a_refused_request_of_rust_s_ends_no_process_and_changes_nothing() {
    // (Of what states share, tests/shared.rs refuses requests.)
    hotreload::fault::alone(true);
    ledger::refuse_only_from(LARGE);
    let (told, ended) = tell_all(GROWN.iter(), pick(393, 131, 13));
    println!("refused: {told} reloads with large requests refused, {ended} ended the process");
    assert!(told > 20, "only {told}");
    assert_eq!(ended, 0, "of {told} ended the process");
    if is_stress() {
        ledger::refuse_only_from(0);
        let (told, ended) = tell_all(story::ALL.into_iter(), 9);
        println!("refused: {told} reloads with any request refused, {ended} ended the process");
    }
}
