//! Pairs of versions: what goes on as what, and why.

// A test fails by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::AlignmentReason::{
    Kind as OtherKind, Likeness, Name, Renamed, Result as Returned, Sequence,
};
use super::*;
use crate::code::definitions::tests::read;
use crate::lua::testing::TestState;
use crate::lua::vm::DebugInfo;
use crate::support::secret::Secret;

/// Two versions and their alignment.
struct Versions {
    base: Definitions,
    incoming: Definitions,
    out: Alignment,
}

fn versions(base: &str, incoming: &str) -> Versions {
    told(base, incoming, &[])
}

fn told(base: &str, incoming: &str, renames: Renames<'_>) -> Versions {
    let (base, incoming) = (read(base), read(incoming));
    let out = align(&base, &incoming, renames, &StandingDefinitions::default()).expect("memory");
    if out.is_same || renames.is_empty() && incoming.is_numbered_as(&base).expect("memory") {
        let all = align_all(
            &base,
            &incoming,
            renames,
            &StandingDefinitions::default(),
            false,
        )
        .expect("memory");
        for (id, _) in base.iter() {
            assert!(all.incoming(id).is_none_or(|(other, _)| other == id));
        }
        for (id, _) in base.variables() {
            let known = all.incoming_variable(id);
            assert!(known.is_none() && out.is_same || known == out.incoming_variable(id));
        }
    }
    for (id, _) in base.iter() {
        if let Some((other, reason)) = out.incoming(id) {
            assert_eq!(out.base(other), Some((id, reason)), "both ways");
        }
    }
    Versions {
        base,
        incoming,
        out,
    }
}

/// The files of a machine need not be UTF-8.
fn shown(of: &Definitions, id: DefinitionId) -> String {
    String::from_utf8_lossy(&of.describe(id).expect("memory")).into_owned()
}

impl Versions {
    /// What the definition of the base on this line with this name has become: its line and why.
    #[track_caller]
    fn becomes(&self, name: &str, line: i32) -> Option<(i32, AlignmentReason)> {
        let mut found = self
            .base
            .iter()
            .filter(|(id, one)| shown(&self.base, *id) == name && (line == 0 || one.line == line));
        let (id, _) = found.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(found.next().is_none(), "several {name}");
        let (other, reason) = self.out.incoming(id)?;
        Some((self.incoming.get(other).expect("there").line, reason))
    }

    /// What a variable of the base has become.
    #[track_caller]
    fn variable(&self, name: &str) -> Option<(String, SameVariable)> {
        let text = self.base.find(name.as_bytes()).expect("a name");
        let (id, _) = self
            .base
            .variables()
            .find(|(_, one)| one.name == text)
            .expect("there");
        let (other, why) = self.out.incoming_variable(id)?;
        assert_eq!(self.out.base_variable(other), Some((id, why)), "both ways");
        let other = self.incoming.variable(other).expect("there");
        Some((
            String::from_utf8_lossy(self.incoming.text(other.name)).into_owned(),
            why,
        ))
    }
}

#[test]
fn equal_names_are_aligned_wherever_they_stand() {
    let v = versions(
        "local M = { sub = {} }
        local A, B = { n = 1 }, { n = 2 }
        function M.f() end
        function M.sub.g() end
        M.first, M.second = A, B
        return M",
        "local M = { sub = {} }
        function M.sub.g() return 2 end
        local B = { n = 2 }
        local A = { n = 1 }
        M.first, M.second = B, A
        function M.f() return 1 end
        return M",
    );
    let all = [
        ("M", 1),
        ("M.sub", 1),
        ("A", 4),
        ("B", 3),
        ("M.f", 6),
        ("M.sub.g", 2),
    ];
    for (name, line) in all {
        assert_eq!(v.becomes(name, 0), Some((line, Name)), "{name}");
    }
}

#[test]
fn what_is_below_follows_a_renamed_module() {
    let v = versions(
        "local M = {} function M.f() end
        M.sub = { deep = {} }
        return M",
        "local Module = {} function Module.f() return 2 end
        Module.sub = { deep = {} }
        return Module",
    );
    assert_eq!(v.becomes("M", 0), Some((1, Returned)));
    assert_eq!(v.becomes("M.f", 0), Some((1, Name)));
    assert_eq!(v.becomes("M.sub.deep", 0), Some((2, Name)));
    assert_eq!(v.variable("M"), None, "nothing captures it");
}

