//! Each dump that was spliced is, byte by byte, that of the whole text; where it was not, nothing
//! was: on generated programs, and on every Lua file that is installed.
//!
//! `HOTRELOAD_CASES` sets how many edits of programs are tried, `HOTRELOAD_SEED` chooses others.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../../../tests/support/effort.rs"]
mod effort;

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use effort::pick;

use super::Spliced;
use crate::code::Chunk;
use crate::code::compiled::Compiled;
use crate::code::definitions::Definitions;
use crate::code::pieces::Pieces;
use crate::code::splice::{AboutMain, Main, Piece, difference_in_meaning};
use crate::code::stubs::Stubs;
use crate::code::text::{Difference, all_functions, counts_lines};
use crate::lua::dump::DebugInfo;
use crate::lua::given::GivenText;
use crate::lua::testing::TestState;
use crate::lua::vm::Vm;
use crate::support::secret::Secret;

fn number(variable: &str, default: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// A generator of numbers, the same for a seed.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let seed = number("HOTRELOAD_SEED", 1);
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }

    fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

const NAMES: [&str; 12] = [
    "M", "a", "b", "count", "list", "print", "string", "f", "g", "self", "_ENV", "x",
];

/// A program, with functions in all places where one can stand.
struct Program<'r> {
    random: &'r mut Random,
    out: String,
    depth: usize,
}

impl Program<'_> {
    fn name(&mut self) -> &'static str {
        // (An `_ENV` of the program's own is rare, and makes the most of the rest useless.)
        match self.random.below(60) {
            0 => "_ENV",
            _ => self.random.of(&NAMES[..10]),
        }
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        let end = match self.random.below(12) {
            0 => " ",
            1 => "\n\n",
            2 => " -- a 'comment\n",
            3 => " --[[ function ]]\n",
            _ => "\n",
        };
        self.out.push_str(end);
    }

    fn expression(&mut self) -> String {
        let random = self.random.below(16);
        let name = self.name();
        match random {
            0 => self.random.below(300).to_string(),
            1 => format!("{}.5", self.random.below(5)),
            2 => format!("'text {}'", self.random.below(8)),
            3 => format!("{name} + {}", self.random.below(4)),
            4 => format!("{name}.{}", self.name()),
            5 => format!("{name} .. \"end \\\" {}\"", self.random.below(3)),
            6 => "nil".into(),
            7 => "[[long\nfunction]]".into(),
            8 => format!("{name}({}, {})", self.name(), self.random.below(9)),
            9 => format!("{{ {name}, {} = {} }}", self.name(), self.random.below(9)),
            10 => format!("{name} * 0x{:x}p-1", self.random.below(999)),
            11 => format!("not {name} and {}", self.random.below(3) == 0),
            12 if self.depth < 4 => self.function(""),
            _ => name.into(),
        }
    }

    fn function(&mut self, head: &str) -> String {
        let params = self.random.of(&["", "a", "x, y", "...", "a, ...", "self"]);
        let outer = std::mem::take(&mut self.out);
        self.depth += 1;
        for _ in 0..self.random.below(5) {
            self.statement();
        }
        self.depth -= 1;
        let body = std::mem::replace(&mut self.out, outer);
        let feed = self.random.of(&["\n", " ", "\n", "\n\n"]);
        format!("function{head}({params}){feed}{body}end")
    }

    fn block(&mut self) {
        self.depth += 1;
        for _ in 0..=self.random.below(3) {
            self.statement();
        }
        self.depth -= 1;
        self.line("end");
    }

    fn statement(&mut self) {
        let (name, other) = (self.name(), self.name());
        let deep = self.depth > 3;
        match self.random.below(24) {
            0 | 1 => {
                let value = self.expression();
                self.line(&format!("local {name} = {value}"));
            }
            2 => self.line(&format!("local {name}, {other}")),
            3 => {
                let (value, second) = (self.expression(), self.expression());
                self.line(&format!("{name}.{other}, {other} = {value}, {second}"));
            }
            4 | 5 => {
                let function = self.function(&format!(" {name}.{other}"));
                self.line(&function);
            }
            6 | 7 => {
                let function = self.function(&format!(" {name}"));
                self.line(&format!("local {function}"));
            }
            8 => {
                let function = self.function(&format!(" {name}:{other}"));
                self.line(&function);
            }
            9 => {
                let function = self.function(&format!(" {name}"));
                self.line(&function);
            }
            10 => {
                let function = self.function("");
                self.line(&format!("{name}.{other} = {function}"));
            }
            11 => {
                let (one, two) = (self.function(""), self.function(""));
                self.line(&format!("local {name} = {{ a = {one},\n b = {two}, 7 }}"));
            }
            12 => {
                let function = self.function("");
                self.line(&format!("{name}({other}({function}, 5))"));
            }
            13 if !deep => {
                self.line(&format!("for {name} = 1, 3 do"));
                self.block();
            }
            14 if !deep => {
                self.line(&format!("for {name} in pairs({other}) do"));
                self.block();
            }
            15 if !deep => {
                self.line(&format!("if {name} then"));
                self.block();
            }
            16 if !deep => {
                self.line(&format!("while {name} < {other} do"));
                self.block();
            }
            17 if !deep => {
                self.line("do");
                self.block();
            }
            18 if !deep => {
                self.line("repeat");
                self.statement();
                self.line(&format!("until {name}"));
            }
            19 => {
                let label = self.random.below(1000);
                self.line(&format!("goto l{label}"));
                self.line(&format!("::l{label}::"));
            }
            20 if self.random.below(12) == 0 => {
                let number = self.random.below(9);
                self.line(&format!("local {name} <const> = {number}"));
            }
            _ => {
                let value = self.expression();
                self.line(&format!("{name} = {value}"));
            }
        }
    }
}

