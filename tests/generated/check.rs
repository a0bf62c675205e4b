//! Runs a case in Lua and in the reference program, and compares them.

use std::fmt::Write;

use super::Sums;
use super::heap::{self, GLOBALS, HELD, Heap, Key, Kind, LIST, Value};
use super::model::{
    Argument, Case, OnConflict, Op, Policy, Round, Scope, Style, Trial, Version, Which,
};
use super::oracle::{Expected, How, Open, Oracle, Undo};
use super::render;
use super::support::Program;

/// What reloads that were done are counted as.
pub const RELOADS: &str = "reloads";

/// The modules' names.
const NAMES: [&str; 2] = ["m", "n"];

const HARNESS: &str = include_str!("harness.lua");

/// A case on its way.
struct Run<'a> {
    program: Program,
    heap: Heap,
    oracle: Oracle,
    /// Of the second module, where there is one.
    second: Oracle,
    /// Which modules `gg.safe_reloads` marks.
    marked: [bool; 2],
    /// What was done, for the message.
    story: String,
    sums: &'a mut Sums,
}

/// Tries a case, and counts what happened in it.
///
/// # Errors
/// The story, and what differs.
pub fn case(case: &Case, sums: &mut Sums) -> Result<(), String> {
    let mut version = case.first.clone();
    let first = version.resolved();
    let text = render::file(&first);
    let program = Program::new();
    program.must(HARNESS);
    program.write("m", &text);
    let mut heap = Heap::new();
    let oracle = Oracle::first(&mut heap, &first, case.tracked);
    let mut run = Run {
        program,
        heap,
        oracle,
        second: Oracle::default(),
        marked: [false; 2],
        story: format!("---- the first version\n{text}"),
        sums,
    };
    if !case.tracked {
        run.lua("assert(require('hotreload').track(false))", "")?;
    }
    run.lua("require 'm'", "")?;
    let mut other = case.second.clone();
    if let Some(other) = &other {
        let first = other.resolved();
        let text = render::file(&first);
        run.program.write(NAMES[1], &text);
        let _ = writeln!(
            run.story,
            "---- the first version of the second module\n{text}"
        );
        run.second = Oracle::first(&mut run.heap, &first, case.tracked);
        run.lua("require 'n'", "")?;
    }
    run.compare("after the first load")?;
    for (number, round) in (1..).zip(&case.rounds) {
        for edit in &round.edits {
            version.edit(edit, number);
        }
        let done = match &mut other {
            None => run.round(number, round, &[version.resolved()]),
            Some(other) => {
                for edit in &round.others {
                    other.edit(edit, number);
                }
                let versions = match round.which {
                    Which::First => vec![version.resolved()],
                    Which::Second => vec![other.resolved()],
                    Which::Both => vec![version.resolved(), other.resolved()],
                    Which::Swapped => vec![other.resolved(), version.resolved()],
                };
                run.round(number, round, &versions)
            }
        };
        match done {
            Ok(()) => {}
            Err(Stop::Open(reason)) => {
                *run.sums.open.entry(reason).or_default() += 1;
                return Ok(());
            }
            // What the next version is compared with would be another one than its edits.
            Err(Stop::Refused) => return Ok(()),
            Err(Stop::Wrong(message)) => return Err(message),
        }
    }
    Ok(())
}

/// One reload, of one module or of both.
struct Reload<'a> {
    versions: &'a [Version],
    texts: &'a [String],
    options: String,
    how: How,
}

impl Reload<'_> {
    /// The first argument of `gg.reload`.
    fn names(&self) -> String {
        let names: Vec<String> = self
            .versions
            .iter()
            .map(|version| format!("'{}'", NAMES[usize::from(version.module)]))
            .collect();
        match names.as_slice() {
            [name] => name.clone(),
            _ => format!("{{ {} }}", names.join(", ")),
        }
    }
}

enum Stop {
    Refused,
    Open(&'static str),
    Wrong(String),
}

impl From<Open> for Stop {
    fn from(open: Open) -> Stop {
        Stop::Open(open.0)
    }
}

impl From<String> for Stop {
    fn from(message: String) -> Stop {
        Stop::Wrong(message)
    }
}

impl Run<'_> {
    fn count(&mut self, what: &'static str) {
        *self.sums.done.entry(what).or_default() += 1;
    }

    fn wrong(&self, what: &str) -> String {
        format!("{}---- {what}", self.story)
    }