#[test]
fn elements_are_told_apart_by_strings_then_code_then_order() {
    let v = versions(
        "return { list = {
            { name = 'orc', hp = 1 },
            { name = 'elf', hp = 2 },
            { hp = 3 },
            { f = function() return 'f' end },
        } }",
        "return { list = {
            { name = 'new', hp = 2 },
            { name = 'elf', hp = 9 },
            { hp = 4 },
            { f = function() return 'f' end },
            { name = 'orc', hp = 7 },
        } }",
    );
    // (Lua gives a table the line of what stands before it.)
    for (line, other) in [(1, 5), (2, 2), (4, 4)] {
        let found = v.becomes("return.list[]", line);
        assert_eq!(found, Some((other, Sequence)), "line {line}");
    }
    // Between `elf` and the function both have one.
    assert_eq!(v.becomes("return.list[]", 3), Some((3, Sequence)));
    let v = versions(
        "return { list = {
            { hp = 10 },
            { hp = 20 } } }",
        "return { list = {
            { hp = 20 },
            { hp = 40 } } }",
    );
    assert_eq!(
        v.becomes("return.list[]", 1),
        Some((1, Sequence)),
        "numbers are no names"
    );
    let v = versions(
        "return { list = {
            { hp = 10 },
            { hp = 20 } } }",
        "return { list = {
            { hp = 5 },
            { hp = 10 },
            { hp = 20 } } }",
    );
    assert_eq!(
        v.becomes("return.list[]", 1),
        Some((2, Sequence)),
        "equal numbers tell what nothing else does"
    );
}

#[test]
fn calls_without_a_destination_are_aligned_by_what_they_say() {
    let v = versions(
        "local function on(event, f) end
        on('hit', function() return 1 end)
        on('die', function() return 2 end)",
        "local function on(event, f) end
        on('new', function() return 0 end)
        on('die', function() return 2 end)
        on('hit', function() return 3 end)",
    );
    assert_eq!(v.becomes("on(\"hit\")(2)", 0), Some((4, Name)));
    assert_eq!(v.becomes("on(\"die\")(2)", 0), Some((3, Name)));
}

#[test]
fn a_name_goes_on_as_another_kind_of_expression() {
    let v = versions(
        "local Dog = {}
        function Dog.new() end
        local M = { Dog = Dog }
        function M.f() return 1 end
        return M",
        "local function class(name) return {} end
        local Dog = class 'Dog'
        function Dog.new() return 2 end
        local M = { Dog = Dog }
        M.f = memo(function() return 2 end)
        return M",
    );
    assert_eq!(v.becomes("Dog", 0), Some((2, OtherKind)));
    assert_eq!(v.becomes("Dog.new", 0), Some((3, Name)));
    assert_eq!(v.becomes("M.f", 0), Some((5, OtherKind)));
}

#[test]
fn what_is_renamed_or_moved_is_found_by_likeness() {
    let body = "local total = 0 for i, item in ipairs(cart) do total = total + item.price * 2 end
        print('sum', total) return total end";
    let v = versions(
        &format!(
            "local M = {{}}\n function M.sum(cart) {body}\n
            function M.other() return 'o' end\n return M"
        ),
        &format!(
            "local M = {{}}\n function M.other() return 'o' end\n
            function M.total_of(cart) {body}\n return M"
        ),
    );
    assert_eq!(v.becomes("M.sum", 0), Some((5, Renamed)));
    let v = versions(
        &format!("local M = {{}} function M.sum(cart) {body} return M"),
        &format!("local M = {{}} function M.all(cart) print('all') {body} return M"),
    );
    assert_eq!(v.becomes("M.sum", 0), Some((2, Likeness)), "a guess");
    // A name that is used anew, for something unlike: the old one has moved.
    let v = versions(
        "local M = {}
        local Orc = { hp = 10, name = 'orc' }
        function Orc.run() return 'orc' end
        M.orc = Orc return M",
        "local M = {}
        local Troll = { hp = 10, name = 'troll' }
        function Troll.run() return 'troll' end
        M.troll = Troll
        local Orc = { hp = 12, name = 'orc' }
        function Orc.run() return 'orc2' end
        M.orc = Orc return M",
    );
    assert_eq!(
        v.becomes("Orc", 0),
        Some((5, Name)),
        "a copy is not the original"
    );
    assert_eq!(v.becomes("Orc.run", 0), Some((6, Name)));
    let v = versions(
        "local M = {} function M.a() return 'one' end return M",
        "local M = {} function M.b(x, y) for i = x, y do print(i, M) end end return M",
    );
    assert_eq!(v.becomes("M.a", 0), None, "gone, and another one new");
}

#[test]
fn many_that_are_alike_are_not_mixed_up() {
    let text = |prefix: &str| {
        let mut text = String::from("local M = {}\n");
        for i in 0..200 {
            text +=
                &format!("function M.{prefix}{i}() return 'text {i}', M.shared, 'common' end\n");
        }
        text + "return M"
    };
    let v = versions(&text("old_"), &text("new_"));
    let wrong = (0..200).filter(|i| v.becomes(&format!("M.old_{i}"), 0) != Some((i + 2, Renamed)));
    assert_eq!(wrong.count(), 0);
    assert_eq!(v.out.passed_over, 0);
}

