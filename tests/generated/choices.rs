//! References, choices and lists of handlers (R3.5, R3.7, R3.12, R3.15, R4.8, R4.9, R5.12, R5.13):
//! edits that move, rename and rotate what a module's places lead to, and a program that switches,
//! swaps, removes, patches and wraps the same.
//!
//! The rules in short: a function or table is the expression that makes it, wherever that stands in
//! the file by now. For each place what the file said at the last load, what runs and what it says
//! now decide together. State stays, also that of a local that has another name.

use std::fmt::Write;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::support::Program;
use super::try_all;

/// How many there are: functions, tables, places of either, closures of a factory.
const MANY: usize = 4;
const MADE: usize = 2;

type Place = Option<usize>;

/// A version of the file.
#[derive(Clone, PartialEq, Debug)]
struct File {
    /// Of each function the edit that changed it last, the name under which it stands, and whether
    /// its local has its other name.
    code: [u32; MANY],
    name: [u8; MANY],
    renamed: [bool; MANY],
    /// The same of each table's method, and the table that it inherits from.
    method: [u32; MANY],
    parent: [Place; MANY],
    /// Which function or table stands in each place.
    functions: [Place; MANY],
    tables: [Place; MANY],
    handlers: Vec<usize>,
    /// What the factory is given, and the edit that changed it last.
    given: [u8; MADE],
    factory: u32,
}

#[derive(Clone, Copy, Debug)]
enum Edit {
    Code(usize),
    Method(usize),
    Factory,
    Name(usize, u8),
    Local(usize),
    Parent(usize, Place),
    /// A table gets another one between it and its parent.
    Between(usize, usize),
    /// A table inherits from what inherited from it.
    Turn(usize),
    Function(usize, Place),
    Table(usize, Place),
    SwapFunctions(usize, usize),
    SwapTables(usize, usize),
    RotateFunctions,
    RotateTables,
    Insert(usize, usize),
    Remove(usize),
    SwapHandlers(usize, usize),
    RotateHandlers,
    Give(usize, u8),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Look,
    Function(usize, usize),
    Table(usize, usize),
    SwapFunctions(usize, usize),
    SwapTables(usize, usize),
    RemoveFunction(usize),
    RemoveTable(usize),
    Add,
    Remove(usize),
    SwapHandlers(usize, usize),
    Sort,
    Patch(usize),
    Wrap(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Kept,
    Dry,
    Raises,
    Undone,
}

#[derive(Clone, Debug)]
struct Round {
    steps: Vec<Step>,
    edits: Vec<Edit>,
    outcome: Outcome,
    data: &'static str,
    vm: bool,
}

#[derive(Clone, Debug)]
struct Case {
    first: Vec<Edit>,
    rounds: Vec<Round>,
}

impl File {
    fn new() -> File {
        File {
            code: [0; MANY],
            name: [0; MANY],
            renamed: [false; MANY],
            method: [0; MANY],
            parent: [None; MANY],
            functions: [Some(0), Some(1), None, Some(1)],
            tables: [Some(0), Some(1), None, Some(1)],
            handlers: vec![0, 1, 2],
            given: [3, 5],
            factory: 0,
        }
    }

    fn inherits(&self, mut table: usize, from: usize) -> bool {
        for _ in 0..MANY {
            match self.parent[table] {
                Some(parent) if parent == from => return true,
                Some(parent) => table = parent,
                None => return false,
            }
        }
        true
    }

    fn set_parent(&mut self, table: usize, parent: Place) {
        if parent.is_none_or(|parent| parent != table && !self.inherits(parent, table)) {
            self.parent[table] = parent;
        }
    }