fn program(random: &mut Random) -> String {
    let mut program = Program {
        random,
        out: String::new(),
        depth: 0,
    };
    for _ in 0..3 + program.random.below(12) {
        program.statement();
    }
    program.out
}

/// Edits a text in one place, or in two that are near to each other.
fn edited(random: &mut Random, text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    let at = random.below(lines.len());
    for _ in 0..=random.below(2) {
        let at = (at + random.below(3)).min(lines.len() - 1);
        let line = lines[at].clone();
        match random.below(10) {
            0 => {
                lines.remove(at);
            }
            1 => lines.insert(at, line),
            2 => lines.insert(at, String::new()),
            3 => {
                let mut inner = Program {
                    random,
                    out: String::new(),
                    depth: 3,
                };
                inner.statement();
                let statement = inner.out;
                lines.insert(at + 1, statement);
            }
            4 => {
                let (from, to) = (random.of(&NAMES), random.of(&NAMES));
                lines[at] = line.replacen(from, to, 1);
            }
            5 => lines[at] = line.replacen(|c: char| c.is_ascii_digit(), "73", 1),
            6 => lines[at] = line.replacen(' ', random.of(&["\n", "  ", " --[[\n]] "]), 1),
            7 => lines[at].push_str(random.of(&[" local x = 1", " f()", "\nlocal x\n", " -- end"])),
            8 => lines.insert(at, "  print('text 1', count, list.a)".into()),
            _ => {
                let place = random.below(line.len() + 1);
                if line.is_char_boundary(place) {
                    let what =
                        random.of(&["]]", "end", "(", "'", "--", "x", "function", "[[", "\\"]);
                    lines[at].insert_str(place, what);
                }
            }
        }
        if lines.is_empty() {
            lines.push(String::new());
        }
    }
    let text = lines.join("\n") + "\n";
    match random.below(6) {
        0 => with_other_numbers(random, &text),
        _ => text,
    }
}

/// Puts others in place of many numbers of a text.
fn with_other_numbers(random: &mut Random, text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_.'".contains(c);
    let mut out = String::new();
    for part in text.split_inclusive(|c| !is_word(c)) {
        let number = part.trim_end_matches(|c| !is_word(c));
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        match is_number && random.below(3) > 0 {
            true => out += random.of(&["1", "2", "300", "70000", "80000", "2.5", "7.0", "9e9"]),
            false => out += number,
        }
        out += &part[number.len()..];
    }
    out
}

/// What came of some edits.
#[derive(Default, Debug)]
struct Tally {
    pairs: usize,
    compiled: usize,
    spliced: usize,
    /// Byte by byte what the compiler makes of the whole text.
    exact: usize,
    /// What was known of the chunk has told all of the new one.
    followed: usize,
    /// Functions of which the definitions of the old text have told all.
    taken_over: usize,
}

/// A dump that was spliced, and the function that was compiled alone for it.
type Made = (Vec<u8>, Vec<Piece>);

