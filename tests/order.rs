//! R3.4: the outcome never depends on the order in which a table is traversed, on the hash seed of
//! the state, or on addresses.
//!
//! The same reload in many states: their seeds differ, their blocks lie in other orders, and their
//! tables were filled in other orders and are of other sizes. What the program is afterwards, and
//! the report, must be the same text.

// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use support::memory::{next, scramble};
use support::{Memory, Program, pick};

/// How many seeds each test tries.
fn seeds() -> u64 {
    pick(40, 200, 200)
}

/// The statements of the first version, in an order that does not matter.
const FIRST: [&str; 22] = [
    "function M.count() n = n + 1 return n end",
    "function M.peek() return n, list, map end",
    "do local n = 100 function M.other() n = n + 1 return n end end",
    "do local n = 200 function M.third() n = n + 1 return n end end",
    "local function both() return n end M.x, M.y = both, both",
    "do local state = { 'state' } function M.old_name() return state end end",
    "do local helper = function() return map end function M.helped() return helper() end end",
    "M.t1, M.t2 = { a = { v = 1 }, f = function() end }, { a = { v = 2 }, f = function() end }",
    "do local t = { v = 3, f = function() end } M.t3, M.t4 = t, t end",
    "M.Class = { get = function(self) return self.v end } M.Class.__index = M.Class",
    "M.object = setmetatable({ v = 1 }, M.Class)",
    "M.handlers = { on = function() return 'on' end, off = function() return 'off' end }",
    "M.via_function = { [M.handlers.on] = 'on' }",
    "M.sparse = { [100] = function() return 100 end, [7] = function() return 7 end, \
     [2.5] = function() return 2.5 end }",
    "M.globals = _G",
    "M.loaded = package.loaded",
    "Player = Player or {} function Player:name() return n end function Player.make() return M end",
    "Shared = Shared or { list = {}, map = {} } Shared.map.m = M.count",
    "M.a1 = function() return M.a2 end",
    "M.a2 = function() return M.a1 end",
    "M.kind = function() end M.kind2 = function() end M.kind3 = { f = function() end }",
    "M.gone1, M.gone2, M.gone3 = function() end, function() return n end, { f = function() end }",
];