    /// Carries out an edit; `base` is the version that it begins with.
    fn edit(&mut self, edit: Edit, base: &File, number: u32, running: &Running) {
        let length = self.handlers.len();
        match edit {
            // A local goes on under another name where its function is the same besides.
            Edit::Code(i) if self.renamed[i] == base.renamed[i] => self.code[i] = number,
            Edit::Name(i, name)
                if self.renamed[i] == base.renamed[i] && running.over[i] == Over::Own =>
            {
                self.name[i] = name;
            }
            Edit::Local(i) if self.code[i] == base.code[i] && self.name[i] == base.name[i] => {
                self.renamed[i] = !self.renamed[i];
            }
            Edit::Code(_) | Edit::Name(..) | Edit::Local(_) => {}
            Edit::Method(i) => self.method[i] = number,
            Edit::Factory => self.factory = number,
            Edit::Parent(i, parent) => self.set_parent(i, parent),
            Edit::Between(i, between) => {
                let parent = self.parent[i];
                if i != between && !self.inherits(between, i) {
                    self.set_parent(between, parent);
                    self.set_parent(i, Some(between));
                }
            }
            Edit::Turn(i) => {
                if let Some(parent) = self.parent[i] {
                    self.parent[i] = self.parent[parent];
                    self.parent[parent] = Some(i);
                }
            }
            Edit::Function(place, to) => self.functions[place] = to,
            Edit::Table(place, to) => self.tables[place] = to,
            Edit::SwapFunctions(a, b) => self.functions.swap(a, b),
            Edit::SwapTables(a, b) => self.tables.swap(a, b),
            Edit::RotateFunctions => self.functions.rotate_left(1),
            Edit::RotateTables => self.tables.rotate_left(1),
            Edit::Insert(at, function) => {
                if !self.handlers.contains(&function) {
                    self.handlers.insert(at % (length + 1), function);
                }
            }
            Edit::Remove(at) if length > 0 => drop(self.handlers.remove(at % length)),
            Edit::SwapHandlers(a, b) if length > 0 => self.handlers.swap(a % length, b % length),
            Edit::RotateHandlers if length > 0 => self.handlers.rotate_left(1),
            Edit::Remove(_) | Edit::SwapHandlers(..) | Edit::RotateHandlers => {}
            Edit::Give(closure, what) => self.given[closure] = what,
        }
    }

    fn path(&self, function: usize) -> String {
        let before = ["f", "sub.f", "r"][usize::from(self.name[function])];
        format!("{before}{function}")
    }

    fn text(&self) -> String {
        let mut text = String::from("local M = { sub = {} }\n");
        for i in 0..MANY {
            let local = if self.renamed[i] { "count" } else { "hits" };
            let _ = writeln!(
                text,
                "local {local}{i} = 0
function M.{}()
  {local}{i} = {local}{i} + 1
  return \"f{i}\" .. \" r{} \" .. {local}{i}, \"a{i}\", \"b{i}\"
end",
                self.path(i),
                self.code[i],
            );
        }
        for i in 0..MANY {
            let _ = writeln!(
                text,
                "local O{i} = {{ tag = \"O{i}\" }}
function O{i}.who{i}() return \"who{i} r{}\" end
M.o{i} = O{i}",
                self.method[i],
            );
        }
        for (i, parent) in self.parent.iter().enumerate() {
            if let Some(parent) = parent {
                let _ = writeln!(text, "setmetatable(O{i}, {{ __index = O{parent} }})");
            }
        }
        let _ = writeln!(
            text,
            "local function make(n)
  local uses = 0
  return function() uses = uses + 1 return \"g r{} \" .. n .. \" \" .. uses end
end",
            self.factory
        );
        for (i, given) in self.given.iter().enumerate() {
            let _ = writeln!(text, "M.g{i} = make({given})");
        }
        for (i, place) in self.functions.iter().enumerate() {
            if let Some(function) = place {
                let _ = writeln!(text, "M.q{i} = M.{}", self.path(*function));
            }
        }
        for (i, place) in self.tables.iter().enumerate() {
            if let Some(table) = place {
                let _ = writeln!(text, "M.p{i} = O{table}");
            }
        }
        let handlers: Vec<String> = self
            .handlers
            .iter()
            .map(|i| format!("M.{}", self.path(*i)))
            .collect();
        let _ = writeln!(text, "M.handlers = {{ {} }}\nreturn M", handlers.join(", "));
        text
    }
}

/// What the program has put over a function of the module's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Over {
    Own,
    Patch,
    Wrapper,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Handler {
    Own(usize),
    Program(u32),
}

/// The rules leave open what comes out.
struct Open;

/// The program.
#[derive(Clone, Debug)]
struct Running {
    functions: [Place; MANY],
    tables: [Place; MANY],
    handlers: Vec<Handler>,
    over: [Over; MANY],
    hits: [u32; MANY],
    uses: [u32; MADE],
    added: u32,
    /// Which functions have had another name: they stand there still, unless `"replace"` came.
    moved: [bool; MANY],
    may_be_gone: [bool; MANY],
}

impl Running {
    fn new(file: &File) -> Running {
        Running {
            functions: file.functions,
            tables: file.tables,
            handlers: file.handlers.iter().map(|i| Handler::Own(*i)).collect(),
            over: [Over::Own; MANY],
            hits: [0; MANY],
            uses: [0; MADE],
            added: 0,
            moved: [false; MANY],
            may_be_gone: [false; MANY],
        }
    }

