//! What is known of a whole chunk: its names and keys, and the profiles of its functions, in it and
//! alone.

// A test fails by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::fmt::Write as _;

use super::names::DumpStrings;
use super::{Chunk, Digest, Profile, UpvalueSet, profile};
use crate::lua::testing::TestState;
use crate::lua::vm::DebugInfo;
use crate::support::secret::Secret;

/// What is known of a text's stripped dump.
fn chunk(text: &str) -> Chunk {
    TestState::new().view(|vm| {
        let main = vm.load_text(text.as_bytes(), c"=text").expect("compiles");
        let dump = vm.dump(main, DebugInfo::Strip).expect("memory").to_vec();
        Chunk::read(dump, &Secret::default())
            .expect("memory")
            .expect("a dump")
    })
}

fn on_line(chunk: &Chunk, line: i32) -> Profile {
    chunk
        .on_lines(line, line)
        .flatten()
        .expect("one function on that line")
}

fn assigned(profile: Profile) -> Vec<u8> {
    let mut numbers = Vec::new();
    profile.assigned.each(u8::MAX, |i| numbers.push(i));
    numbers
}

#[test]
fn each_name_is_known_once_and_no_other() {
    // Of all lengths, and more than there is room for at first.
    let names: Vec<String> = (0..3000)
        .map(|i| format!("{i}").repeat(1 + i % 7))
        .filter(|name| name.len() < 30)
        .collect();
    let mut text = String::from("local t = ...");
    for name in names.iter().chain(&names) {
        write!(text, " t.x{name} = '{name}'").expect("a string");
    }
    let chunk = chunk(&text);
    let found: Vec<&[u8]> = chunk.names().collect();
    let all: HashSet<&[u8]> = found.iter().copied().collect();
    assert_eq!(found.len(), all.len());
    assert_eq!(found.len(), 2 * names.len());
    for name in &names {
        let field = format!("x{name}");
        assert!(
            chunk.has_name(name.as_bytes(), &Secret::default())
                && chunk.has_name(field.as_bytes(), &Secret::default()),
            "{name}"
        );
        assert!(
            !chunk.has_name(format!("y{name}").as_bytes(), &Secret::default()),
            "{name}"
        );
    }
    assert!(!chunk.has_name(b"", &Secret::default()));
}

#[test]
fn names_are_found_by_their_hash() {
    let mut names = DumpStrings::default();
    assert_eq!(names.get(0), None);
    // Many that begin their search at one place, and whatever else.
    let hashes: Vec<u64> = (0..200)
        .map(|i| i << 32 | 5)
        .chain((0..500).map(|i| Secret::default().digest(&[i as u8, 3])))
        .collect();
    for (hash, i) in hashes.iter().zip(0..) {
        assert_eq!(
            names.get(*hash).is_some(),
            hashes[..i as usize].contains(hash)
        );
        assert!(names.add(*hash, || (i, 1)).is_ok());
        assert!(names.add(*hash, || (i, 2)).is_ok(), "the first one stays");
    }
    for hash in &hashes {
        let first = hashes
            .iter()
            .position(|other| other == hash)
            .expect("there");
        assert_eq!(names.get(*hash), Some((first as u32, 1)));
    }
    assert_eq!(names.get(6), None);
}

#[test]
fn integers_that_serve_as_keys_are_known() {
    let mut text =
        String::from("local t, k, far, float, none = {}, 70000, 70001, 70002.5, 70003\n");
    for i in 0..400 {
        writeln!(text, "t[{}] = {}", 100_000 + i, 200_000 + i).expect("a string");
    }
    for i in 0..300 {
        writeln!(text, "k = {i}").expect("a string"); // loads, more than there are registers
    }
    text.push_str("t[1], t[250] = t[2], t[far]  t[-7] = 1  t[float] = 2  none = 3\n");
    text.push_str(
        "function f(a, x) return x[70004], function() return a[70005], a[0] end, 70006 end\n",
    );
    text.push_str("function g(a, x) return x[a] end");
    let chunk = chunk(&text);
    let mut wanted: HashSet<i64> = (100_000..100_400).collect();
    wanted.extend([1, 2, 250, 70001, -7, 70004, 70005, 0]);
    let found: HashSet<i64> = chunk.integers.iter().copied().collect();
    assert_eq!(found, wanted);
}

/// A function's parameters are no keys because the function before it has loaded numbers into their
/// registers.
#[test]
fn registers_are_those_of_one_function() {
    let chunk = chunk(
        "local function f() local a, b, c = 70001, 3, 70002 return a, b, c end \
         return function(t, k, n) return t[k], t[n] end",
    );
    assert!(chunk.integers.is_empty(), "{:?}", chunk.integers);
}