const SECOND: &str = "
    local M, n, list, map, extra = {}, 0, {}, {}, { 'extra' }
    function M.count() n = n + 10 return n, extra end
    function M.peek() return n, list, map, extra end
    do local n = 100 function M.other() n = n + 10 return n end end
    do local n = 200 function M.third() n = n + 10 return n end end
    function M.x() return n, 'x' end
    function M.y() return n, 'y' end
    do local state = { 'new' } function M.new_name() return state end end
    do local helper = function() return map, 'v2' end function M.helped() return helper() end \
    function M.more() return helper end end
    do local t = { a = { v = 9, w = {} }, f = function() return 'one' end } M.t1, M.t2 = t, t end
    M.t3, M.t4 = { v = 4, f = function() return 3 end }, { v = 5, f = function() return 4 end, \
    more = {} }
    M.Class = { get = function(self) return self.v, 'v2' end, set = function() end } \
    M.Class.__index = M.Class
    M.Sub = setmetatable({ get2 = function() end }, M.Class)
    M.object = setmetatable({ v = 2, w = {} }, M.Class)
    M.handlers = { on = function() return 'on2' end, off = function() return 'off2' end, \
    new = function() end }
    M.via_function = { [M.handlers.on] = 'on', [M.handlers.off] = 'off', [M.handlers.new] = { \
    'new' }, [M.Class] = 'class', [{ 1 }] = 'table' }
    M.sparse = { [100] = function() return 'c' end, [7] = function() return '7' end, \
    [2.5] = function() return '2.5' end, [50] = function() end }
    M.globals, M.loaded = _G, package.loaded
    M.self, M.list = M, { M, M.handlers, M.t1, { M.x, M.y } }
    Player = Player or {}
    function Player:name() return n, 'v2' end
    function Player.make() return M end
    function Player.new() return Player end
    Shared = Shared or { list = {}, map = {} }
    Shared.map.m, Shared.map.x, Shared.map.self = M.count, M.x, M
    Shared.list[#Shared.list + 1] = M.count
    Shared.list[#Shared.list + 1] = M.more
    New1, New2, New3 = { M.x }, function() return M end, setmetatable({}, { __index = M })
    M.a1, M.a2 = function() return M.a2, 1 end, function() return M.a1, 2 end
    KINDS
    return M";

/// What the program is when the reload comes.
fn begin(seed: u64) -> Program {
    let program = Program::with(Memory::scattered(seed));
    let mut statements: Vec<&str> = FIRST.to_vec();
    // The order of what builds on other statements stays.
    let mut state = scramble(seed);
    for i in (1..statements.len()).rev() {
        state = next(state);
        let j = (state % (i as u64 + 1)) as usize;
        statements.swap(i, j);
    }
    for (first, second) in [
        ("M.Class", "M.object"),
        ("M.handlers", "M.via_function"),
        ("function M.count", "Shared"),
    ] {
        let place = |start: &str| statements.iter().position(|text| text.starts_with(start));
        if let (Some(i), Some(j)) = (place(first), place(second))
            && i > j
        {
            statements.swap(i, j);
        }
    }
    let body = statements.join(" ");
    program.write(
        "m",
        format!("local M, n, list, map = {{}}, 0, {{}}, {{}} {body} return M"),
    );
    program.must(&format!(
        "local test = ...
        math.randomseed({seed})
        local function shake(t)
            local fillers = math.random(0, 70)
            for i = 1, fillers do t['filler' .. i] = true end
            for i = 1, fillers do t['filler' .. i] = nil end
            local keys, values = {{}}, {{}}
            for key, value in next, t do
                if type(value) ~= 'table' or value ~= package.loaded then keys[#keys + 1], \
                values[key] = key, value end
            end
            if t == _G or t == package.loaded then return end
            for i = #keys, 2, -1 do
                local j = math.random(i)
                keys[i], keys[j] = keys[j], keys[i]
            end
            for _, key in ipairs(keys) do t[key] = nil end
            for _, key in ipairs(keys) do t[key] = values[key] end
        end
        m = require 'm'
        m.own1, m.own2, m.own_f = {{ 1 }}, 'data', m.count
        m.sparse[50] = nil
        Player.data, Shared.map.data = {{}}, 1
        local _, list, map = m.peek()
        list[1], map.x, map.f = 'row', m, m.other
        kept = {{ m.count, m.other, m.third, m.x, m.old_name, m.helped, m.handlers.on, m.t1.f, \
        m.gone2 }}
        for _, t in ipairs {{ m, m.handlers, m.t1, m.t2, m.t3, m.sparse, m.via_function, m.Class, \
        Player, Shared, Shared.map, _G,
                package.loaded, map }} do
            shake(t)
        end"
    ));
    program
}

/// What `gg.reload` with these options makes of the program, as a text.
fn outcome(seed: u64, kinds: &str, options: &str) -> String {
    let program = begin(seed);
    program.write("m", SECOND.replace("KINDS", kinds));
    let text = program.must(&format!(
        "local test = ...
        local done, report, conflicts = gg.reload('m', {options})
        local said = tostring(report):gsub(', [%d.]+ ms', '')
        local lines = {{ tostring(done), said, tostring(conflicts) }}
        kept = {{ table.unpack(kept) }}
        lines[#lines + 1] = test.describe(m, kept, Player, Shared, _G)
        for _, call in ipairs {{ 'count', 'other', 'third', 'x', 'y', 'peek', 'helped' }} do
            lines[#lines + 1] = call .. ': ' .. test.describe(m[call]())
        end
        for i = 1, 4 do lines[#lines + 1] = 'kept ' .. i .. ': ' .. test.describe(kept[i]()) end
        return table.concat(lines, '\\n')"
    ));
    text.replace(&*program.folder.path().to_string_lossy(), "")
}

#[track_caller]
fn always_the_same(kinds: &str, options: &str) {
    let first = outcome(1, kinds, options);
    for seed in 2..=seeds() {
        let other = outcome(seed, kinds, options);
        if other != first {
            let differing: Vec<String> = first
                .lines()
                .zip(other.lines())
                .filter(|(a, b)| a != b)
                .take(8)
                .map(|(a, b)| format!("- {a}\n+ {b}"))
                .collect();
            panic!("seed {seed}, {options}:\n{}", differing.join("\n"));
        }
    }
}

#[test]
fn of_a_reload() {
    always_the_same("", "{ report = 'full' }");
}

#[test]
fn of_a_reload_that_replaces_data() {
    always_the_same("", "{ report = 'full', data = 'replace' }");
}

#[test]
fn of_conflicts() {
    always_the_same("M.kind, M.kind2, M.kind3 = 1, {}, { f = 'text' }", "nil");
}

#[test]
fn of_replaced_conflicts() {
    always_the_same(
        "M.kind, M.kind2, M.kind3 = 1, {}, { f = 'text' }",
        "{ report = 'full', on_conflict = 'replace' }",
    );
}

#[test]
fn of_a_dry_run() {
    always_the_same("", "{ dry_run = true }");
}