impl Tally {
    /// Compiles a text and an edit of it in both ways. Returns what was spliced, which can be the
    /// base of the next edit.
    fn compare(
        &mut self,
        vm: &mut Vm,
        (old, base): (&str, Option<&Made>),
        new: &str,
    ) -> Option<Made> {
        const NAME: &CStr = c"@a file.lua";
        let mark = vm.held();
        self.pairs += 1;
        let main = match base {
            Some((dump, _)) => TestState::load_dump(vm, dump, NAME),
            None => vm.load_text(old.as_bytes(), NAME).ok()?,
        };
        let dump = vm.dump(main, DebugInfo::Keep).expect("memory").to_vec();
        let (name, text) = (NAME.to_bytes().to_vec(), old.as_bytes().to_vec());
        let mut last = Compiled::new(name, text, dump).expect("memory");
        last.pieces = base.map(|(_, pieces)| pieces.clone()).unwrap_or_default();
        let code = GivenText::of_test(new.as_bytes());
        let spliced = vm.spliced(&code, NAME, &last).expect("memory");
        let whole = vm.load_text(new.as_bytes(), NAME);
        self.compiled += usize::from(whole.is_ok());
        if let Ok(whole) = whole {
            let whole = vm.dump(whole, DebugInfo::Keep).expect("memory");
            self.taken_over += Definitions::taken_over(&last.dump, whole) as usize;
        }
        if let Some(Spliced {
            dump,
            is_exact,
            functions,
            edited,
            ..
        }) = &spliced
        {
            if let Some(edited) = edited {
                let secret = Secret::default();
                let read = |dump: &Arc<Vec<u8>>| {
                    let chunk = Chunk::read(dump.clone(), &secret).expect("memory");
                    chunk.expect("a dump")
                };
                let dump = Arc::new(dump.clone());
                let chunk = read(&last.dump).edited(&dump, edited, &secret);
                if let Some(chunk) = chunk.expect("memory") {
                    self.followed += 1;
                    assert!(chunk.is_as(&read(&dump)), "{old}\n---- became\n{new}");
                }
            }
            if functions.is_some() {
                let all = all_functions(new.as_bytes()).expect("memory");
                assert_eq!(*functions, all, "functions differ:\n{new}");
            }
            let Ok(whole) = whole else {
                panic!("spliced, and does not compile:\n{old}\n---- became\n{new}");
            };
            let whole = vm.dump(whole, DebugInfo::Keep).expect("memory");
            self.spliced += 1;
            self.exact += usize::from(*is_exact);
            let what = match *is_exact && base.is_none() {
                true if dump == whole => None,
                true => Some("a byte"),
                false => difference_in_meaning(dump, whole),
            };
            if let Some(what) = what {
                panic!("{what} differs:\n{old}\n---- became\n{new}");
            }
        }
        vm.release(mark);
        spliced.map(|spliced| (spliced.dump, spliced.pieces))
    }
}

#[test]
fn a_spliced_dump_is_that_of_the_whole_text() {
    let (mut random, mut tally) = (Random::new(), Tally::default());
    let programs = number("HOTRELOAD_CASES", pick(4_000, 100_000, 400_000)) / 10;
    let state = TestState::new();
    state.view(|vm| {
        for _ in 0..programs {
            let (mut old, mut base) = (program(&mut random), None);
            for _ in 0..10 {
                let mut new = edited(&mut random, &old);
                while random.below(3) == 0 {
                    new = edited(&mut random, &new);
                }
                let made = tally.compare(vm, (&old, base.as_ref()), &new);
                if random.below(3) == 0 {
                    (old, base) = (new, made);
                }
            }
        }
    });
    eprintln!("{tally:?}");
    assert!(tally.compiled * 4 > tally.pairs, "{tally:?}");
    assert!(tally.spliced * 2 > tally.compiled, "{tally:?}");
    assert!(tally.taken_over > tally.compiled, "{tally:?}");
    assert!(tally.followed * 8 > tally.exact, "{tally:?}");
}

/// A text of functions, of which each has something else in the place of the `@`.
fn functions(random: &mut Random, parts: &[&str]) -> String {
    let mut out = String::from("local M, a = {}, 1\n");
    for number in 0..12 {
        let declared = match number % 4 {
            0 => format!("local function f{number}(x)\n"),
            1 => format!("local v{number} = {number} function M.f{number}(x) "),
            2 => format!("do local b = {number}\nfunction M:f{number}(x)\n"),
            _ => format!("M.t{number} = {{ 'key', x = function(x)\n"),
        };
        let end = ["end\n", "end", "\nend end\n", "\nend }\n"][number % 4];
        let edited = random.below(3) == 0;
        let part = if edited { random.of(parts) } else { parts[0] };
        out += &format!("{declared}a = a + x; {part}; return x, {number} {end} x = 'key' ");
    }
    // (An edit of nearly all of a text is not looked at.)
    out + &"\nlocal rest = { 1, 2, 3, 'and so on' }".repeat(60)
}

