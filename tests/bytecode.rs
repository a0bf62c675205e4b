//! Binary chunks that no compiler wrote: cut off, with bytes changed, nested too deep, with odd
//! names, lines, code and constants. The library reads what Lua dumps of them, and must take it for
//! what it is.
//!
//! Lua does not check code, so only chunks are used that Lua refuses, or of which what is run is as
//! the compiler wrote it.

// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use mlua::ffi;
use support::dump::{Dump, Function};
use support::{Fault, Outcome, Program, pick};

/// The functions of the module are never called, so that their code may be anything.
const MODULE: &str = "
    local count, list, other = 1, {}, 'text'
    local function helper(x)
        count = count + 1
        return list[x] or other
    end
    local M = { data = {}, [5] = 5, sub = { f = function() return helper(1) end } }
    function M.f(a, b, ...) local c = helper(a) return function() c = b return count, \
    'a long string constant', 1.5, 70000 end end
    function M.g() list = { g = M.f } list[3] = nil end
    return M";

/// The largest number that Lua takes for a line, or nearly.
const MOST: u64 = i32::MAX as u64 - 200;
/// What a chunk may allocate: a hostile one asks for any size.
const LIMIT: Fault = Fault::Limit(32 << 20);

fn begin() -> Program {
    let program = Program::new();
    program.write("m", MODULE);
    program.must("m = require 'm' m.data.x = 'run time' data = m.data");
    program
}

/// The binary form of the module.
fn compiled(strip: bool) -> Vec<u8> {
    let program = Program::new();
    let path = program.folder.path().join("out");
    program.write("m", MODULE);
    program.must(&format!(
        "local f = assert(loadfile(package.searchpath('m', package.path)))
        local out = io.open('{}', 'wb')
        out:write(string.dump(f, {strip}))
        out:close()",
        path.display()
    ));
    std::fs::read(path).unwrap_or_default()
}

/// Does Lua take the chunk?
fn loads(program: &Program, chunk: &[u8]) -> bool {
    // SAFETY: loading is protected; what it leaves is popped.
    unsafe {
        let l = program.state();
        program.memory.arm(LIMIT);
        let status = ffi::luaL_loadbufferx(
            l,
            chunk.as_ptr().cast(),
            chunk.len(),
            c"=x".as_ptr(),
            c"b".as_ptr(),
        );
        program.memory.disarm();
        ffi::lua_pop(l, 1);
        status == ffi::LUA_OK
    }
}

/// Reloads with the chunk in place of the file's text; the program must be whole afterwards.
#[track_caller]
fn reload(program: &Program, chunk: &[u8], what: &str) -> Outcome {
    program.must("local test = ... test.snapshot()");
    program.push("return gg.reload");
    program.push("return 'm'");
    // SAFETY: there is room on the stack, and memory.
    unsafe {
        let l = program.state();
        ffi::lua_createtable(l, 0, 1);
        ffi::lua_pushlstring(l, chunk.as_ptr().cast(), chunk.len());
        ffi::lua_setfield(l, -2, c"source".as_ptr());
    }
    let outcome = program.call(2, LIMIT);
    assert!(program.has_own_allocator(), "{what}: {outcome:?}");
    match &outcome {
        Outcome::Done => {}
        Outcome::Refused(Some(_)) => {
            let changes = program.must("local test = ... return test.changes()");
            assert_eq!(changes, "nil", "{what}: {outcome:?}");
        }
        _ => panic!("{what}: {outcome:?}"),
    }
    let kept = program.must("return package.loaded.m == m and m.data == data and data.x");
    assert_eq!(kept, "run time", "{what}: {outcome:?}");
    outcome
}

/// A good reload of the file, from whatever the program has now.
#[track_caller]
fn still_works(program: &Program) {
    program.must(
        "local test = ...
        test.reload('m', { on_conflict = 'replace' })
        local inner = m.f(1)
        test.equal(select(2, inner()), 'a long string constant')
        test.equal(m.data, data)",
    );
}

