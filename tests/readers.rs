//! The readers of dumps (R2.1, R4.7, R9.3, R12.3) on whatever bytes: they refuse or read, and need
//! memory in proportion.

#![cfg(feature = "vendored")] // as is the way to the readers alone
// A test is a host, and fails by panicking.
#![allow(
    unsafe_code,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/dump.rs"]
#[allow(dead_code)]
mod dump;
#[path = "support/effort.rs"]
#[allow(dead_code)]
mod effort;
#[path = "support/ledger.rs"]
#[allow(dead_code)]
mod ledger;

use std::ffi::{c_int, c_void};
use std::fmt::Debug;

use dump::{Dump, Function};
use effort::pick;
use hotreload::readers::{self, READERS, Verdict};
use ledger::{Ledger, most_held, refusing};
use mlua::ffi::{self, lua_State};

#[global_allocator]
static LEDGER: Ledger = Ledger;

/// The most memory that a reader needs for a byte of its input, and beyond that.
const FACTOR: usize = 64;
const EXTRA: usize = 4096;

/// A little of all that a function can be made of.
const MIXED: &str = "
local count, list = 1, {}
local M = { [5] = 1.5 }
function M.new(a, ...)
    local state = a
    local more = { ... }
    return { get = function() return state, list[7], more end, set = function(v) state = v \
    count = count + 1 end }
end
for i = 1, 2 do list[i] = function() if i > 1 then goto done end ::done:: \
return 'a string constant of more than forty characters' end end
return M";

/// What the proofs about constants are for.
const CONSTANTS: &str = "
local MAX, name, floor, dep = 60, 'text', math.floor, require 'dep'.field
local twice, none = MAX, nil
local function helper() return MAX, name end
local log = print
return { f = function() none = 1 return floor(MAX), dep, twice, helper, log end }";

/// What the outline of a main chunk is for.
const OUTLINE: &str = "
local M, Class = {}, {}
M.sub = {}
function M.a() end
function M.sub.b() end
function Class.new() end
if M then function M.maybe() end end
GLOBAL = function() end
M.Class = Class
return M";