#[test]
fn what_a_function_assigns_is_known_in_its_chunk() {
    let text = "local a, b, c = 1, 2, 3
        local function none() return a, b, c end
        local function first() a = b end
        local function second() b = a end
        local function inner() return b, function() return c, function() c, b = b, c end end end
        local function own() local x = 1 return function() x = x + a end end
        return none, first, second, inner, own";
    let chunk = chunk(text);
    let by_line = |line| assigned(on_line(&chunk, line));
    assert_eq!(by_line(2), [] as [u8; 0]);
    assert_eq!(by_line(3), [0]);
    assert_eq!(by_line(4), [0]);
    assert_eq!(chunk.on_lines(5, 5), Some(None), "several functions");
    assert_eq!(chunk.on_lines(1, 1), None);
    assert_eq!(chunk.setters, [(3, 3), (4, 4), (5, 5)]);
}

#[test]
fn sets_of_upvalues_are_handed_out_in_order() {
    let mut set = UpvalueSet::default();
    let numbers = [0, 1, 63, 64, 100, 127, 128, 192, 254, 255];
    for number in numbers {
        set.add(number);
    }
    for count in [0, 1, 2, 63, 64, 65, 101, 192, 193, 255] {
        let mut found = Vec::new();
        set.each(count, |i| found.push(i));
        let below: Vec<u8> = numbers.into_iter().filter(|i| *i < count).collect();
        assert_eq!(found, below, "below {count}");
        assert!(below.iter().all(|i| set.has(*i)) && !set.has(2) && !set.has(193));
    }
    let mut all = 0;
    UpvalueSet::ALL.each(255, |i| {
        assert_eq!(i, all);
        all += 1;
    });
    assert_eq!(all, 255);
}

/// Versions of one function, on one line, which differ in one thing each.
const VERSIONS: [&str; 22] = [
    "function(x) return x + a end",
    "function(x) return x - a end",
    "function(x) return a + x end",
    "function(x) return x + b end",
    "function(x) return x + a, b end",
    "function(x, y) return x + a end",
    "function(x, ...) return x + a end",
    "function(x) return x + 1000 end",
    "function(x) return x + 1001 end",
    "function(x) return x + 1000.0 end",
    "function(x) return x + 2^70 end",
    "function(x) return x .. 'text' end",
    "function(x) return x .. 'texts' end",
    "function(x) return x .. 'tex', 't' end",
    "function(x) return x .. 'a text that is longer than sixteen bytes' end",
    "function(x) return x .. 'a text that is longer than forty bytes, so that it is long' end",
    "function(x) return x .. 'a text that is longer than forty bytes, so that it is lonG' end",
    "function(x) return function() return x + a end end",
    "function(x) return function() return x - a end end",
    "function(x) return function() return a + x end, 1 end",
    "function(x) a = x end",
    "function(x) x = a end",
];

/// Digests tell code apart, and say nothing of lines, of the chunk around, or of where the
/// function's own upvalues are found.
#[test]
fn digests_tell_code_apart_and_nothing_else() {
    let around = |version: &str| {
        [
            format!("local a, b\nreturn\n{version}"),
            format!(
                "\n\n\n\nlocal a, b\nlocal c, d = 'c', function() end\nreturn\n{version}, c, d"
            ),
            format!("local b\nlocal a\nlocal x = function() return 7 end return\n{version}, x"),
            format!("{}local a, b return\n{version}", "\n".repeat(20_000)),
        ]
    };
    let digests = VERSIONS.map(|version| {
        let found = around(version).map(|text| {
            let before = text
                .lines()
                .take_while(|line| !line.starts_with("function"));
            let line = before.count() as i32 + 1;
            let chunk = chunk(&text);
            // None where one stands in the other on their line.
            let within = chunk.on_lines(line, line).expect("a function");
            assert_eq!(within.is_none(), version.contains("return function"));
            let state = TestState::new();
            state.run(&format!("f = load([==[\n{text}]==])()"));
            let alone = state.view(|vm| {
                let f = TestState::global(vm, "f");
                let stripped = profile(
                    vm.dump(f, DebugInfo::Strip).expect("memory"),
                    &Secret::default(),
                )
                .expect("a dump");
                let whole = profile(
                    vm.dump(f, DebugInfo::Keep).expect("memory"),
                    &Secret::default(),
                )
                .expect("a dump");
                assert_eq!(
                    (stripped.digest, stripped.assigned),
                    (whole.digest, whole.assigned),
                    "debug information says nothing of the code"
                );
                assert!(!stripped.is_exactly(whole), "but of lines and names");
                stripped
            });
            assert!(within.is_none_or(|within| within == alone), "{text}");
            alone.digest
        });
        assert!(
            found.iter().all(|digest| *digest == found[0]),
            "{version}: {found:?}"
        );
        found[0]
    });
    let different: HashSet<Digest> = digests.into_iter().collect();
    // Names of upvalues are debug information: what differs in these alone is the same code.
    let same_but_for_names = 1;
    assert_eq!(
        different.len(),
        VERSIONS.len() - same_but_for_names,
        "{digests:?}"
    );
}