#[test]
fn the_tests_read_what_they_write() {
    for strip in [false, true] {
        let bytes = compiled(strip);
        let dump = Dump::read(&bytes);
        assert_eq!(dump.as_ref().map(Dump::write), Some(bytes), "strip {strip}");
        assert_eq!(dump.map(|dump| dump.main.functions.len()), Some(4));
    }
}

#[test]
fn whole_chunks() {
    for strip in [false, true] {
        let program = begin();
        let bytes = compiled(strip);
        if strip {
            // Names to none and back: refused, by the rule about upvalues without names, or done.
            reload(&program, &bytes, "stripped");
        } else {
            assert_eq!(reload(&program, &bytes, "whole"), Outcome::Done);
            assert_eq!(
                reload(
                    &program,
                    &[&bytes[..], b"behind"].concat(),
                    "more behind it"
                ),
                Outcome::Done
            );
        }
        still_works(&program);
    }
}

#[test]
fn chunks_that_are_cut_off() {
    for strip in [false, true] {
        let program = begin();
        let bytes = compiled(strip);
        for length in (1..bytes.len()).step_by(pick(3, 1, 1)) {
            let chunk = bytes.get(..length).unwrap_or_default();
            let outcome = reload(&program, chunk, &format!("the first {length} bytes"));
            assert!(
                matches!(outcome, Outcome::Refused(_)),
                "the first {length} bytes"
            );
        }
        still_works(&program);
    }
}

#[test]
fn headers_of_other_kinds() {
    let program = begin();
    let bytes = compiled(false);
    for i in 1..31 {
        for value in [0, 1, 0x51, 0x53, 0x55, 0xff] {
            let mut chunk = bytes.clone();
            let Some(byte) = chunk.get_mut(i).filter(|byte| **byte != value) else {
                continue;
            };
            *byte = value;
            let outcome = reload(&program, &chunk, &format!("byte {i} is {value}"));
            assert!(
                matches!(outcome, Outcome::Refused(_)),
                "byte {i} is {value}"
            );
        }
    }
    still_works(&program);
}

/// Every byte is changed in some ways, and the chunk is used where nothing that runs has changed.
/// (Its generations replace one another: the old code is as odd as the new.)
#[test]
fn chunks_with_changed_bytes() {
    for strip in [false, true] {
        let program = begin();
        let bytes = compiled(strip);
        let Some(original) = Dump::read(&bytes) else {
            panic!("the dump")
        };
        let (mut used, mut done) = (0, 0);
        let step = pick(5, 1, 1);
        for i in (31..bytes.len()).step_by(step) {
            for change in [0x01, 0xff, if i % 2 == 0 { 0x80 } else { 0x42 }] {
                let mut chunk = bytes.clone();
                if let Some(byte) = chunk.get_mut(i) {
                    *byte ^= change;
                }
                let runs = Dump::read(&chunk).is_some_and(|dump| dump.runs_as(&original));
                if !runs && loads(&program, &chunk) {
                    continue;
                }
                used += 1;
                let what = format!("byte {i} xor {change:#x}, strip {strip}");
                done += usize::from(reload(&program, &chunk, &what) == Outcome::Done);
            }
        }
        assert!(used > 500 / step, "strip {strip}: {used} chunks used");
        assert!(
            done > 50 / step,
            "strip {strip}: {done} of {used} reloads done"
        );
        still_works(&program);
    }
}

/// Reloads with the module's chunk after a change to it, which does not concern what runs.
#[track_caller]
fn changed(program: &Program, what: &str, change: impl FnOnce(&mut Function)) -> Outcome {
    let bytes = compiled(false);
    let Some(original) = Dump::read(&bytes) else {
        panic!("the dump")
    };
    let mut dump = original.clone();
    change(&mut dump.main);
    assert!(dump.runs_as(&original), "{what} changes what runs");
    let chunk = dump.write();
    assert!(
        loads(program, &chunk),
        "Lua does not take the chunk with {what}"
    );
    reload(program, &chunk, what)
}