    /// Does something, and tells how the program does it.
    fn step(&mut self, step: Step, file: &File) -> Option<String> {
        let length = self.handlers.len();
        let index = |i: usize| i.checked_rem(length);
        let swap = |places: &mut [Place; MANY], name: &str, a: usize, b: usize| {
            (places[a].is_some() && places[b].is_some()).then(|| {
                places.swap(a, b);
                format!("m.{name}{a}, m.{name}{b} = m.{name}{b}, m.{name}{a}")
            })
        };
        let remove = |places: &mut [Place; MANY], name: &str, i: usize| {
            places[i].take().map(|_| format!("m.{name}{i} = nil"))
        };
        match step {
            Step::Look => Some(String::new()),
            Step::Function(place, to) => self.functions[place].is_some().then(|| {
                self.functions[place] = Some(to);
                format!("m.q{place} = own[{to}]")
            }),
            Step::Table(place, to) => self.tables[place].is_some().then(|| {
                self.tables[place] = Some(to);
                format!("m.p{place} = m.o{to}")
            }),
            Step::SwapFunctions(a, b) => swap(&mut self.functions, "q", a, b),
            Step::SwapTables(a, b) => swap(&mut self.tables, "p", a, b),
            Step::RemoveFunction(i) => remove(&mut self.functions, "q", i),
            Step::RemoveTable(i) => remove(&mut self.tables, "p", i),
            Step::Add => {
                self.added += 1;
                self.handlers.push(Handler::Program(self.added));
                Some(format!(
                    "table.insert(m.handlers, function() return 'p{}' end)",
                    self.added
                ))
            }
            Step::Remove(i) => index(i).map(|i| {
                self.handlers.remove(i);
                format!("table.remove(m.handlers, {})", i + 1)
            }),
            Step::SwapHandlers(a, b) => index(a).zip(index(b)).map(|(a, b)| {
                self.handlers.swap(a, b);
                let (a, b) = (a + 1, b + 1);
                format!("local h = m.handlers h[{a}], h[{b}] = h[{b}], h[{a}]")
            }),
            Step::Sort => {
                self.handlers.sort_unstable();
                Some("table.sort(m.handlers, function(a, b) return rank(a) < rank(b) end)".into())
            }
            Step::Patch(i) | Step::Wrap(i) if self.over[i] == Over::Own => {
                let path = format!("m.{}", file.path(i));
                Some(match step {
                    Step::Patch(_) => {
                        self.over[i] = Over::Patch;
                        format!("{path} = function() return 'patch' end")
                    }
                    _ => {
                        self.over[i] = Over::Wrapper;
                        format!(
                            "local old = {path}
                            {path} = function() return 'around ' .. old() end
                            inner[{i}] = function() return old end"
                        )
                    }
                })
            }
            Step::Patch(_) | Step::Wrap(_) => None,
        }
    }

    /// R3.15, R5.3, R5.13
    fn place(
        base: Place,
        runs: Place,
        file: Place,
        follows: bool,
        replaces: bool,
    ) -> Result<Place, Open> {
        Ok(match (base, runs, file) {
            (None, None, file) => file,
            (None, Some(_), None) => runs,
            (None, Some(runs), Some(file)) if runs == file => Some(runs),
            // Both have added it: nobody knows what the file said.
            (None, Some(_), Some(_)) => return Err(Open),
            (Some(_), None, file) => file.filter(|_| replaces),
            (Some(base), Some(runs), None) => Some(runs).filter(|runs| *runs != base),
            (Some(_), Some(_), Some(file)) if follows => Some(file),
            (Some(base), Some(runs), Some(file)) => Some(if runs == base { file } else { runs }),
        })
    }