/// Edits of several functions, which have other lines, constants and variables then.
#[test]
fn several_functions_that_were_edited_are_exchanged() {
    const PARTS: [&str; 12] = [
        "y = 2",
        "y = 3",
        "y = 'key'",
        "y = v5",
        "y = b",
        "y =\n4",
        "\n\n",
        "y = f8",
        "y = function() return a end",
        "y = x",
        "y = 2.5",
        "y = 2",
    ];
    let (mut random, mut tally) = (Random::new(), Tally::default());
    let state = TestState::new();
    state.view(|vm| {
        for _ in 0..pick(600, 6_000, 60_000) {
            let old = functions(&mut random, &PARTS[..1]);
            // One time in two nothing but numbers and lines.
            let parts = [&PARTS[..2], &PARTS[..], &PARTS[5..7]][random.below(3)];
            let new = functions(&mut random, &[&PARTS[..1], parts].concat());
            tally.compare(vm, (&old, None), &new);
        }
    });
    eprintln!("{tally:?}");
    assert_eq!(tally.compiled, tally.pairs, "{tally:?}");
    assert!(tally.exact * 2 > tally.compiled, "{tally:?}");
}

/// Edits of one function that change the main function's code, constants or lines: each is spliced
/// rightly, or not at all. The word is what is edited; whether it is spliced comes last.
#[test]
fn what_the_main_function_gets_from_a_function_is_seen() {
    let long = "x = 1\n".repeat(130);
    let feeds = "\n".repeat(130);
    let cases: [(&str, &str, &str, bool); 14] = [
        ("local a function f() return @ end", "1", "2", true),
        ("local a function f() return @ end", "1", "a", false),
        (
            "local a function g() return a end\nfunction f() return @ end",
            "1",
            "a",
            true,
        ),
        ("do local a function f() return @ end end", "1", "a", false),
        (
            "do local a local function f() return @ end end",
            "1",
            "f",
            false,
        ),
        (
            "for i = 1, 2 do x[i] = function() return @ end end",
            "1",
            "i",
            false,
        ),
        (
            "for i = 1, 2 do x[i] = function() return i, @ end end",
            "1",
            "2",
            true,
        ),
        (
            "a.b = 1 function f() return @ end c.b = 1",
            "x.c",
            "x.b",
            false,
        ),
        (
            "a.b = 1 function f() return @ end c.d = 1",
            "x.c",
            "x.b",
            true,
        ),
        (
            "function a.b() end\nfunction f() return @ end",
            "x.c",
            "x.b",
            true,
        ),
        (
            "local x <const> = 5 function f() return @ end",
            "1",
            "x",
            false,
        ),
        (
            "function f()\n@\nend x = 1\nfunction g()\nerror()\nend",
            "y = 1",
            "y\n=\n2",
            true,
        ),
        ("function f()\n@\nend x = 1", "y = 1", &long, false),
        (
            "function f(a)\nif a then\n@\nend\nend x = 1",
            "y()",
            &feeds,
            false,
        ),
    ];
    let state = TestState::new();
    state.view(|vm| {
        for (text, from, to, expected) in cases {
            let (old, new) = (text.replace('@', from), text.replace('@', to));
            // (An edit of more than half of a text is not looked at.)
            let rest = "\nlocal rest = { 1, 2, 3, 'and so on' }".repeat(60);
            let mut tally = Tally::default();
            tally.compare(vm, (&(old + &rest), None), &(new + &rest));
            assert_eq!(
                (tally.compiled, tally.spliced),
                (1, expected.into()),
                "{text} {to}"
            );
        }
    });
}

/// Edits outside of functions: each is compiled with stubs, or as a whole.
#[test]
fn what_a_function_sees_is_looked_at() {
    const FUNCTIONS: &str = "local a, b = 1, 2
local function f(x) b = b + x return g(x) end
M.h = { one = function() return a, b, print end }
function M:k(x) for i = 1, x do self[i] = function() return f(i) + a end end end
";
    let cases: [(&str, &str, bool); 16] = [
        ("local a, b", "local added, a, b", true),
        ("local a, b", "local c c()\nlocal a, b", true),
        ("M.h = {", "function M.new() return b end M.h = {", true),
        ("M.h = {", "\n-- a comment\nM.h = {", true),
        ("function M:k", "function M.other:k", true),
        ("local function f", "function f", false),
        ("local function f", "\nlocal f; function f", true),
        (
            "M.h = { one =",
            "do local x; M.h[2] = f end M.h = { one = { 1 }, two =",
            true,
        ),
        ("function M:k", "function M.k", true),
        ("local a, b", "local g, a, b", false),
        ("local a, b", "local print, a, b", false),
        ("local a, b", "local a, self, b", true),
        ("local a, b", "local b", false),
        ("local a, b", "local _ENV, a, b", false),
        ("local a, b", "local c <const> = 5 local a, b", false),
        ("local a, b = 1, 2", "local b, a = 2, 1", true),
    ];
    let state = TestState::new();
    state.view(|vm| {
        for (from, to, expected) in cases {
            assert!(FUNCTIONS.contains(from));
            let rest = "\nfunction M.rest() return { 1, 2, 3 } end".repeat(20);
            let old = FUNCTIONS.to_owned() + &rest;
            let mut tally = Tally::default();
            tally.compare(vm, (&old, None), &old.replace(from, to));
            let found = (tally.compiled, tally.spliced);
            assert_eq!(found, (1, expected.into()), "{from} became {to}");
        }
    });
}