#[test]
fn variables_go_by_owner_and_name() {
    let v = versions(
        "local hits, gone = 0, 1
        local function f()
            local inner = 0
            return function() inner = inner + 1 hits = hits + 1 return gone end
        end
        return f",
        "local function f() local inner = 5 return function() inner = inner + 2 end end
        local hits = 7
        local fresh = function() return hits end
        return f",
    );
    let name = |name: &str| Some((name.to_string(), SameVariable::Name));
    assert_eq!(v.variable("hits"), name("hits"));
    assert_eq!(v.variable("inner"), name("inner"));
    assert_eq!(v.variable("gone"), None);
}

#[test]
fn a_variable_goes_on_under_a_new_name() {
    let before = "local players, hits = {}, 0
        local M = {}
        function M.join(n) players[#players + 1] = n return #players end
        function M.hit() hits = hits + 1 return hits end
        return M";
    let renamed = Some(("roster".to_string(), SameVariable::Renamed));
    let v = versions(before, &before.replace("players", "roster"));
    assert_eq!(v.variable("players"), renamed);
    assert_eq!(v.becomes("players", 0), Some((1, Renamed)));
    let v = versions(
        before,
        &before.replace("players", "roster").replace("hits", "count"),
    );
    assert_eq!(v.variable("players"), renamed);
    // Another initialiser, other code, or an old name that is still there: it is another one.
    let other = before
        .replace("players", "roster")
        .replace("{}, 0", "{ 1, x = 2 }, 0");
    assert_eq!(versions(before, &other).variable("players"), None);
    let other = before
        .replace("players", "roster")
        .replace("= n return", "= { n } return");
    assert_eq!(versions(before, &other).variable("players"), None);
    let v = told(before, &other, &[(b"players", b"roster")]);
    assert_eq!(
        v.variable("players"),
        Some(("roster".to_string(), SameVariable::Name))
    );
    assert_eq!(v.becomes("players", 0), Some((1, Name)));
}

/// The Lua files below a folder.
fn files(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "lua") {
            found.push(path);
        }
    }
}

/// The library's own files, its specs, and the Lua packages of the machine.
#[test]
fn an_unchanged_file_is_all_of_itself() {
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["lua", "spec", "demo"] {
        files(&own.join(folder), &mut found);
    }
    files(std::path::Path::new("/usr/share/lua"), &mut found);
    let state = TestState::new();
    let (mut read, mut definitions) = (0, 0);
    for path in found {
        let text = std::fs::read(&path).expect("a file");
        let dump = state.view(|vm| {
            let main = vm.load_text(&text, c"@m.lua").ok()?;
            Some(vm.dump(main, DebugInfo::Keep).expect("memory").to_vec())
        });
        let Some(dump) = dump else {
            continue; // another version of Lua, or a file that is wrong on purpose
        };
        let of = |dump| Definitions::read(dump, &Secret::default(), None).expect("memory");
        let base = of(dump.clone()).expect("a dump");
        let incoming = of(dump).expect("a dump");
        let out = align(&base, &incoming, &[], &StandingDefinitions::default()).expect("memory");
        for (id, one) in base.iter() {
            let found = out.incoming(id).map(|(other, _)| other);
            let name = shown(&base, id);
            // Of several that are quite the same each may be left alone, and is never another one.
            assert!(
                found.is_none_or(|found| found == id),
                "{path:?}: {name} is another one"
            );
            let is_alone = !one.key.is_sequence() && one.place.is_some() && one.proto == 0;
            definitions += usize::from(found.is_some());
            assert!(
                found.is_some() || !is_alone,
                "{path:?}: {name}, line {}",
                one.line
            );
        }
        for (id, variable) in base.variables().filter(|(_, one)| !one.is_hidden()) {
            let found = out.incoming_variable(id).map(|(other, _)| other);
            let name = String::from_utf8_lossy(base.text(variable.name));
            let is_owned = variable.proto == 0;
            assert!(
                found == Some(id) || !is_owned && found.is_none(),
                "{path:?}: {name}"
            );
        }
        read += 1;
    }
    assert!(
        read > 100 && definitions > 2000,
        "{read} files, {definitions} definitions"
    );
}