    /// R5.12
    fn list(&self, base: &[usize], file: &[usize]) -> Vec<Handler> {
        let has = |list: &[usize], handler: &Handler| match handler {
            Handler::Own(i) => list.contains(i),
            Handler::Program(_) => false,
        };
        let own = |list: &[usize]| list.iter().map(|i| Handler::Own(*i)).collect::<Vec<_>>();
        if self.handlers == own(base) {
            return own(file);
        }
        let gone = |handler: &Handler| has(base, handler) && !has(file, handler);
        let mut list: Vec<Handler> = self
            .handlers
            .iter()
            .copied()
            .filter(|handler| !gone(handler))
            .collect();
        let mut before: Option<Handler> = None;
        let stood = list.clone();
        for (at, function) in file.iter().enumerate() {
            let handler = Handler::Own(*function);
            if list.contains(&handler) {
                before = Some(handler);
            } else if !base.contains(function) {
                let find = |list: &[Handler], it: &Handler| list.iter().position(|one| one == it);
                let next = own(&file[at + 1..])
                    .into_iter()
                    .find(|one| stood.contains(one));
                let place = match (before, next) {
                    (Some(before), _) => find(&list, &before).map_or(list.len(), |at| at + 1),
                    (None, Some(next)) => find(&list, &next).unwrap_or(list.len()),
                    (None, None) => list.len(),
                };
                list.insert(place, handler);
                before = Some(handler);
            }
        }
        list
    }

    fn reload(&mut self, base: &File, file: &File, data: &str) -> Result<(), Open> {
        let replaces = data == "replace";
        let handlers = self.handlers.iter().filter_map(|handler| match handler {
            Handler::Own(i) => Some(*i),
            Handler::Program(_) => None,
        });
        let held: Vec<usize> = handlers
            .chain(self.functions.into_iter().flatten())
            .collect();
        if replaces {
            (self.hits, self.uses) = ([0; MANY], [0; MADE]);
        }
        for i in 0..MANY {
            self.functions[i] = Running::place(
                base.functions[i],
                self.functions[i],
                file.functions[i],
                false,
                replaces,
            )?;
            self.tables[i] = Running::place(
                base.tables[i],
                self.tables[i],
                file.tables[i],
                replaces,
                replaces,
            )?;
            if self.over[i] == Over::Patch {
                // Nothing of the module leads to what the patch has replaced, and to its counter.
                if !held.contains(&i) && self.may_be_gone[i] {
                    return Err(Open);
                }
                if !held.contains(&i) && !self.moved[i] {
                    self.hits[i] = 0;
                }
                self.over[i] = Over::Own;
            }
            self.may_be_gone[i] |= replaces && self.moved[i];
            self.moved[i] |= base.name[i] != file.name[i];
        }
        self.handlers = if replaces {
            file.handlers.iter().map(|i| Handler::Own(*i)).collect()
        } else {
            self.list(&base.handlers, &file.handlers)
        };
        Ok(())
    }