#[test]
fn functions_that_are_nested_too_deep() {
    for depth in [100, 218, 219, 220, 221, 222, 1000] {
        let program = begin();
        changed(
            &program,
            &format!("functions nested {depth} deep"),
            |main| {
                let mut inner = Function {
                    frame: [0, 0, 2],
                    code: vec![0x47, 0, 1, 0],
                    ..Function::default()
                };
                for _ in 0..depth {
                    inner = Function {
                        functions: vec![inner.clone()],
                        ..inner.without_functions()
                    };
                }
                if let Some(function) = main.functions.last_mut() {
                    function.functions.push(inner);
                }
            },
        );
        still_works(&program);
    }
}

#[test]
fn every_operation_in_code_that_is_not_run() {
    let program = begin();
    for operation in 0..=127_u8 {
        let outcome = changed(&program, &format!("operation {operation}"), |main| {
            if let Some(function) = main.functions.last_mut() {
                for arguments in [[0, 0, 0], [0xff, 0xff, 0xff], [0x80, 0x7f, 0x01]] {
                    function
                        .code
                        .extend([operation, arguments[0], arguments[1], arguments[2]]);
                }
                function.lines.extend([0; 3]);
            }
        });
        assert_eq!(outcome, Outcome::Done, "operation {operation}");
    }
    still_works(&program);
}

#[test]
fn odd_constants() {
    let program = begin();
    for tag in 0..=0xff_u8 {
        if [0x03, 0x13, 0x04, 0x14].contains(&tag) {
            continue;
        }
        changed(&program, &format!("a constant of type {tag}"), |main| {
            main.functions
                .iter_mut()
                .for_each(|function| function.constants.push((tag, Vec::new())));
        });
    }
    for text in [
        &b""[..],
        b"\0",
        b"\xff\xfe",
        &[b'x'; 40],
        &[b'x'; 41],
        &[b'x'; 100_000],
    ] {
        changed(&program, "odd strings", |main| {
            for tag in [0x04, 0x14] {
                main.functions
                    .iter_mut()
                    .for_each(|function| function.constants.push((tag, text.to_vec())));
            }
        });
    }
    for number in [i64::MIN, -1, 0, 1, i64::MAX] {
        changed(&program, "odd integers", |main| {
            main.functions.iter_mut().for_each(|function| {
                let place = function.constants.len() as u32;
                function
                    .constants
                    .push((0x03, number.to_le_bytes().to_vec()));
                function.code.extend((3 | place << 15).to_le_bytes()); // LOADK
                function.lines.push(0);
            });
        });
    }
    still_works(&program);
}

/// Bytes of code as they are, whose constants are not there.
#[test]
fn code_that_points_beyond_its_constants() {
    let program = begin();
    let outcome = changed(&program, "constants that are not there", |main| {
        main.functions
            .iter_mut()
            .for_each(|function| function.constants.clear());
    });
    assert_eq!(outcome, Outcome::Done);
    still_works(&program);
}

#[test]
fn odd_lines() {
    let program = begin();
    for (line, last) in [(0, 0), (1, 1), (MOST, MOST), (MOST, 0), (0, MOST)] {
        let outcome = changed(&program, &format!("lines {line} to {last}"), |main| {
            for function in &mut main.functions {
                (function.line, function.last) = (line, last);
            }
            (main.line, main.last) = (line, last);
        });
        assert_eq!(outcome, Outcome::Done, "lines {line} to {last}");
    }
    changed(&program, "line information that is too long", |main| {
        for function in &mut main.functions {
            function.lines.extend([0x80; 300]);
            function.absolute = vec![(MOST, MOST); 3];
            function.locals = vec![(None, MOST, 0), (Some(b"x".to_vec()), 0, MOST)];
        }
    });
    changed(&program, "line information that is too short", |main| {
        for function in &mut main.functions {
            function.lines.truncate(1);
            function.absolute.clear();
        }
    });
    still_works(&program);
}

/// Where the conflict's line is read from the main function's own line information.
#[test]
fn odd_lines_beside_a_conflict() {
    let program = begin();
    // A function of the module's own that the file no longer has, where the file has a table.
    program.must(
        "local test = ...
        test.reload('m', { source = 'local M = { data = {} } function M.f() end \
        function M.gone() end return M' })",
    );
    for lines in [vec![], vec![0x80; 400], vec![0x7f; 400], vec![0x81; 400]] {
        program.must("m.sub = m.gone");
        let outcome = changed(&program, "odd lines", |main| {
            main.line = MOST;
            main.lines = lines.clone();
            main.absolute = vec![(0, MOST), (3, 0)];
        });
        let told = matches!(&outcome, Outcome::Refused(Some(text)) if text.contains("m.sub"));
        assert!(told, "{outcome:?}");
        program.must("m.sub = nil");
    }
    still_works(&program);
}