/// What broke an earlier matcher.
#[test]
fn edits_that_were_taken_for_others() {
    // Names swapped: each is what its name says.
    let v = versions(
        "local M = {}
        function M.a() return 'one' end
        function M.b() return 2, 'two', M end
        return M",
        "local M = {}
        function M.b() return 'one' end
        function M.a() return 2, 'two', M end
        return M",
    );
    assert_eq!(v.becomes("M.a", 0), Some((3, Name)));
    assert_eq!(v.becomes("M.b", 0), Some((2, Name)));
    // The chunk returns another one of its objects: both go on.
    let v = versions(
        "local C = {} function C.new() end
        local M = { C = C } function M.f() end
        return M",
        "local C = {} function C.new() end
        local M = { C = C } function M.f() end
        return C",
    );
    assert_eq!(v.becomes("C", 0), Some((1, Name)));
    assert_eq!(v.becomes("M", 0), Some((2, Name)));
    // A name is given to a new table that is unlike, and the old one gets another name.
    let v = versions(
        "local M = {} function M.a() return 'a' end function M.b() return 'b' end
        return M",
        "local M = {} function M.a() return 'a2' end M.b = M.a
        return M",
    );
    assert_eq!(v.becomes("M.a", 0), Some((1, Name)));
    assert_eq!(v.becomes("M.b", 0), None, "an alias is no definition");
    // Registrations, one inserted; a constructor split into appends.
    let v = versions(
        "local M = { cards = {} } local function card(name, t) M.cards[name] = t end
        card('fire', { cost = 1, run = function() return 'fire' end })
        card('ice', { cost = 1, run = function() return 'ice' end })",
        "local M = { cards = {} } local function card(name, t) M.cards[name] = t end
        card('wind', { cost = 1, run = function() return 'wind' end })
        card('fire', { cost = 1, run = function() return 'fire2' end })
        card('ice', { cost = 1, run = function() return 'ice2' end })",
    );
    assert_eq!(v.becomes("card(\"fire\")(2).run", 0), Some((3, Name)));
    assert_eq!(v.becomes("card(\"ice\")(2)", 0), Some((4, Name)));
    let v = versions(
        "local M = {} local list = { function() return 'a' end,
        function() return 'b' end } M.list = list",
        "local M = {} local list = {}
        list[#list + 1] = function() return 'a2' end
        list[#list + 1] = function() return 'b2' end M.list = list",
    );
    assert_eq!(v.becomes("list[]", 1), Some((2, Sequence)));
    assert_eq!(v.becomes("list[]", 2), Some((3, Sequence)));
    // Two of one name, and one of them is changed.
    let v = versions(
        "do local x = { f = function() return 1 end } A = x end
        do local x = { f = function() return 2 end } B = x end",
        "do local x = { f = function() return 1 end } A = x end
        do local x = { f = function() return 3 end } B = x end",
    );
    assert_eq!(v.becomes("x", 1), Some((1, Sequence)));
    assert_eq!(v.becomes("x", 2), Some((2, Sequence)));
    // What a loop makes is one definition.
    let v = versions(
        "local M = { u = {} } for n, hp in pairs { red = 1 } do
        M.u[n] = { hp = hp, who = function() return n end } end",
        "local M = { u = {} } for n, hp in pairs { red = 2 } do
        M.u[n] = { hp = hp, who = function() return n .. '2' end } end",
    );
    assert_eq!(v.becomes("M.u[?]", 0), Some((2, Sequence)));
    assert_eq!(v.becomes("M.u[?].who", 0), Some((2, Name)));
}

#[test]
fn an_edit_of_code_and_constants_changes_no_number() {
    const BEFORE: &str = "local M = {}
        local total = 0
        function M.add(n) total = total + n; M.last = { n = n } end
        M.on = { hit = function() return 1 end }
        M.list = { function() return 1 end, function() return 2 end }
        M.rows = { { 'a', 1 }, { 'b', 2 } }
        return M";
    let becomes = |from: &str, to: &str| {
        let edited = BEFORE.replacen(from, to, 1);
        assert_ne!(edited, BEFORE);
        versions(BEFORE, &edited).out.is_same
    };
    assert!(versions(BEFORE, BEFORE).out.is_same);
    assert!(becomes("total + n", "total - n"));
    assert!(becomes("total + n", "total .. 'new'"), "a text");
    assert!(becomes("return 1", "return 3"));
    assert!(becomes("total + n;", "total + n\n"), "lines");
    assert!(becomes("total = 0", "total = 1"));
    // A list's elements are told apart by what they are, and the rest by what is there.
    assert!(!becomes("{ function() return 1", "{ function() return 3"));
    let swapped = "return 2 end, function() return 1";
    assert!(!becomes("return 1 end, function() return 2", swapped));
    assert!(!becomes("'a'", "'c'"));
    assert!(!becomes(
        "M.last = { n = n }",
        "M.last = { n = n }; M.first = {}"
    ));
    assert!(!becomes("local total = 0", "local count, total = 0, 0"));
    assert!(!becomes("M.add", "M.sum"));
}