    /// Runs a text; its result must be as expected.
    fn lua(&mut self, text: &str, expected: &str) -> Result<(), String> {
        let _ = writeln!(self.story, "---- do\n{text}");
        let result = self.program.run(&format!("local test = ... {text}"));
        let log = self.program.must("local test = ... return test.begin()");
        match result {
            Err(message) => Err(self.wrong(&format!("it raised: {message}"))),
            Ok(_) if log != expected => {
                Err(self.wrong(&format!("reported {log}\n     expected {expected}")))
            }
            Ok(_) => Ok(()),
        }
    }

    /// Compares all that there is, and what functions do.
    fn compare(&mut self, when: &str) -> Result<(), String> {
        let expected = self.heap.walk();
        match self.program.run("local test = ... return test.walk()") {
            Ok(is) if is == expected => Ok(()),
            Ok(is) => {
                let mut differences = String::new();
                let (mut a, mut b) = (is.lines(), expected.lines());
                loop {
                    match (a.next(), b.next()) {
                        (None, None) => break,
                        (is, expected) if is == expected => {
                            let _ = writeln!(differences, "   {}", is.unwrap_or_default());
                        }
                        (is, expected) => {
                            let _ = writeln!(differences, "is {}", is.unwrap_or("nothing"));
                            let _ = writeln!(differences, " = {}", expected.unwrap_or("nothing"));
                        }
                    }
                }
                Err(self.wrong(&format!("{when}, is and expected:\n{differences}")))
            }
            Err(message) => Err(self.wrong(&format!("{when}: {message}"))),
        }
    }

    fn round(&mut self, number: u32, round: &Round, versions: &[Version]) -> Result<(), Stop> {
        for op in &round.history {
            self.step(op)?;
        }
        self.compare("after the history")?;
        let texts: Vec<String> = versions.iter().map(render::file).collect();
        for (version, text) in versions.iter().zip(&texts) {
            let name = NAMES[usize::from(version.module)];
            let _ = writeln!(self.story, "---- version {} of {name}\n{text}", number + 1);
        }
        // Of several modules the walk is one for all, which the reference program does not do.
        let (scope, everywhere) = match round.scope {
            _ if versions.len() > 1 => ("'module'", false),
            Scope::Module => ("'module'", false),
            Scope::Vm => ("'vm'", true),
            Scope::Sliced => ("'vm', budget_ms = 0.001", true),
        };
        let conflict = match round.on_conflict {
            OnConflict::Error => "error",
            OnConflict::Keep => "keep",
            OnConflict::Replace => "replace",
        };
        let data = match round.policy {
            Policy::Keep => ", data = 'keep'",
            Policy::Merge => ", data = 'merge'",
            Policy::Replace => ", data = 'replace'",
            Policy::Marked => "",
        };
        if round.policy == Policy::Marked {
            // From now on: what a call says beats it.
            let module = usize::from(versions[0].module);
            self.marked[module] = true;
            self.lua(
                &format!(
                    "gg.safe_reloads = gg.safe_reloads or {{}} gg.safe_reloads.{} = true",
                    NAMES[module]
                ),
                "",
            )?;
        }
        let reload = Reload {
            versions,
            texts: &texts,
            options: format!("scope = {scope}, on_conflict = '{conflict}'{data}"),
            how: How {
                everywhere,
                on_conflict: round.on_conflict,
                policy: round.policy,
            },
        };
        self.trial(round, &reload)?;
        match self.expect(&reload)? {
            None => {
                self.count("refused for conflicts");
                self.unchanged(&reload, &texts, "", Some("conflict"))?;
                self.compare("after a refusal")?;
                Err(Stop::Refused)
            }
            Some(done) => {
                for done in &done {
                    let data = done.data();
                    for (what, count) in [
                        ("values that followed the file", data.followed),
                        ("values that stayed", data.stayed),
                        ("values that went", data.gone),
                        ("imports that followed the other module", data.imported),
                    ] {
                        *self.sums.done.entry(what).or_default() += count;
                    }
                }
                self.count(RELOADS);
                if versions.len() > 1 {
                    self.count("of two modules");
                }
                self.count(match round.policy {
                    Policy::Keep => "that keep data",
                    Policy::Merge => "that merge data",
                    Policy::Replace | Policy::Marked => "that replace data",
                });
                self.reload(&reload)?;
                self.compare("after the reload")?;
                if round.again {
                    self.count("reloads of the same text");
                    if self.expect(&reload)?.is_none() {
                        return Err(Stop::Wrong(self.wrong("a conflict with the same text")));
                    }
                    self.reload(&reload)?;
                    self.compare("after a second reload of the same text")?;
                }
                Ok(())
            }
        }
    }

