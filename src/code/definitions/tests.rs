//! Definitions of real texts.

// A test fails by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::lua::testing::TestState;
use crate::lua::vm::DebugInfo;

/// What a text defines.
pub(in crate::code) fn read(text: &str) -> Definitions {
    Definitions::read(dump(text), &Secret::default(), None)
        .expect("memory")
        .expect("a dump")
}

fn dump(text: &str) -> Vec<u8> {
    TestState::new().view(|vm| {
        let main = vm.load_text(text.as_bytes(), c"@m.lua").expect("compiles");
        vm.dump(main, DebugInfo::Keep).expect("memory").to_vec()
    })
}

fn shown(definitions: &Definitions, id: DefinitionId) -> String {
    String::from_utf8(definitions.describe(id).expect("memory")).expect("text")
}

/// The names of the definitions that the main function makes, or all; each with a letter for its
/// kind.
fn names(definitions: &Definitions) -> Vec<String> {
    let all = definitions
        .iter()
        .filter(|(_, one)| one.key != DefinitionKey::Nowhere);
    let name = |(id, one): (DefinitionId, &Definition)| {
        let kind = match one.kind {
            ExpressionKind::Table => 't',
            ExpressionKind::Function(_) => 'f',
            ExpressionKind::Call(_) => 'c',
        };
        format!("{kind} {}", shown(definitions, id))
    };
    all.map(name).collect()
}

#[test]
fn the_first_destination_gives_the_name() {
    let definitions = read(
        "local M = { states = {} }
        local Idle = {}
        M.states.idle = Idle
        M.first = Idle
        function M.run() end
        local function helper() end
        M.help = helper
        Counter = class 'Counter'
        M.dog = setmetatable({}, { __index = {} })
        return M",
    );
    assert_eq!(
        names(&definitions),
        [
            "t M",
            "t M.states",
            "t Idle",
            "f M.run",
            "f helper",
            "c Counter",
            "t M.dog",
            "t M.dog:metatable",
            "t M.dog:metatable.__index"
        ]
    );
}

fn variable(definitions: &Definitions, name: &str) -> VariableId {
    let text = definitions.find(name.as_bytes()).expect("a name");
    let mut found = definitions.variables().filter(|(_, one)| one.name == text);
    found.next().expect("a variable").0
}

#[test]
fn no_reference_changes_a_name() {
    let definitions = read(
        "local M = {}
        local A, B = {}, {}
        M.current, M.other = B, A
        M.copy = M.current
        function M.hold() M.held = A return A end
        M.self = M
        return A",
    );
    assert_eq!(names(&definitions), ["t M", "t A", "t B", "f M.hold"]);
    let m = DefinitionId(0);
    let places = definitions.stores_into(m).filter(|(store, _)| {
        definitions
            .iter()
            .any(|(id, _)| definitions.is_place(id, *store))
    });
    let lines: Vec<i32> = places.map(|(_, store)| store.line).collect();
    assert_eq!(lines, [5], "only the function stands at its own place");
}

#[test]
fn what_has_no_destination_is_named_by_its_call() {
    let definitions = read(
        "local function on(event, handler) end
        on('hit', function() end)
        on('die', 5, { on_die = function() end })
        game.events:subscribe('tick', function() end)
        table.sort({ 3, 1 }, function(a, b) return a > b end)
        print(on)",
    );
    assert_eq!(
        names(&definitions),
        [
            "f on",
            "f on(\"hit\")(2)",
            "c on(\"hit\")",
            "t on(\"die\")(3)",
            "f on(\"die\")(3).on_die",
            "c on(\"die\")",
            "f game.events.subscribe(\"tick\")(3)",
            "c game.events.subscribe(\"tick\")",
            "t table.sort()(1)",
            "f table.sort()(2)",
            "c table.sort()",
        ]
    );
}

