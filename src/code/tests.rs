//! Trees of real dumps, cuts that load and run, and dumps that no compiler wrote.

// A test fails by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::Digest;
use super::constants::{Init, MainText, Sought};
use super::cut::{Cutter, TEMPLATE};
use super::tree::Tree;
use crate::lua::testing::TestState;
use crate::lua::vm::{DebugInfo, Ref, Vm};
use crate::lua::write::{self, Permit};
use crate::stages::commit;
use crate::support::secret::Secret;

/// All that a function can be made of.
const MIXED: &str = "
local count, list = 1, {}
local M = {}
function M.new(a, b, ...)
    local state, rest = a, { ... }
    local function recur(n) if n > 0 then return recur(n - 1) end return state end
    return {
        get = function() return state, recur(3) end,
        set = function(v) state = v count = count + 1 end,
        deep = function() return function(x) return function() return x, state, b, \
        count end end end,
        more = function(...) return select('#', ...), ... end,
        long = function() return 'a string constant of more than forty characters, as Lua counts', \
        1.5, 70000, -3, 2^53 end,
    }
end
for i = 1, 3 do
    list[i] = function() return i, list end
end
function M.jump(n)
    for i = 1, n do
        if i % 2 == 0 then goto continue end
        local f = function() return i end
        list[#list + 1] = f
        ::continue::
    end
    local guard <close> = setmetatable({}, { __close = function() count = count + 1 end })
    local fixed <const> = 7
    return function() return fixed, guard end
end
return M";

/// The dump of a text's main function; stripped: of what Lua loads of a stripped one.
fn dump(vm: &mut Vm, text: &str, strip: bool) -> Vec<u8> {
    let name = c"@a file of the module with a name that is no short string.lua";
    let mut main = vm.load_text(text.as_bytes(), name).expect("compiles");
    if strip {
        let bytes = vm.dump(main, DebugInfo::Strip).expect("memory").to_vec();
        main = TestState::load_dump(vm, &bytes, name);
    }
    vm.dump(main, DebugInfo::Keep).expect("memory").to_vec()
}

fn tree(text: &str) -> Tree {
    TestState::new().view(|vm| {
        Tree::read(dump(vm, text, false), &Secret::default())
            .expect("memory")
            .expect("a dump")
    })
}

fn cutter(vm: &mut Vm) -> Cutter {
    let template = vm.load_text(TEMPLATE, c"=?").expect("compiles");
    let template = vm.dump(template, DebugInfo::Keep).expect("memory").to_vec();
    Cutter::new(template).expect("memory").expect("a template")
}

/// The number of the function that begins on this line.
fn at_line(tree: &Tree, line: i32) -> u32 {
    let found: Vec<u32> = (0..tree.len())
        .filter(|i| tree.get(*i).expect("there").line == line)
        .collect();
    assert_eq!(found.len(), 1, "line {line}");
    found[0]
}

fn names(tree: &Tree, number: u32) -> Vec<String> {
    tree.captured(number)
        .iter()
        .map(|captured| String::from_utf8_lossy(tree.name(captured)).into_owned())
        .collect()
}

#[test]
fn a_tree_has_the_shape_of_the_source() {
    let tree = tree(MIXED);
    assert_eq!(tree.len(), 15);
    let main = tree.get(0).expect("main");
    assert_eq!((main.parent, main.line, main.vararg), (None, 0, true));
    let lines = |number| {
        tree.children(number)
            .map(|i| tree.get(i).expect("there").line)
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(0), [4, 16, 18]);
    let new = at_line(&tree, 4);
    assert_eq!(lines(new), [6, 8, 9, 10, 11, 12]);
    let function = tree.get(new).expect("there");
    assert_eq!(
        (function.params, function.vararg, function.last),
        (2, true, 14)
    );
    assert_eq!(function.parent, Some(0));
    for number in 0..tree.len() {
        assert!(tree.source(number).starts_with(b"@a file of the module"));
    }
}

#[test]
fn a_function_knows_the_name_it_is_given() {
    let tree = tree(
        "local held
        local M = {}
        function M.field() end
        local function named() end
        local other = function() end
        held = function() end
        function global() end
        local f = function() held = function() return held end end
        M.x = { entry = function() end }
        other = function() end
        print(function() end)
        return function() end",
    );
    let place = |line, nth| {
        let number = (1..tree.len())
            .filter(|i| tree.get(*i).expect("there").line == line)
            .nth(nth);
        tree.get(number.expect("there")).expect("there").place
    };
    assert_eq!(place(3, 0), Secret::default().digest(b"field"));
    assert_eq!(place(4, 0), Secret::default().digest(b"named"));
    assert_eq!(place(5, 0), Secret::default().digest(b"other"));
    assert_eq!(place(6, 0), Secret::default().digest(b"held"));
    assert_eq!(place(7, 0), Secret::default().digest(b"global"));
    assert_eq!(place(8, 0), Secret::default().digest(b"f"));
    assert_eq!(place(8, 1), Secret::default().digest(b"held"));
    assert_eq!(place(9, 0), Secret::default().digest(b"entry"));
    assert_eq!(place(10, 0), Secret::default().digest(b"other"));
    assert_eq!(place(11, 0), 0);
    assert_eq!(place(12, 0), 0);
}

#[test]
fn captured_variables_are_told_apart() {
    let tree = tree(
        "local a, b
        do local x = 1 function f() return x end end
        do local x = 2 function g() return x end end
        for i = 1, 2 do local x = i function h() return x, i, a end end
        local function rec() return rec, b end
        local K <const> = 5
        local c = 6
        function k() return K, c end
        function up() return function() return c end end",
    );
    let locals = |line| {
        let number = (1..tree.len())
            .find(|i| tree.get(*i).expect("there").line == line)
            .expect("there");
        let locals: Vec<Option<u32>> = tree
            .captured(number)
            .iter()
            .map(|captured| captured.local)
            .collect();
        (names(&tree, number), locals)
    };
    let some = |numbers: &[u32]| numbers.iter().copied().map(Some).collect::<Vec<_>>();
    // In order of declaration: a b, x, x, three of the loop, i x, rec, c. The globals' names are no
    // locals.
    assert_eq!(locals(2), (vec!["x".into()], some(&[2])));
    assert_eq!(locals(3), (vec!["x".into()], some(&[3])));
    assert_eq!(
        locals(4),
        (vec!["x".into(), "i".into(), "a".into()], some(&[8, 7, 0]))
    );
    assert_eq!(locals(5), (vec!["rec".into(), "b".into()], some(&[9, 1])));
    assert_eq!(locals(8), (vec!["c".into()], some(&[10])));
    let inner = tree.len() - 1;
    let captured = tree.captured(inner)[0];
    assert!(!captured.in_stack, "an upvalue of the function around it");
    assert_eq!(captured.local, None);
}

#[test]
fn digests_tell_code_from_lines() {
    let first = tree(MIXED);
    let moved = tree(&format!("\n\n{MIXED}"));
    let other = tree(&MIXED.replace("state = v", "state = v + 1"));
    for number in 0..first.len() {
        let [a, b, c] = [&first, &moved, &other].map(|tree| tree.get(number).expect("there"));
        assert_eq!(a.digest, b.digest, "function {number}");
        assert_ne!(a.exact, b.exact, "function {number}");
        let has_it = number == 0 || a.line == 4 || a.line == 9;
        assert_eq!(a.digest != c.digest, has_it, "function {number}");
        assert_eq!(a.exact != c.exact, has_it, "function {number}");
    }
}

#[test]
fn the_names_of_variables_are_part_of_the_code() {
    let one = tree("local a, b = 1, 2 return function() return a end");
    let other = tree("local a, b = 1, 2 return function() return b end");
    assert_ne!(
        one.get(1).expect("there").digest,
        other.get(1).expect("there").digest
    );
}

/// A live closure's own dump has the digests that its function has in the dump of the chunk.
#[test]
fn closures_are_found_in_the_tree() {
    let state = TestState::new();
    state.run(&format!(
        "chunk = load([==[{MIXED}]==], '@m.lua') local m = chunk() local o = m.new(1, 2)
        live = {{ m.new, o.get, o.set, o.deep, o.deep(), o.deep()(), o.more, o.long, m.jump, \
        m.jump(1) }}"
    ));
    state.view(|vm| {
        let chunk = TestState::global(vm, "chunk");
        let whole = Tree::read(
            vm.dump(chunk, DebugInfo::Keep).expect("memory").to_vec(),
            &Secret::default(),
        )
        .expect("memory")
        .expect("a dump");
        let live = TestState::global(vm, "live");
        for i in 1..=10 {
            let function = vm.element(live, i).expect("memory");
            let own = Tree::read(
                vm.dump(function, DebugInfo::Keep).expect("memory").to_vec(),
                &Secret::default(),
            )
            .expect("memory")
            .expect("a dump");
            let own = own.get(0).expect("there");
            let found: Vec<u32> = (1..whole.len())
                .filter(|n| whole.get(*n).expect("there").exact == own.exact)
                .collect();
            assert_eq!(found.len(), 1, "function {i}");
            let found = whole.get(found[0]).expect("there");
            assert_eq!(
                (found.digest, found.line, found.last),
                (own.digest, own.line, own.last),
                "function {i}"
            );
        }
    });
}

/// Loads a cut and checks that Lua has the same of it.
fn load_cut(vm: &mut Vm, cutter: &Cutter, tree: &Tree, number: u32) -> Ref {
    assert!(
        cutter.cut(tree, number).expect("memory").is_some(),
        "no cut of function {number}"
    );
    let factory = vm.load_cut(cutter, tree, number).expect("memory");
    factory.unwrap_or_else(|| panic!("Lua has something else of function {number}"))
}

#[test]
fn every_function_can_be_cut() {
    let state = TestState::new();
    state.view(|vm| {
        let cutter = cutter(vm);
        for (text, strip) in [(MIXED, false), (MIXED, true)] {
            let bytes = dump(vm, text, strip);
            let tree = Tree::read(bytes, &Secret::default())
                .expect("memory")
                .expect("a dump");
            for number in 0..tree.len() {
                let factory = load_cut(vm, &cutter, &tree, number);
                let closure = vm.instantiate(factory).expect("memory");
                let info = vm.info(closure).expect("memory").expect("a function");
                let function = tree.get(number).expect("there");
                assert_eq!(
                    (info.line, info.last, info.params),
                    (function.line, function.last, function.params)
                );
                assert_eq!(usize::from(info.upvalues), tree.captured(number).len());
                if !strip {
                    assert_eq!(
                        vm.source(closure).expect("memory").as_deref(),
                        Some(tree.source(number))
                    );
                }
                // What is made of it is recognised as the same function again.
                let own = vm.dump(closure, DebugInfo::Keep).expect("memory").to_vec();
                let own = Tree::read(own, &Secret::default())
                    .expect("memory")
                    .expect("a dump");
                assert_eq!(
                    own.get(0).expect("there").exact,
                    function.exact,
                    "function {number}"
                );
                for (a, b) in (0..own.len()).zip(number..) {
                    let (a, b) = (own.get(a).expect("there"), tree.get(b).expect("there"));
                    assert_eq!((a.exact, a.digest), (b.exact, b.digest));
                }
            }
        }
    });
}

#[test]
fn short_and_empty_source_names_can_be_cut() {
    TestState::new().view(|vm| {
        let cutter = cutter(vm);
        for name in [c"=?", c"@m.lua", c"", c"return function() end"] {
            let main = vm
                .load_text(b"local x return function() return x end", name)
                .expect("compiles");
            let bytes = vm.dump(main, DebugInfo::Keep).expect("memory").to_vec();
            let tree = Tree::read(bytes, &Secret::default())
                .expect("memory")
                .expect("a dump");
            load_cut(vm, &cutter, &tree, 1);
        }
    });
}

#[test]
fn closures_of_a_cut_share_one_prototype_and_run_on_other_cells() {
    let state = TestState::new();
    state.run(
        "chunk = load('local n, step = 10, 1 return function(k) n = n + step * k return n, \
         step end', '@m.lua')
        live = { chunk() } result = {}",
    );
    state.view(|vm| {
        let cutter = cutter(vm);
        let (chunk, live, result) = (
            TestState::global(vm, "chunk"),
            TestState::global(vm, "live"),
            TestState::global(vm, "result"),
        );
        let tree = Tree::read(
            vm.dump(chunk, DebugInfo::Keep).expect("memory").to_vec(),
            &Secret::default(),
        )
        .expect("memory")
        .expect("a dump");
        let factory = load_cut(vm, &cutter, &tree, 1);
        let old = vm.element(live, 1).expect("memory");
        let mut plan = crate::stages::plan::Plan::default();
        for i in 1..=2 {
            let function = vm.instantiate(factory).expect("memory");
            let joins = [1, 2].map(|index| write::Join {
                index,
                donor: old,
                donor_index: index,
            });
            plan.joins.add(function, &joins).expect("memory");
            let key = vm.number(i).expect("memory");
            write::fill(vm, result, key, function).expect("memory");
        }
        commit::commit(vm, Permit::new(), &plan).expect("joins");
    });
    state.run(
        "local a, b = result[1], result[2]
        assert(a ~= b and a ~= live[1])
        assert(a(1) == 11 and b(2) == 13 and live[1](3) == 16)
        assert(debug.getinfo(a, 'S').source == '@m.lua')",
    );
}

/// A function of a hostile dump: as small as Lua allows, or with sizes that are not there.
fn function(children: &[u8], count: u8) -> Vec<u8> {
    let head = [0x80, 0x80, 0x80, 0, 0, 2, 0x81, 0x47, 0, 1, 0, 0x80, 0x80];
    [
        &head[..],
        &[0x80 | count],
        children,
        &[0x80, 0x80, 0x80, 0x80],
    ]
    .concat()
}

fn with_header(function: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x1bLua\x54\x00\x19\x93\r\n\x1a\n\x04\x08\x08".to_vec();
    bytes.extend(0x5678_i64.to_ne_bytes());
    bytes.extend(370.5_f64.to_ne_bytes());
    bytes.push(0);
    bytes.extend(function);
    bytes
}

#[test]
fn depth_is_bounded() {
    let mut inner = function(&[], 0);
    let mut depth = 0;
    while depth < 5000 {
        let tree = Tree::read(with_header(&inner), &Secret::default()).expect("memory");
        assert_eq!(
            tree.map(|tree| tree.len()),
            (depth <= super::MAX_DEPTH).then_some(depth + 1),
            "depth {depth}"
        );
        let more = if depth < 230 { 1 } else { 1000 };
        for _ in 0..more {
            inner = function(&inner, 1);
        }
        depth += more;
    }
}

#[test]
fn sizes_beyond_the_end_are_refused() {
    let huge = [0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0xff];
    let whole = function(&[], 0);
    assert!(
        Tree::read(with_header(&whole), &Secret::default())
            .expect("memory")
            .is_some()
    );
    for i in [0, 1, 2, 6, 11, 12, 13, 14, 15, 16, 17] {
        let mut bytes = whole[..i].to_vec();
        bytes.extend(huge);
        bytes.extend(&whole[i + 1..]);
        // A line may be any number, but for one that is none.
        assert!(
            Tree::read(with_header(&bytes), &Secret::default())
                .expect("memory")
                .is_none(),
            "size at {i}"
        );
    }
}

#[test]
fn what_stands_behind_a_chunk_is_left() {
    let bytes = [with_header(&function(&[], 0)), b"behind".to_vec()].concat();
    assert!(
        Tree::read(bytes, &Secret::default())
            .expect("memory")
            .is_some()
    );
}

/// Asks for every upvalue of every function of a text; returns how many are constants.
fn constants(text: &mut MainText) -> usize {
    let mut found = 0;
    let functions: Vec<_> = text.functions().collect();
    for (lines, upvalues) in functions {
        let sought = Sought {
            lines,
            upvalues,
            digest: Digest::default(),
        };
        for index in 0..=upvalues {
            text.is_assigned(&sought, index);
            for name in [b"count".as_slice(), b"list", b"M", b"A", b"f", b"log"] {
                found += usize::from(text.init(&sought, index, name) != Init::Computed);
            }
        }
    }
    text.assigned().map(Iterator::count);
    found
}

#[test]
fn constants_are_found_where_the_code_proves_them() {
    let source =
        format!("local A, f, log <const>, s = 60, math.floor, require 'x'.y, nil\n{MIXED}")
            .replace(
                "return M",
                "function M.g() return A, f, log, s end return M",
            )
            .replace("local list", "list");
    TestState::new().view(|vm| {
        let whole = dump(vm, &source, false);
        let text =
            |bytes: &[u8]| MainText::read(bytes.to_vec(), &Secret::default()).expect("memory");
        assert_eq!(
            text(&whole).map(|mut text| constants(&mut text)),
            Some(3),
            "A, f, log"
        );
        let stripped = dump(vm, &source, true);
        assert_eq!(
            text(&stripped).map(|mut text| constants(&mut text)),
            Some(0)
        );
        assert!(text(&stripped).is_some_and(|text| text.assigned().is_none()));
    });
}