    /// Reloads the modules of the reference program, one after the other; none if they are refused,
    /// and nothing was done.
    fn expect(&mut self, reload: &Reload) -> Result<Option<Vec<Undo>>, Open> {
        let before = (self.heap.clone(), self.oracle.clone(), self.second.clone());
        let mut done = Vec::new();
        for version in reload.versions {
            let mut how = reload.how;
            if how.policy == Policy::Marked && !self.marked[usize::from(version.module)] {
                how.policy = Policy::Keep;
            }
            let (own, other) = match version.module {
                0 => (&mut self.oracle, &self.second),
                _ => (&mut self.second, &self.oracle),
            };
            match own.reload(&mut self.heap, version, how, other)? {
                Expected::Done(undo) => done.push(undo),
                // All or none (R7.4).
                Expected::Refused => {
                    (self.heap, self.oracle, self.second) = before;
                    return Ok(None);
                }
            }
        }
        Ok(Some(done))
    }

    fn write(&self, reload: &Reload, texts: &[String]) {
        for (version, text) in reload.versions.iter().zip(texts) {
            self.program.write(NAMES[usize::from(version.module)], text);
        }
    }

    /// Reloads the modules; a sweep in slices is carried to its end.
    fn reload(&mut self, reload: &Reload) -> Result<(), String> {
        self.begin(reload)?;
        if reload.options.contains("budget_ms") {
            self.lua("repeat until require('hotreload').sweep(0.001)", "")?;
        }
        Ok(())
    }

    fn begin(&mut self, reload: &Reload) -> Result<(), String> {
        self.write(reload, reload.texts);
        self.lua(
            &format!(
                "test.f = nil local ok, message = gg.reload({}, {{ {} }}) if not ok then \
                 error(message, 0) end",
                reload.names(),
                reload.options
            ),
            "",
        )
    }

    /// A reload that is dry, or is refused with a message that holds this, changes nothing.
    fn unchanged(
        &mut self,
        reload: &Reload,
        texts: &[String],
        more: &str,
        refused: Option<&str>,
    ) -> Result<(), String> {
        self.write(reload, texts);
        for text in texts {
            let _ = writeln!(self.story, "---- with the text\n{text}");
        }
        let wrong = match refused {
            None => "not ok".to_owned(),
            Some(message) => format!("ok or not message:find([[{message}]], 1, true)"),
        };
        self.lua(
            &format!(
                "test.f = nil test.snapshot() local ok, message = gg.reload({}, {{ {}{more} }})
                local changes = test.changes() if changes then error(changes, 0) end
                if {wrong} then \
                error('it should be another outcome: ' .. tostring(message), 0) end",
                reload.names(),
                reload.options
            ),
            "",
        )
    }

    /// What else is tried with the next versions before they are reloaded.
    fn trial(&mut self, round: &Round, reload: &Reload) -> Result<(), Stop> {
        let before = (self.heap.clone(), self.oracle.clone(), self.second.clone());
        let expected = self.expect(reload);
        let after = (self.heap.clone(), self.oracle.clone(), self.second.clone());
        (self.heap, self.oracle, self.second) = before;
        let expected = expected?;
        let failing = if round.first_fails {
            0
        } else {
            reload.versions.len() - 1
        };
        let with = |change: &dyn Fn(&str) -> String| {
            let mut texts = reload.texts.to_vec();
            texts[failing] = change(&texts[failing]);
            texts
        };
        let cut = |text: &str, tail: &str| {
            let text = text.trim_end().trim_end_matches("return M").trim_end();
            format!("{text}\n{tail}\n")
        };
        let name = NAMES[usize::from(reload.versions[0].module)];
        let single = reload.versions.len() == 1;
        match (round.trial, expected) {
            (Trial::Nothing, _) => {}
            (Trial::Dry, expected) => {
                self.count("dry runs");
                let message = expected.is_none().then_some("conflict");
                self.unchanged(reload, reload.texts, ", dry_run = true", message)?;
            }
            (Trial::Raises, _) => {
                self.count("versions that raise");
                let texts = with(&|text| cut(text, "error 'at the end'"));
                self.unchanged(reload, &texts, "", Some("at the end"))?;
            }
            (Trial::Syntax, _) => {
                self.count("versions that do not compile");
                let texts = with(&|text| format!("{text} end"));
                self.unchanged(reload, &texts, "", Some("expected"))?;
            }
            (Trial::Kind, _) => {
                self.count("versions that return something else");
                let texts = with(&|text| cut(text, "return 5"));
                self.unchanged(reload, &texts, ", on_conflict = 'error'", Some(""))?;
            }
            (_, None) => {}
            (Trial::Hook, Some(_)) => {
                self.count("hooks that raise");
                let hook = match reload.versions[failing].style {
                    Style::Returned | Style::KeptAndReturned => {
                        "function M.__hotfix() error 'in the hook' end return M"
                    }
                    Style::Global | Style::Kept => "function __hotfix() error 'in the hook' end",
                };
                let texts = with(&|text| cut(text, hook));
                self.unchanged(reload, &texts, "", Some("in the hook"))?;
            }
            (Trial::Undone | Trial::UndoneLater, Some(_)) if !single => {}
            (Trial::Undone, Some(done)) => {
                self.count("reloads undone at once");
                if reload.how.everywhere {
                    // R9.2: what referred to an older generation refers to the last one then.
                    self.begin(reload)?;
                    self.lua(
                        &format!("test.f = nil assert(require('hotreload').undo '{name}')"),
                        "",
                    )?;
                    (self.heap, self.oracle, self.second) = after;
                    self.undo(reload, &done);
                    self.compare("after it was undone")?;
                    return Ok(());
                }
                self.write(reload, reload.texts);
                self.lua(
                    &format!(
                        "test.f = nil test.snapshot() assert(gg.reload('{name}', {{ {} }}))
                        assert(require('hotreload').undo '{name}')
                        local changes = test.changes() if changes then error(changes, 0) end",
                        reload.options
                    ),
                    "",
                )?;
            }
            (Trial::UndoneLater, Some(done)) => {
                self.count("reloads undone later");
                (self.heap, self.oracle, self.second) = after;
                self.reload(reload)?;
                self.compare("after the reload that will be undone")?;
                self.lua(
                    &format!("test.f = nil assert(require('hotreload').undo '{name}')"),
                    "",
                )?;
                self.undo(reload, &done);
                self.compare("after it was undone")?;
            }
        }
        Ok(())
    }