/// Whatever a dump or a text has, nothing panics.
#[test]
fn broken_dumps_and_texts_are_read_to_their_ends() {
    const OLD: &str = "local a, b = 1.5, 'text'
local function f(x) b = b + x return [[long]], g(x) end
M.h = { one = function(...) -- a comment
  return a, 'quoted' end }
do local c function M:k(x) c = function() return c, a end end end
";
    // (Edits of more than half of a text are not looked at.)
    let old = OLD.to_owned() + "local rest = '" + &"rest ".repeat(40) + "'\n";
    let new = old.replace("quoted", "edited");
    let two_new = new.replace("[[long]]", "[[\n\n]]");
    let all_new = new.replace("local a, b", "local d, a, b");
    let state = TestState::new();
    state.view(|vm| {
        let main = vm.load_text(old.as_bytes(), c"@a").expect("compiles");
        let dump = vm.dump(main, DebugInfo::Keep).expect("memory").to_vec();
        let (mut read, mut tried, mut several) = (0, 0, 0);
        let mut attempt = |dump: &[u8], text: &[u8]| {
            tried += 1;
            for new in [new.as_bytes(), two_new.as_bytes(), all_new.as_bytes(), text] {
                let texts = [old.as_bytes(), new];
                let Some(difference) =
                    Difference::of(texts[0], texts[1], || counts_lines(texts[0]))
                else {
                    continue;
                };
                let Some(main) = Main::of(dump, AboutMain::default()).expect("memory") else {
                    return;
                };
                read += 1;
                if let Some(pieces) = Pieces::of(&difference, texts, &main).expect("memory") {
                    several += 1;
                    let dumps = vec![dump.to_vec(); pieces.texts.len()];
                    pieces.filled(&dumps).expect("memory");
                }
                if let Some(stubs) = Stubs::of(&difference, texts, &main, None).expect("memory") {
                    stubs.filled(dump).expect("memory");
                }
            }
        };
        for at in 0..dump.len() {
            attempt(&dump[..at], b"");
            for byte in [0, 1, 0x7f, 0x80, 0xff, !dump[at]] {
                let mut changed = dump.clone();
                changed[at] = byte;
                attempt(&changed, b"");
            }
        }
        for at in 0..new.len() {
            attempt(&dump, &new.as_bytes()[..at]);
            for byte in *b"[]'\"\\-\n\r(<e\xff" {
                let mut changed = new.clone().into_bytes();
                changed[at] = byte;
                attempt(&dump, &changed);
            }
        }
        assert!(
            read > tried && several > 100,
            "{read}, {several} of {tried}"
        );
    });
}

fn lua_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            lua_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "lua") {
            found.push(path);
        }
    }
}

/// Every Lua file of the packages that are installed.
#[test]
fn real_files_are_spliced_as_they_are_compiled() {
    let mut files = Vec::new();
    for folder in ["/usr/share/lua/5.4", "/usr/share/lua/5.1"] {
        lua_files(Path::new(folder), &mut files);
    }
    let (mut random, mut tally) = (Random::new(), Tally::default());
    let edits = pick(3, 30, 200);
    let state = TestState::new();
    state.view(|vm| {
        for path in &files {
            let Ok(text) = std::fs::read_to_string(path) else {
                continue;
            };
            for _ in 0..edits {
                let mut new = edited(&mut random, &text);
                while random.below(3) == 0 {
                    new = edited(&mut random, &new);
                }
                tally.compare(vm, (&text, None), &new);
            }
        }
    });
    eprintln!("{} files: {tally:?}", files.len());
    assert!(
        tally.spliced * 2 > tally.compiled || files.is_empty(),
        "{tally:?}"
    );
}