/// What definitions are told of.
const DEFINITIONS: &str = "
local M = { list = { {}, function() end }, sub = { name = 'x' } }
local Base = require 'base'
M.Dog = setmetatable({}, { __index = Base })
M.sub.deep, M.other = {}, M.list
for i = 1, 3 do M.list[#M.list + 1] = { n = i * 2 } end
local cache = M.cache or {}
local function on(event, f) cache[event] = f end
on('hit', function() M, cache = nil, {} return on('x', {}) end)
while on do if M then break end M = M.next end
return M";

/// The dump of a text, by the Lua that the tests have built in.
fn compiled(text: &str, strip: bool) -> Vec<u8> {
    unsafe extern "C-unwind" fn write(
        _: *mut lua_State,
        from: *const c_void,
        size: usize,
        to: *mut c_void,
    ) -> c_int {
        // SAFETY: the bytes are read within their length; `to` is the vector below.
        unsafe {
            (*to.cast::<Vec<u8>>()).extend_from_slice(std::slice::from_raw_parts(from.cast(), size))
        };
        0
    }
    let mut code: Vec<u8> = Vec::new();
    // SAFETY: a state of our own; the writer does not raise.
    unsafe {
        let l = ffi::luaL_newstate();
        let status = ffi::luaL_loadbufferx(
            l,
            text.as_ptr().cast(),
            text.len(),
            c"@m.lua".as_ptr(),
            c"t".as_ptr(),
        );
        assert_eq!(status, ffi::LUA_OK);
        ffi::lua_dump(l, write, (&raw mut code).cast(), strip.into());
        ffi::lua_close(l);
    }
    code
}

fn samples() -> Vec<Vec<u8>> {
    let texts = [
        MIXED,
        CONSTANTS,
        OUTLINE,
        DEFINITIONS,
        "return { 1, 'x', y = 2.5 }",
    ];
    let both = |text| [compiled(text, false), compiled(text, true)];
    texts.into_iter().flat_map(both).collect()
}

fn template() -> Vec<u8> {
    compiled("return function() end", false)
}

/// Gives the bytes to every reader: none contradicts itself, none needs more memory than its share.
#[track_caller]
fn read_all(bytes: &[u8], what: impl Debug) -> Vec<Verdict> {
    let check = |name, (verdict, most): (Verdict, usize)| {
        let is_good = matches!(verdict, Verdict::Refused | Verdict::Read(_));
        assert!(is_good, "{name}, {what:?}: {verdict:?}");
        let bound = FACTOR * bytes.len() + EXTRA;
        assert!(
            most <= bound,
            "{name}, {what:?}: {most} bytes for {}",
            bytes.len()
        );
        verdict
    };
    READERS
        .iter()
        .map(|(name, read)| check(*name, most_held(|| read(bytes))))
        .collect()
}

#[test]
fn real_dumps_are_read() {
    for bytes in samples() {
        let verdicts = read_all(&bytes, "whole");
        let (template, others) = verdicts.split_last().expect("readers");
        assert!(
            others
                .iter()
                .all(|verdict| matches!(verdict, Verdict::Read(_))),
            "{verdicts:?}"
        );
        assert_eq!(*template, Verdict::Refused, "no template");
        assert!(matches!(
            readers::cut(&self::template(), &bytes),
            Verdict::Read(_)
        ));
    }
    let is_template = |(name, read): &readers::NamedReader| {
        *name != "template" || read(&template()) == Verdict::Read(1)
    };
    assert!(READERS.iter().all(is_template));
}

#[test]
fn every_prefix_is_refused() {
    for bytes in samples() {
        for length in (0..bytes.len()).step_by(pick(3, 1, 1)) {
            let verdicts = read_all(&bytes[..length], length);
            for ((name, _), verdict) in READERS.iter().zip(verdicts) {
                // An outline needs nothing of what stands behind the nested functions.
                assert!(
                    verdict == Verdict::Refused || *name == "outline",
                    "{name}: the first {length} bytes"
                );
            }
        }
    }
}

#[test]
fn every_byte_may_be_changed() {
    let template = template();
    let (mut read, step) = (0, pick(3, 1, 1));
    for (number, bytes) in samples().into_iter().enumerate() {
        for i in (0..bytes.len()).step_by(step) {
            let was = bytes[i];
            let changes = (0..8).map(|bit| was ^ 1 << bit);
            let changes = changes.chain([0, 0xff]);
            for byte in changes.filter(|byte| *byte != was) {
                let mut changed = bytes.clone();
                changed[i] = byte;
                let verdicts = read_all(&changed, (number, i, byte));
                if matches!(verdicts[1], Verdict::Read(_)) {
                    read += 1;
                    let cut = readers::cut(&template, &changed);
                    assert!(
                        matches!(cut, Verdict::Read(_)),
                        "{number} {i} {byte}: {cut:?}"
                    );
                }
            }
        }
    }
    assert!(
        read > 1000 / step,
        "only {read} of the changed dumps were read"
    );
}

#[test]
fn every_byte_of_a_template_may_be_changed() {
    let bytes = template();
    for i in (0..bytes.len()).step_by(pick(3, 1, 1)) {
        for byte in 0..=u8::MAX {
            let mut changed = bytes.clone();
            changed[i] = byte;
            read_all(&changed, (i, byte));
        }
    }
}

/// Requests of Rust's are refused one after the other: each reader says that there is no memory.
#[test]
fn a_lack_of_memory_is_reported() {
    for bytes in samples() {
        for (name, read) in &READERS[..READERS.len() - 1] {
            let whole = read(&bytes);
            let mut requests = 0;
            for first in 1.. {
                let (verdict, failed) = refusing(first, 1, false, || read(&bytes));
                if failed == 0 {
                    assert_eq!(verdict, whole, "{name}");
                    break;
                }
                assert_eq!(verdict, Verdict::NoMemory, "{name}, request {first}");
                requests += 1;
            }
            assert!(
                requests > 0 || *name == "outline",
                "{name} asks for no memory"
            );
        }
    }
}

/// A function with nothing in it.
fn empty() -> Function {
    Function {
        frame: [0, 0, 2],
        code: 0x47_u32.to_le_bytes().to_vec(), // RETURN0
        ..Function::default()
    }
}

/// A dump of this main function.
fn whole(main: Function) -> Vec<u8> {
    Dump {
        header: template()[..32].to_vec(),
        main,
    }
    .write()
}

/// Dumps that make one kind of thing as small as it can be, as often as it goes.
#[test]
#[allow(clippy::too_many_lines)] // a list of dumps
fn memory_grows_with_the_input_whatever_stands_in_it() {
    const MANY: usize = 20_000;
    let code = |instructions: &[u32]| {
        instructions
            .iter()
            .flat_map(|i| i.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let dense = [
        (
            "constants",
            Function {
                constants: vec![(0x00, Vec::new()); MANY],
                ..empty()
            },
        ),
        (
            "names",
            Function {
                constants: (0..MANY)
                    .map(|i| (0x04, i.to_string().into_bytes()))
                    .collect(),
                ..empty()
            },
        ),
        (
            "functions",
            Function {
                functions: vec![empty(); MANY],
                code: code(&(0..MANY as u32).map(|i| 79 | i << 15).collect::<Vec<_>>()), // CLOSURE
                ..empty()
            },
        ),
        (
            "functions on lines of their own",
            Function {
                functions: (0..MANY as u64)
                    .map(|line| Function {
                        line,
                        last: line,
                        ..empty()
                    })
                    .collect(),
                ..empty()
            },
        ),
        (
            "upvalues",
            Function {
                functions: vec![
                    Function {
                        upvalues: vec![[1, 0, 0]; 255],
                        ..empty()
                    };
                    MANY / 255
                ],
                ..empty()
            },
        ),
        (
            "upvalues of one function",
            Function {
                functions: vec![Function {
                    upvalues: vec![[0, 0, 0]; 2],
                    functions: vec![
                        Function {
                            upvalues: vec![[0, 1, 0]],
                            code: code(&[10]), // SETUPVAL
                            ..empty()
                        };
                        MANY
                    ],
                    ..empty()
                }],
                ..empty()
            },
        ),
        (
            "locals",
            Function {
                locals: vec![(None, 0, 0); MANY],
                ..empty()
            },
        ),
        (
            "absolute lines",
            Function {
                absolute: vec![(0, 0); MANY],
                ..empty()
            },
        ),
        (
            "jumps",
            Function {
                code: code(&vec![56 | 0xff_ffff << 7; MANY]), // JMP to the next one
                ..empty()
            },
        ),
        (
            "integers",
            Function {
                // LOADI and GETTABLE with it
                code: code(
                    &(0..MANY as u32)
                        .flat_map(|i| [1 | i << 15, 12])
                        .collect::<Vec<_>>(),
                ),
                ..empty()
            },
        ),
        (
            "stores under a long name",
            Function {
                functions: vec![empty()],
                constants: vec![(0x04, vec![b'x'; 2 * MANY])],
                // CLOSURE into register 0; NEWTABLE into register 1, SETFIELD of it to register 0,
                // again and again
                code: code(&[&[79][..], &[19 | 1 << 7, 18 | 1 << 7].repeat(MANY / 10)].concat()),
                ..empty()
            },
        ),
    ];
    for (what, main) in dense {
        let bytes = whole(main);
        let verdicts = read_all(&bytes, what);
        let read = verdicts
            .iter()
            .filter(|verdict| matches!(verdict, Verdict::Read(_)));
        assert_eq!(read.count(), READERS.len() - 1, "{what}: {verdicts:?}");
    }
}

#[test]
fn sizes_beyond_the_end_ask_for_nothing() {
    for size in [(1_u64 << 31) - 1, 1 << 31, 1 << 32, 1 << 56, (1 << 63) - 1] {
        let groups = (1..10)
            .find(|groups| size >> (7 * groups) == 0)
            .unwrap_or(9);
        let size: Vec<u8> = (0..groups)
            .rev()
            .map(|i| (size >> (7 * i) & 0x7f) as u8 | if i == 0 { 0x80 } else { 0 })
            .collect();
        let bytes = whole(empty());
        for i in 32..bytes.len() {
            read_all(&[&bytes[..i], &size, &bytes[i + 1..]].concat(), (i, &size));
            read_all(&[&bytes[..i], &size].concat(), (i, &size));
        }
    }
}