#[test]
fn odd_names() {
    let names: [Option<&[u8]>; 7] = [
        None,
        Some(b""),
        Some(b"\0"),
        Some(b"_ENV"),
        Some(b"\xff\xfe"),
        Some(b"(no name)"),
        Some(&[b'n'; 5000]),
    ];
    for name in names {
        let program = begin();
        let name = name.map(<[u8]>::to_vec);
        changed(
            &program,
            &format!("upvalues of the name {name:?}"),
            |main| {
                for function in &mut main.functions {
                    function.names.fill(name.clone());
                }
            },
        );
        changed(
            &program,
            &format!("a main upvalue of the name {name:?}"),
            |main| main.names = vec![name.clone()],
        );
        changed(&program, "some names", |main| {
            for function in &mut main.functions {
                function
                    .names
                    .iter_mut()
                    .skip(1)
                    .for_each(|other| other.clone_from(&name));
            }
        });
        still_works(&program);
    }
}

#[test]
fn odd_sources() {
    let sources: [Option<&[u8]>; 8] = [
        None,
        Some(b""),
        Some(b"@"),
        Some(b"=?"),
        Some(b"=stdin"),
        Some(b"\0\xff"),
        Some(b"=[C]"),
        Some(&[b'@'; 5000]),
    ];
    for source in sources {
        let program = begin();
        let source = source.map(<[u8]>::to_vec);
        changed(&program, &format!("the source {source:?}"), |main| {
            main.source.clone_from(&source)
        });
        changed(
            &program,
            &format!("functions of the source {source:?}"),
            |main| {
                for function in &mut main.functions {
                    function.source.clone_from(&source);
                }
            },
        );
        still_works(&program);
    }
}

/// Loaders that a searcher may return for a module, and whether the module is reloaded by them.
#[test]
fn loaders_of_all_kinds() {
    let loaders = [
        (
            "load('local M = { data = {} } function M.f() return 2 end return M', \
             '@elsewhere.lua')",
            true,
        ),
        (
            "load(string.dump(load 'return { data = {}, f = function() return 2 end }', true))",
            true,
        ),
        (
            "function() return { data = {}, f = function() return 2 end } end",
            true,
        ),
        (
            "(function(...) local up = ... return function() return { data = {}, f = function() \
             return up end } end end)(2)",
            true,
        ),
        ("m.f", true),
        ("function() return m end", true),
        ("function() package.loaded.m = { data = {} } end", true),
        (
            "function() return coroutine.wrap(function() return { data = {} } end)() end",
            true,
        ),
        ("function() coroutine.yield() end", false),
        ("function() return nil end", false),
        ("function() return 'a string' end", false),
        ("function() return false end", false),
        ("function() error() end", false),
        (
            "function() error(setmetatable({}, { __tostring = function() return {} end })) end",
            false,
        ),
        (
            "function() local function f() return f() + 1 end return f() end",
            false,
        ),
        ("function() return require 'm2' end", false),
        ("print", false),
        ("coroutine.wrap(function() return {} end)", false),
        ("string.gmatch('a', 'a')", false),
    ];
    for (loader, done) in loaders {
        let program = begin();
        program.must("m.f = function() return { data = {} } end");
        program.must(&format!(
            "local loader = {loader}
            table.insert(package.searchers, 1, function(name) if name == 'm' then return loader, \
            'data' end end)
            local test = ...
            test.snapshot()
            for _ = 1, 3 do
                local ok, message = gg.reload 'm'
                test.equal(ok, {done}, tostring(message))
                if not ok then test.equal(test.changes(), nil) end
            end
            test.equal(package.loaded.m, m)
            test.equal(m.data, data)
            table.remove(package.searchers, 1)"
        ));
        still_works(&program);
    }
}