    /// Undoes the reload of one module.
    fn undo(&mut self, reload: &Reload, done: &[Undo]) {
        let own = match reload.versions[0].module {
            0 => &mut self.oracle,
            _ => &mut self.second,
        };
        for undo in done {
            own.undo(&mut self.heap, undo);
        }
    }

    /// Does something at run time, in both programs. Where there is nothing to do it with, nothing
    /// is done.
    fn step(&mut self, op: &Op) -> Result<(), String> {
        let heap = &mut self.heap;
        let function = |heap: &Heap, n: u8| {
            let count = heap.told_functions.len();
            let at = usize::from(n).checked_rem(count)?;
            Some((
                Value::Function(heap.told_functions[at]),
                format!("test.f[{}]", at + 1),
            ))
        };
        let table = |heap: &Heap, n: u8| {
            let at = usize::from(n).checked_rem(heap.told_tables.len())?;
            let (table, number) = heap.told_tables[at];
            let origin = heap.tables[table]
                .origin
                .as_deref()
                .unwrap_or("made at run time");
            Some((table, format!("test.t[{number}]"), format!(" -- {origin}")))
        };
        let data = |heap: &Heap, n: u8| {
            table(heap, n).filter(|(t, ..)| ![GLOBALS, LIST, HELD].contains(t))
        };
        let row = |heap: &Heap, t: usize, n: u8| {
            let length = heap.length(t);
            Some(i64::from(n).checked_rem(length)? + 1)
        };
        let append = |heap: &mut Heap, value: Value| {
            let key = Key::Int(heap.length(HELD) + 1);
            heap.put(HELD, key, value);
        };
        let line = match *op {
            Op::Call(f, n, argument) => function(heap, f).and_then(|(f, text)| {
                let (v, v_text) = match argument {
                    None => (Value::Nil, "nil".to_owned()),
                    Some(Argument::False) => (Value::False, "false".to_owned()),
                    Some(Argument::Num(v)) => (Value::Num(i64::from(v)), v.to_string()),
                    Some(Argument::Function(v)) => function(heap, v)?,
                };
                heap.call(f, &[Value::Num(i64::from(n)), v]);
                Some(format!("{text}({n}, {v_text})"))
            }),
            Op::Method(t, key, n) => table(heap, t).map(|(t, text, note)| {
                let f = heap.index(t, &Key::name(format!("f{key}")));
                if heap::is_function(f) {
                    heap.call(f, &[Value::Table(t), Value::Num(i64::from(n))]);
                }
                format!("test.method({text}, 'f{key}', {n}){note}")
            }),
            Op::Make(f, v) => function(heap, f).map(|(f, text)| {
                let made = heap.call(f, &[Value::Num(1), Value::Num(i64::from(v))]);
                if made != Value::Nil {
                    append(heap, made);
                }
                format!("test.make({text}, {v})")
            }),
            Op::Hold(f) => function(heap, f).map(|(f, text)| {
                append(heap, f);
                format!("test.hold({text})")
            }),
            Op::HoldTable(t) => table(heap, t).map(|(t, text, note)| {
                append(heap, Value::Table(t));
                format!("test.hold({text}){note}")
            }),
            Op::SetField(t, key, value) => table(heap, t).map(|(t, text, note)| {
                heap.put(t, Key::name(format!("d{key}")), heap::scalar(value));
                format!("{text}.d{key} = {}{note}", render::scalar(value))
            }),
            Op::RemoveField(t, key) => table(heap, t).map(|(t, text, note)| {
                heap.put(t, Key::name(format!("d{key}")), Value::Nil);
                format!("{text}.d{key} = nil{note}")
            }),
            Op::StoreFunction(t, key, f) => {
                table(heap, t)
                    .zip(function(heap, f))
                    .map(|((t, text, note), (f, f_text))| {
                        heap.put(t, Key::name(format!("r{key}")), f);
                        format!("{text}.r{key} = {f_text}{note}")
                    })
            }
            Op::StoreTable(t, key, other) => table(heap, t).zip(table(heap, other)).map(
                |((t, text, note), (other, other_text, _))| {
                    heap.put(t, Key::name(format!("r{key}")), Value::Table(other));
                    format!("{text}.r{key} = {other_text}{note}")
                },
            ),
            Op::ReplaceTable(t, key) => table(heap, t).map(|(t, text, note)| {
                let new = heap.table(None);
                heap.put(t, Key::name(format!("d{key}")), Value::Table(new));
                format!("{text}.d{key} = {{}}{note}")
            }),
            Op::Append(t, value) => data(heap, t).map(|(t, text, note)| {
                heap.put(t, Key::Int(heap.length(t) + 1), heap::scalar(value));
                format!("{text}[#{text} + 1] = {}{note}", render::scalar(value))
            }),
            Op::AppendTable(t, value) => data(heap, t).map(|(t, text, note)| {
                let row = heap.table(None);
                heap.put(row, Key::name("d0"), heap::scalar(value));
                heap.put(t, Key::Int(heap.length(t) + 1), Value::Table(row));
                format!(
                    "{text}[#{text} + 1] = {{ d0 = {} }}{note}",
                    render::scalar(value)
                )
            }),
            Op::RemoveRow(t, n) => data(heap, t).and_then(|(t, text, note)| {
                let row = row(heap, t, n)?;
                let length = heap.length(t);
                for n in row..=length {
                    heap.put(t, Key::Int(n), heap.get(t, &Key::Int(n + 1)));
                }
                Some(format!("table.remove({text}, {row}){note}"))
            }),
            Op::SetRow(t, n, value) => data(heap, t).and_then(|(t, text, note)| {
                let row = row(heap, t, n)?;
                heap.put(t, Key::Int(row), heap::scalar(value));
                Some(format!("{text}[{row}] = {}{note}", render::scalar(value)))
            }),
            Op::SwapRows(t, n, m) => data(heap, t).and_then(|(t, text, note)| {
                let (n, m) = row(heap, t, n).zip(row(heap, t, m))?;
                let (first, second) = (heap.get(t, &Key::Int(n)), heap.get(t, &Key::Int(m)));
                heap.put(t, Key::Int(n), second);
                heap.put(t, Key::Int(m), first);
                Some(format!(
                    "{text}[{n}], {text}[{m}] = {text}[{m}], {text}[{n}]{note}"
                ))
            }),
            Op::Patch(t, n) => table(heap, t).and_then(|(t, text, note)| {
                let fields = heap.tables[t].fields.clone();
                let functions: Vec<_> = fields
                    .into_iter()
                    .filter_map(|(key, value)| match (key, value) {
                        (Key::Name(key), Value::Function(f)) if !heap.functions[f].is_patch() => {
                            Some((key, value))
                        }
                        _ => None,
                    })
                    .collect();
                let (key, value) = functions.get(usize::from(n).checked_rem(functions.len())?)?;
                let old = heap.cell(*value);
                let patch = heap.closure(Kind::Foreign, [("old".to_owned(), old)].into());
                heap.put(t, Key::name(key.clone()), Value::Function(patch));
                Some(format!("test.patch({text}, '{key}'){note}"))
            }),
            Op::SetGlobal(key, value) => {
                heap.put(GLOBALS, Key::name(format!("g_d{key}")), heap::scalar(value));
                Some(format!("g_d{key} = {}", render::scalar(value)))
            }
        };
        let expected = std::mem::take(&mut self.heap.log).join(" ");
        match line {
            Some(line) => self.lua(&line, &expected),
            None => Ok(()),
        }
    }
}