    /// What [`LOOK`] tells.
    fn look(&mut self, file: &File) -> String {
        let mut text = String::new();
        let mut call = |i: usize| {
            self.hits[i] += 1;
            format!("f{i} r{} {}", file.code[i], self.hits[i])
        };
        for i in 0..MANY {
            let told = match self.over[i] {
                Over::Own => call(i),
                Over::Patch => "patch".to_owned(),
                Over::Wrapper => format!("around {}", call(i)),
            };
            let _ = writeln!(text, "f{i}: {told}");
        }
        for (i, place) in self.functions.iter().enumerate() {
            let _ = writeln!(text, "q{i}: {}", place.map_or("nil".into(), &mut call));
        }
        let handlers: Vec<String> = self
            .handlers
            .iter()
            .map(|handler| match handler {
                Handler::Own(i) => call(*i),
                Handler::Program(n) => format!("p{n}"),
            })
            .collect();
        let _ = writeln!(text, "handlers: {}", handlers.join(", "));
        for (i, place) in self.tables.iter().enumerate() {
            let told = place.map_or("nil".to_owned(), |table| format!("O{table}"));
            let _ = writeln!(text, "p{i}: {told}");
        }
        for i in 0..MANY {
            let _ = write!(text, "o{i}:");
            for k in 0..MANY {
                if i == k || file.inherits(i, k) {
                    let _ = write!(text, " who{k} r{}", file.method[k]);
                }
            }
            text.push('\n');
        }
        for (i, given) in file.given.iter().enumerate() {
            self.uses[i] += 1;
            let _ = writeln!(text, "g{i}: g r{} {given} {}", file.factory, self.uses[i]);
        }
        text
    }
}

/// Tells what each place holds. The functions are in `own` where the program takes them from, and
/// `rank` sorts handlers.
const LOOK: &str = "local out = {}
    local function add(...) out[#out + 1] = table.concat { ... } end
    local function call(f) if f == nil then return 'nil' end return (f()) end
    for i = 0, 3 do add('f', i, ': ', call(at(i))) end
    for i = 0, 3 do add('q', i, ': ', call(m['q' .. i])) end
    local told = {}
    for i, f in ipairs(m.handlers) do told[i] = call(f) end
    add('handlers: ', table.concat(told, ', '))
    for i = 0, 3 do add('p', i, ': ', (m['p' .. i] or {}).tag or 'nil') end
    for i = 0, 3 do
      local line = { 'o' .. i .. ':' }
      for k = 0, 3 do
        local who = m['o' .. i]['who' .. k]
        if who then line[#line + 1] = ' ' .. who() end
      end
      add(table.unpack(line))
    end
    for i = 0, 1 do add('g', i, ': ', call(m['g' .. i])) end
    return table.concat(out, '\\n') .. '\\n'";

fn try_case(case: &Case) -> Result<(), String> {
    let program = Program::new();
    let mut file = File::new();
    let mut running = Running::new(&file);
    for edit in &case.first {
        let base = file.clone();
        file.edit(*edit, &base, 0, &running);
    }
    file.renamed = [false; MANY];
    running = Running::new(&file);
    let mut story = format!("---- first\n{}", file.text());
    program.write("m", file.text());
    program.must("m = require 'm'");
    // Where each function stands, and what it is without what the program has put over it.
    let names = |file: &File| {
        let paths: Vec<String> = (0..MANY).map(|i| format!("m.{}", file.path(i))).collect();
        program.must(&format!(
            "function at(i) return (({{ [0] = {} }})[i]) end",
            paths.join(", ")
        ));
    };
    let own = |running: &Running| {
        for (i, over) in running.over.iter().enumerate() {
            match over {
                Over::Own => drop(program.must(&format!("own[{i}] = at({i})"))),
                Over::Wrapper => drop(program.must(&format!("own[{i}] = inner[{i}]()"))),
                Over::Patch => {}
            }
        }
    };
    program.must("own, inner = {}, {}");
    program.must(
        "function rank(f)
          for i = 0, 3 do if own[i] == f then return i end end
          return 10 + tonumber((f():gsub('p', '')))
        end",
    );
    names(&file);
    own(&running);
    let told = |running: &mut Running, file: &File, story: &str| {
        let expected = running.look(file);
        let is = program
            .run(LOOK)
            .map_err(|message| format!("{story}\n{message}"))?;
        let mut wrong = String::new();
        for (is, expected) in is.lines().zip(expected.lines()) {
            if is != expected {
                let _ = writeln!(wrong, "is       {is}\nexpected {expected}");
            }
        }
        wrong
            .is_empty()
            .then_some(())
            .ok_or_else(|| format!("{story}\n{wrong}"))
    };
    told(&mut running, &file, &story)?;
    for (round, number) in case.rounds.iter().zip(1..) {
        for step in &round.steps {
            if let Some(does) = running.step(*step, &file) {
                let _ = writeln!(story, "---- {does}");
                program
                    .run(&does)
                    .map_err(|message| format!("{story}\n{message}"))?;
            }
        }
        told(&mut running, &file, &story)?;
        let mut edited = file.clone();
        for edit in &round.edits {
            edited.edit(*edit, &file, number, &running);
        }
        let mut text = edited.text();
        if round.outcome == Outcome::Raises {
            text = text.replace("return M\n", "error 'no'\n");
        }
        let (outcome, data, vm) = (round.outcome, round.data, round.vm);
        let _ = writeln!(story, "---- {outcome:?}, data = {data}, vm: {vm}\n{text}");
        program.write("m", &text);
        let mut next = running.clone();
        if next.reload(&file, &edited, data).is_err() {
            return Ok(());
        }
        let scope = if vm { "vm" } else { "module" };
        let dry = outcome == Outcome::Dry;
        let wanted = outcome != Outcome::Raises;
        let undo = match outcome {
            Outcome::Undone => "assert(require 'hotreload'.undo 'm')",
            _ => "",
        };
        program
            .run(&format!(
                "local ok, why = gg.reload('m', {{
                  scope = '{scope}', dry_run = {dry}, data = '{data}'
                }})
                if ok ~= {wanted} then error(tostring(why)) end {undo}"
            ))
            .map_err(|message| format!("{story}\n{message}"))?;
        if outcome == Outcome::Kept {
            (file, running) = (edited, next);
            names(&file);
        }
        own(&running);
        told(&mut running, &file, &story)?;
    }
    Ok(())
}