#[test]
fn elements_of_lists_have_no_names() {
    let definitions = read(
        "local list = { {}, function() end, [7] = {}, [8.0] = {}, name = {} }
        list[#list + 1] = {}
        table.insert(list, {})
        table.insert(list, 1, {})
        list[9] = {}
        for i = 1, 3 do list[i] = {} end
        local other = {}
        other[#list + 1] = {}",
    );
    let all = names(&definitions);
    let count = |name: &str| all.iter().filter(|one| &one[2..] == name).count();
    assert_eq!(
        (count("list[]"), count("list[?]"), count("list.name")),
        (8, 1, 1),
        "{all:?}"
    );
    assert_eq!(count("other[?]"), 1, "{all:?}");
    // No list has these keys.
    let definitions = read("local keyed = { [true] = {}, [false] = {}, [1.5] = {}, [0] = {} }");
    let all = names(&definitions);
    let keys: Vec<_> = definitions.iter().map(|(_, one)| one.key).collect();
    for (i, key) in keys.iter().enumerate() {
        assert!(!key.is_sequence() && !keys[..i].contains(key), "{all:?}");
    }
}

#[test]
fn what_a_loop_makes_is_one_definition() {
    let definitions = read("local list = {} for i = 1, 3 do list[i] = {} end list[4] = {}");
    let loops = definitions.iter().filter(|(_, one)| one.in_loop);
    assert_eq!(loops.count(), 1);
}

#[test]
fn branches_meet() {
    let definitions = read(
        "local M = {}
        M.cache = M.cache or {}
        CACHE = CACHE or { n = 0 }
        local impl
        if jit then impl = { fast = true } elseif utf8 then impl = {} else impl = nil end
        M.impl = impl
        local chosen = M and {} or make()
        return M",
    );
    assert_eq!(
        names(&definitions),
        [
            "t M",
            "t M.cache",
            "t CACHE",
            "t impl",
            "t impl",
            "t chosen",
            "c chosen"
        ]
    );
    let (_, store) = definitions
        .stores_into(DefinitionId(0))
        .nth(1)
        .expect("impl");
    let meant = definitions.resolve(store.value).expect("memory");
    assert_eq!(meant.definitions.len(), 2);
    assert!(!meant.is_open, "nil is no object");
}

#[test]
fn symbols_are_followed_through_variables_fields_and_globals() {
    let definitions = read(
        "local M = { states = { idle = {} } }
        Shared = {}
        local function get() local _ = {} return M.states.idle end
        local cyclic
        local function turn() cyclic = cyclic.next or cyclic end
        return get",
    );
    let idle = definitions
        .iter()
        .find(|(id, _)| shown(&definitions, *id) == "M.states.idle");
    let (get, _) = definitions
        .iter()
        .find(|(id, _)| shown(&definitions, *id) == "get")
        .expect("get");
    let ExpressionKind::Function(proto) = definitions.get(get).expect("get").kind else {
        panic!("no function");
    };
    let (_, result) = definitions.results(proto).next().expect("a result");
    let meant = definitions.resolve(result.value).expect("memory");
    assert_eq!(meant.definitions.as_slice(), [idle.expect("there").0]);
    assert!(!meant.is_open);
    let (_, result) = definitions.results(0).next().expect("a result");
    assert_eq!(result.value, Symbol::Definition(get));
    let cyclic = Symbol::Variable(variable(&definitions, "cyclic"));
    let meant = definitions.resolve(cyclic).expect("memory");
    assert!(meant.definitions.is_empty() && meant.is_open);
}

#[test]
fn variables_are_found_through_all_functions() {
    let definitions = read(
        "local count, limit, name = 0, 60
        local function outer(x)
            local own = x
            return function()
                return function() count = count + 1 own = own + x return limit, print end
            end
        end
        local function other() name = 'x' end",
    );
    let innermost = definitions.protos() - 2;
    let name = |index| {
        let id = definitions.upvalue(innermost, index)?;
        let variable = definitions.variable(id)?;
        Some((
            definitions.text(variable.name),
            variable.proto,
            variable.assignments,
        ))
    };
    let found: Vec<_> = (0..6).map(name).collect();
    assert_eq!(
        found,
        [
            Some((&b"count"[..], 0, 1)),
            Some((b"own", 1, 1)),
            Some((b"x", 1, 0)),
            Some((b"limit", 0, 0)),
            None, // _ENV
            None,
        ]
    );
    assert_eq!(
        definitions
            .variable(variable(&definitions, "name"))
            .expect("name")
            .assignments,
        1
    );
}

#[test]
fn constants_are_what_nobody_assigns_and_nothing_computes() {
    let definitions = read(
        "local RATE, dep = 20, require 'dep'
        local tick = RATE * 60
        local label = 'x' .. dep.name
        local large = tick > 5
        local started = os.time()
        local hits = 0
        local floor = math.floor
        local t = {}
        local env = HOME
        local none
        local size = #t
        local function f(dmg, hp)
            local double = dmg * 2
            hits = hits + 1 hp = hp - 1
            return function()
                local inner = RATE + double
                local bad = hits + 1
                return function() return inner, bad, dmg, hp, double end
            end
        end
        for i = 1, 3 do local scaled = i * RATE F = function() return scaled, i end end
        function G() return RATE, tick, label, large, started, floor, t, env, none, size end",
    );
    let is = |name: &&str| definitions.is_constant(variable(&definitions, name));
    let constants = [
        "RATE", "dep", "tick", "label", "large", "none", "dmg", "double", "inner", "scaled", "i",
    ];
    let others = [
        "started", "hits", "floor", "t", "env", "size", "f", "hp", "bad",
    ];
    assert_eq!(
        constants
            .iter()
            .copied()
            .filter(|name| !is(name))
            .collect::<Vec<_>>(),
        [""; 0]
    );
    assert_eq!(
        others
            .iter()
            .copied()
            .filter(|name| is(name))
            .collect::<Vec<_>>(),
        [""; 0]
    );
}

#[test]
fn what_a_loop_or_a_closure_does_to_a_local_is_not_forgotten() {
    let definitions = read(
        "local M, current, last = {}, {}, {}
        local function set() current = {} end
        M.current = current
        while M do M.last = last last = {} end",
    );
    let several = |store: &Store| {
        definitions
            .resolve(store.value)
            .expect("memory")
            .definitions
            .len()
    };
    let counts: Vec<_> = definitions
        .stores_into(DefinitionId(0))
        .map(|(_, store)| several(store))
        .collect();
    assert_eq!(counts, [2, 2]);
}

#[test]
fn a_closure_finds_its_prototype() {
    let text = "local a, b = function() return 1 end, function() return 2 end
        return { function(x) return x end }";
    let state = TestState::new();
    let dump = state.view(|vm| {
        let main = vm.load_text(text.as_bytes(), c"@m.lua").expect("compiles");
        vm.dump(main, DebugInfo::Keep).expect("memory").to_vec()
    });
    let secret = Secret::default();
    let tree = super::super::tree::Tree::read(dump.clone(), &secret)
        .expect("memory")
        .expect("tree");
    let chunk = super::super::Chunk::read(dump.clone(), &secret)
        .expect("memory")
        .expect("chunk");
    let definitions = Definitions::read(dump, &secret, None)
        .expect("memory")
        .expect("a dump");
    assert_eq!(definitions.protos(), tree.len());
    for id in 0..tree.len() {
        let (proto, other) = (
            definitions.proto(id).expect("proto"),
            tree.get(id).expect("there"),
        );
        assert_eq!(
            (proto.parent, proto.line, proto.last),
            (other.parent, other.line, other.last)
        );
        if let Some(Some(profile)) = chunk.on_lines(proto.line, proto.last) {
            assert_eq!(profile.digest, proto.digest);
        }
        let lines = (proto.line, proto.last);
        assert_eq!(definitions.proto_of(lines, || Some(proto.digest)), Some(id));
    }
    assert_eq!(
        definitions.proto_of((1, 1), || None),
        None,
        "two stand there"
    );
    assert_eq!(definitions.proto_of((2, 2), || None), Some(3));
}

#[test]
fn a_stripped_dump_has_definitions_and_no_variable() {
    let dump = TestState::new().view(|vm| {
        let main = vm.load_text(b"local M = {} function M.f() end return M", c"@m.lua");
        vm.dump(main.expect("compiles"), DebugInfo::Strip)
            .expect("memory")
            .to_vec()
    });
    let definitions = Definitions::read(dump, &Secret::default(), None)
        .expect("memory")
        .expect("read");
    assert_eq!(definitions.variables().count(), 0);
    assert_eq!(names(&definitions), ["t return", "f return.f"]);
}

#[test]
fn of_an_edit_of_constants_one_function_is_read_again() {
    let text = "local M, floor = { log = {} }, math.floor
        function M.plain(x) return floor(x) + 10 end
        function M.hit(self, damage)
          self.life = self.life - floor(damage * 3)
          self.last = self.say('hit', 7, true)
          return 'done'
        end
        function M.other() M.log = { 'more', M.hit } end
        return M";
    // In a version whose functions are all taken over, the edited one is as well.
    let is_read_again = |from: &str, to: &str| {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text);
        Definitions::taken_over(&dump(text), &dump(&edited)) == 3
    };
    assert!(is_read_again("+ 10", "+ 11"));
    assert!(is_read_again("damage * 3", "damage * 2.5"));
    assert!(is_read_again("'done'", "'well done'"));
    assert!(is_read_again("7, true", "8, true"));
    assert!(is_read_again("self.life =", "self.score ="));
    assert!(is_read_again("self.say", "self.tell"));
    assert!(is_read_again("return 'done'", "return\n'well done'"));
    for (from, to) in [
        ("'hit', 7", "'struck', 7"),
        ("7, true", "7, false"),
        ("'done'", "'more'"),
        ("'done'", "{}"),
        ("(self, damage)", "(self, amount, damage)"),
        ("floor(damage", "(damage"),
        ("{ 'more', M.hit }", "{ function() end }"),
    ] {
        assert!(!is_read_again(from, to), "{from} became {to}");
    }
}

#[test]
fn where_texts_have_others_in_their_place_all_is_taken_over() {
    let text = "local M, limit, floor = { log = 'x' }, 100000, math.floor
        local spare = 1
        function M.strike(self) return floor(self.life), 'hit' end
        function M.say(self) local word = 'hit' return self:tell(word, limit), M.log end
        register('start', {})
        M.kinds = { 'a', 'b', require('many') }
        return M";
    let is_taken_over = |text: &str, from: &str, to: &str| {
        let edited = text.replace(from, to);
        assert_ne!(edited, text);
        Definitions::taken_over(&dump(text), &dump(&edited));
        let base = Definitions::read(dump(text), &Secret::default(), None);
        let mut base = base.expect("memory").expect("a dump");
        base.share().expect("memory");
        let same = Definitions::of_same_code(&base, None, &dump(&edited));
        same.expect("memory").is_some()
    };
    for (from, to) in [
        ("spare", "another"),
        ("limit", "most"),
        ("word", "a_word"),
        (
            "'x'",
            "'something longer than forty characters, so that it is a long one'",
        ),
        ("'hit'", "'struck'"),
        ("log", "entries"),
        ("'a'", "'c'"),
        ("100000", "100001"),
        ("'many'", "'several'"),
        ("M.kinds = { 'a'", "\nM.sorts = {\n 'b4'"),
    ] {
        assert!(is_taken_over(text, from, to), "{from} became {to}");
    }
    // Elsewhere it is still there; it was there before; two have become one; a name has a digest
    // of it; the interpreter knows it.
    for (from, to) in [
        (
            "return floor(self.life), 'hit'",
            "return floor(self.life), 'struck'",
        ),
        ("'x'", "'hit'"),
        ("'a', 'b'", "'b', 'a'"),
        ("'a', 'b'", "'c', 'c'"),
        ("'start'", "'stop'"),
        ("'x'", "'setmetatable'"),
        ("require", "import"),
    ] {
        assert!(!is_taken_over(text, from, to), "{from} became {to}");
    }
    // Operators make a digest of it.
    let text = text.replace("spare = 1", "spare = limit .. 'x'");
    assert!(!is_taken_over(&text, "'a'", "'c'"));
    assert!(!is_taken_over(&text, "limit", "most"));
    assert!(is_taken_over(&text, "word", "a_word"));
}