/// A function by itself has the profile that it has in its chunk, whatever its size.
#[test]
fn functions_have_one_profile_in_their_chunk_and_alone() {
    let mut text = String::from("local list, a, b = {}, 1, 2\n");
    for i in 0..200 {
        let many = (0..i)
            .map(|j| format!("a.f{j} = 'text {j}' b = {j}00000 "))
            .collect::<String>();
        writeln!(
            text,
            "list[{}] = function(x) local y = x {many} return function() a, y = y, b end end\n",
            i + 1
        )
        .expect("a string");
    }
    let text = text.replace("return function()", "return\nfunction()") + "return list";
    let chunk = chunk(&text);
    let state = TestState::new();
    state.run(&format!("list = load([==[{text}]==])()"));
    state.view(|vm| {
        let list = TestState::global(vm, "list");
        for i in 1..=200 {
            let function = vm.element(list, i).expect("memory");
            let info = vm.info(function).expect("memory").expect("a function");
            let alone = profile(
                vm.dump(function, DebugInfo::Strip).expect("memory"),
                &Secret::default(),
            );
            assert!(alone.is_some());
            assert_eq!(
                chunk.on_lines(info.line, info.last),
                Some(alone),
                "function {i}"
            );
            let packed = alone.map_or(0, Profile::pack);
            // A packed one tells the same of the upvalues; of the digest it has a part.
            let (kept, alone) = (
                Profile::unpack(packed).expect("it fits"),
                alone.expect("there"),
            );
            assert_eq!(kept.assigned, alone.assigned);
            assert_eq!(kept.digest.is_equal(alone.digest), None);
            assert!(!alone.is_same_code(Some(kept)));
            assert!(alone.is_same_code(Some(alone)));
        }
    });
}

/// What tells whether a function is the same to the letter: its lines and names, and those of what
/// stands in it, wherever the function is read.
#[test]
fn exactly_the_same_has_the_same_lines_and_names() {
    let exact = |text: &str| {
        let state = TestState::new();
        state.run(&format!("main = load([==[{text}]==]) f = main()"));
        state.view(|vm| {
            let [f, main] = ["f", "main"].map(|name| TestState::global(vm, name));
            let info = vm.info(f).expect("memory").expect("a function");
            let secret = Secret::default();
            let alone =
                profile(vm.dump(f, DebugInfo::Keep).expect("memory"), &secret).expect("a dump");
            vm.dump(main, DebugInfo::Keep).expect("memory");
            let chunk = Chunk::read(vm.take_dump(), &secret).expect("memory");
            let within = chunk.expect("a dump").on_lines(info.line, info.last);
            assert_eq!(within, Some(Some(alone)), "{text}");
            let stripped = vm.profile(f).expect("memory").expect("a dump");
            assert!(
                !stripped.is_exactly(stripped),
                "it is not known without lines"
            );
            alone
        })
    };
    let text =
        "local a = 1\nreturn function(x)\n\nlocal y = function() return a end\nreturn x, y end";
    let first = exact(text);
    assert!(first.is_exactly(exact(text)));
    assert!(first.is_exactly(exact(&text.replace("a = 1", "a = 2"))));
    for (from, to) in [
        ("local a = 1\n", "local a = 1\n\n"),
        ("\n\nlocal y", "\nlocal y"),
        ("function()", "function()\n"),
        ("x", "z"),
        ("return a end", "return b end"),
        ("return x, y", "return y, x"),
    ] {
        assert!(
            !first.is_exactly(exact(&text.replace(from, to))),
            "{from} -> {to}"
        );
    }
}

/// `Vm::dump` writes what Lua's own writer does, however its pieces fall on the buffer's end.
#[test]
fn dumps_are_what_lua_writes() {
    let names: String = (0..70)
        .map(|i| format!("t.{} = '{}' ", "n".repeat(i + 1), "s".repeat(i)))
        .collect();
    let text = format!(
        "{}local t = ... {names} return function() return t[12345678901], 1.5, t[2^60] end",
        "\n".repeat(300)
    );
    let state = TestState::new();
    state.run(&format!(
        "f = load([==[{text}]==], '@name') whole, stripped = string.dump(f), string.dump(f, true)"
    ));
    state.view(|vm| {
        let f = TestState::global(vm, "f");
        for (name, debug_info) in [("whole", DebugInfo::Keep), ("stripped", DebugInfo::Strip)] {
            let expected = TestState::global(vm, name);
            let expected = vm.bytes(expected).expect("memory").expect("a string");
            for room in (0..300).chain([expected.len() - 1, expected.len(), 1 << 16]) {
                drop(vm.take_dump());
                vm.reserve_dump(room).expect("memory");
                assert!(
                    vm.dump(f, debug_info).expect("memory") == expected,
                    "with room for {room} bytes"
                );
                assert!(
                    vm.dump(f, debug_info).expect("memory") == expected,
                    "once more"
                );
            }
        }
    });
}