fn case() -> impl Strategy<Value = Case> {
    let one = || 0..MANY;
    let two = || (0..MANY, 0..MANY);
    let any_two = any::<(usize, usize)>;
    let some = || option::weighted(0.8, 0..MANY);
    let edit = move || {
        prop_oneof![
            3 => one().prop_map(Edit::Code),
            1 => one().prop_map(Edit::Method),
            1 => Just(Edit::Factory),
            2 => (one(), 0..3_u8).prop_map(|(i, name)| Edit::Name(i, name)),
            2 => one().prop_map(Edit::Local),
            2 => (one(), some()).prop_map(|(i, parent)| Edit::Parent(i, parent)),
            1 => two().prop_map(|(i, k)| Edit::Between(i, k)),
            1 => one().prop_map(Edit::Turn),
            2 => (one(), some()).prop_map(|(i, to)| Edit::Function(i, to)),
            2 => (one(), some()).prop_map(|(i, to)| Edit::Table(i, to)),
            1 => two().prop_map(|(i, k)| Edit::SwapFunctions(i, k)),
            1 => two().prop_map(|(i, k)| Edit::SwapTables(i, k)),
            1 => Just(Edit::RotateFunctions),
            1 => Just(Edit::RotateTables),
            2 => (any::<usize>(), one()).prop_map(|(at, i)| Edit::Insert(at, i)),
            1 => any::<usize>().prop_map(Edit::Remove),
            1 => any_two().prop_map(|(i, k)| Edit::SwapHandlers(i, k)),
            1 => Just(Edit::RotateHandlers),
            1 => (0..MADE, 0..9_u8).prop_map(|(i, what)| Edit::Give(i, what)),
        ]
    };
    let step = prop_oneof![
        1 => Just(Step::Look),
        2 => two().prop_map(|(i, k)| Step::Function(i, k)),
        2 => two().prop_map(|(i, k)| Step::Table(i, k)),
        1 => two().prop_map(|(i, k)| Step::SwapFunctions(i, k)),
        1 => two().prop_map(|(i, k)| Step::SwapTables(i, k)),
        1 => one().prop_map(Step::RemoveFunction),
        1 => one().prop_map(Step::RemoveTable),
        1 => Just(Step::Add),
        1 => any::<usize>().prop_map(Step::Remove),
        1 => any_two().prop_map(|(i, k)| Step::SwapHandlers(i, k)),
        1 => Just(Step::Sort),
        1 => one().prop_map(Step::Patch),
        1 => one().prop_map(Step::Wrap),
    ];
    let outcome = prop_oneof![
        5 => Just(Outcome::Kept),
        1 => Just(Outcome::Dry),
        1 => Just(Outcome::Raises),
        1 => Just(Outcome::Undone),
    ];
    let data = prop_oneof![2 => Just("keep"), 2 => Just("merge"), 1 => Just("replace")];
    let round = (
        vec(step, 0..5),
        vec(edit(), 0..5),
        outcome,
        data,
        any::<bool>(),
    )
        .prop_map(|(steps, edits, outcome, data, vm)| Round {
            steps,
            edits,
            outcome,
            data,
            vm,
        });
    (vec(edit(), 0..6), vec(round, 1..5)).prop_map(|(first, rounds)| Case { first, rounds })
}

#[test]
fn choices_and_references_go_three_way() {
    try_all(&case(), try_case);
}
