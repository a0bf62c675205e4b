//! Registrations on a bus (R5.4): a module that registers handlers while it is loaded, edits of
//! these registrations, and a program that registers and removes entries of its own.
//!
//! The rules in short: each registration of the file is there once, with the file's code and one
//! counter; what the program registered stays; what the program removed stays away, as soon as a
//! reload has put the module's calls on record; what the file no longer has stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use proptest::collection::vec;
use proptest::prelude::*;

use super::support::Program;
use super::try_all;

/// How the bus keeps its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kept {
    /// A list of records.
    Records,
    /// A list of functions for each event, made on demand.
    Lists,
    /// Records by running numbers, with a second list of their events.
    Numbered,
    /// A list of closures over the handlers.
    Wrapped,
}

/// What a registration registers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Handler {
    /// A function of the module's object.
    Named(u8),
    /// A function without a name. An event has one at most.
    Anonymous,
}

type Call = (u8, Handler);

#[derive(Clone, Copy, Debug)]
enum Edit {
    Add(u8, Handler),
    Twice(u8),
    Remove(u8),
    Rename(u8, u8),
    Swap(u8, u8),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Fire,
    /// The program registers a function of its own.
    Register(u8),
    /// The program removes the entry with this number, modulo what there is.
    Remove(u8),
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
    vm: bool,
}

#[derive(Clone, Debug)]
struct Case {
    kept: Kept,
    others: u16,
    calls: Vec<Call>,
    rounds: Vec<Round>,
}

/// An entry of the bus.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Entry {
    Module {
        event: u8,
        handler: Handler,
        revision: u32,
    },
    Program {
        event: u8,
        number: u32,
    },
}

impl Entry {
    fn event(&self) -> u8 {
        match self {
            Entry::Module { event, .. } | Entry::Program { event, .. } => *event,
        }
    }
}

/// The program, as the rules want it.
#[derive(Clone, Default)]
struct Model {
    entries: Vec<Entry>,
    made: u32,
    recorded: Option<BTreeMap<Call, u32>>,
    /// Events that have had an entry.
    known: BTreeSet<u8>,
}

impl Model {
    fn on(&mut self, entry: Entry, by_event: bool) {
        self.made += 1;
        self.known.insert(entry.event());
        // Lists by events are told in the order of the events.
        let at = self
            .entries
            .iter()
            .position(|other| by_event && other.event() > entry.event());
        self.entries.insert(at.unwrap_or(self.entries.len()), entry);
    }

    /// What the file no longer registers stays. A named function is in the file in any case, and a
    /// sweep puts it in the place of its older generations; to undo that puts the last one
    /// there. Entries that the calls repeat are no matter of the sweep's.
    fn sweep(&mut self, to: u32, calls: &[Call]) {
        let repeated = self.repeated(calls);
        for (entry, _) in self
            .entries
            .iter_mut()
            .zip(repeated)
            .filter(|(_, repeated)| !repeated)
        {
            if let Entry::Module {
                handler: Handler::Named(_),
                revision,
                ..
            } = entry
            {
                *revision = to;
            }
        }
    }

    /// Which entries the calls repeat: the first ones that are the same and not taken.
    fn repeated(&self, calls: &[Call]) -> Vec<bool> {
        let mut taken = vec![false; self.entries.len()];
        for call in calls {
            let is = |entry: &Entry| {
                matches!(entry, Entry::Module { event, handler, .. }
                    if (*event, *handler) == *call)
            };
            if let Some(i) = (0..taken.len()).find(|i| !taken[*i] && is(&self.entries[*i])) {
                taken[i] = true;
            }
        }
        taken
    }

    fn reload(&mut self, calls: &[Call], revision: u32, by_event: bool, vm: bool) {
        let mut made: BTreeMap<Call, u32> = BTreeMap::new();
        let before = self.entries.len();
        let mut begun = BTreeSet::new();
        let mut taken = vec![false; before];
        let mut new = Vec::new();
        for call in calls {
            let is = |entry: &Entry| {
                matches!(entry, Entry::Module { event, handler, .. }
                    if (*event, *handler) == *call)
            };
            let there = (0..before).find(|i| !taken[*i] && is(&self.entries[*i]));
            let count = made.entry(*call).or_default();
            if let Some(i) = there {
                taken[i] = true;
                if let Entry::Module { revision: of, .. } = &mut self.entries[i] {
                    *of = revision;
                }
            } else if self
                .recorded
                .as_ref()
                .is_none_or(|recorded| *count >= recorded.get(call).copied().unwrap_or(0))
            {
                new.push(*call);
            }
            // The list of an event that a call has made is the load's own: what later calls do to
            // it is not seen, so they are not on record.
            if !by_event || self.known.contains(&call.0) || begun.insert(call.0) {
                *count += 1;
            }
        }
        if vm {
            self.sweep(revision, calls);
        }
        for (event, handler) in new {
            self.on(
                Entry::Module {
                    event,
                    handler,
                    revision,
                },
                by_event,
            );
        }
        self.recorded = Some(made);
    }

    fn fire(&self, n: &mut u32) -> String {
        let mut out = Vec::new();
        for entry in &self.entries {
            out.push(match entry {
                Entry::Program { number, .. } => format!("p{number}"),
                Entry::Module {
                    event,
                    handler,
                    revision,
                } => {
                    *n += 1;
                    match handler {
                        Handler::Named(name) => format!("h{name} r{revision} {n}"),
                        Handler::Anonymous => format!("a{event} r{revision} {n}"),
                    }
                }
            });
        }
        format!("{}; {} made", out.join(", "), self.made)
    }
}

const HANDLERS: u8 = 3;

fn bus(kept: Kept) -> &'static str {
    match kept {
        Kept::Records => {
            "local list, made, bus = {}, 0, {}
            function bus.on(event, f) made = made + 1 list[#list + 1] = { event = event, f = f } end
            function bus.all() local out = {} for i, e in ipairs(list) do out[i] = e.f end \
            return out, made end
            function bus.remove(i) table.remove(list, i) end
            return bus"
        }
        Kept::Lists => {
            "local lists, made, bus = {}, 0, {}
            local function sorted()
                local events = {}
                for event in pairs(lists) do events[#events + 1] = event end
                table.sort(events)
                return ipairs(events)
            end
            function bus.on(event, f)
                made = made + 1
                lists[event] = lists[event] or {}
                table.insert(lists[event], f)
            end
            function bus.all()
                local out = {}
                for _, event in sorted() do
                    for _, f in ipairs(lists[event]) do out[#out + 1] = f end
                end
                return out, made
            end
            function bus.remove(i)
                for _, event in sorted() do
                    if i <= #lists[event] then return table.remove(lists[event], i) end
                    i = i - #lists[event]
                end
            end
            return bus"
        }
        Kept::Numbered => {
            "local bus = { by_id = {}, event_of = {}, made = 0 }
            function bus.on(event, f)
                bus.made = bus.made + 1
                local id = bus.made
                bus.by_id[id] = { event = event, f = f, id = id }
                bus.event_of[id] = event
                return id
            end
            local function ids()
                local list = {}
                for id in pairs(bus.by_id) do list[#list + 1] = id end
                table.sort(list)
                return list
            end
            function bus.all()
                local out = {}
                for i, id in ipairs(ids()) do out[i] = bus.by_id[id].f end
                return out, bus.made
            end
            function bus.remove(i)
                local id = ids()[i]
                bus.by_id[id], bus.event_of[id] = nil, nil
            end
            return bus"
        }
        Kept::Wrapped => {
            "local list, made, bus = {}, 0, {}
            function bus.on(event, f)
                made = made + 1
                table.insert(list, { event, function() return f() end })
            end
            function bus.all() local out = {} for i, e in ipairs(list) do out[i] = e[2] end \
            return out, made end
            function bus.remove(i) table.remove(list, i) end
            return bus"
        }
    }
}

fn file(calls: &[Call], revision: u32) -> String {
    let mut text = String::from("local bus = require 'bus'\nlocal M, n = {}, 0\n");
    for name in 0..HANDLERS {
        let _ = writeln!(
            text,
            "function M.h{name}() n = n + 1 return 'h{name} r{revision} ' .. n end"
        );
    }
    for (event, handler) in calls {
        let _ = match handler {
            Handler::Named(name) => writeln!(text, "bus.on('e{event}', M.h{name})"),
            Handler::Anonymous => writeln!(
                text,
                "bus.on('e{event}', function() n = n + 1 return 'a{event} r{revision} ' .. n end)"
            ),
        };
    }
    text.push_str("return M\n");
    text
}

fn edit(calls: &mut Vec<Call>, edit: Edit) {
    let has_anonymous = |calls: &[Call], event: u8| calls.contains(&(event, Handler::Anonymous));
    let at = |i: u8| (!calls.is_empty()).then(|| usize::from(i) % calls.len());
    match edit {
        Edit::Add(event, handler) => {
            if handler != Handler::Anonymous || !has_anonymous(calls, event) {
                calls.push((event, handler));
            }
        }
        Edit::Twice(i) => {
            if let Some(i) = at(i).filter(|i| calls[*i].1 != Handler::Anonymous) {
                calls.push(calls[i]);
            }
        }
        Edit::Remove(i) => {
            if let Some(i) = at(i) {
                calls.remove(i);
            }
        }
        Edit::Rename(i, event) => {
            if let Some(i) =
                at(i).filter(|i| calls[*i].1 != Handler::Anonymous || !has_anonymous(calls, event))
            {
                calls[i].0 = event;
            }
        }
        Edit::Swap(i, k) => {
            if let (Some(i), Some(k)) = (at(i), at(k)) {
                calls.swap(i, k);
            }
        }
    }
}

const TELL: &str = "local all, made = require 'bus'.all()
    local out = {}
    for i, f in ipairs(all) do out[i] = f() end
    return table.concat(out, ', ') .. '; ' .. made .. ' made'";

fn try_case(case: &Case) -> Result<(), String> {
    let program = Program::new();
    let (mut model, mut n, mut own, mut story) = (Model::default(), 0, 0, String::new());
    let by_event = case.kept == Kept::Lists;
    let mut calls = Vec::new();
    for (event, handler) in &case.calls {
        edit(&mut calls, Edit::Add(*event, *handler));
    }
    let mut revision = 1;
    let told = |model: &Model, n: &mut u32, story: &str| {
        let expected = model.fire(n);
        let is = program.run(TELL)?;
        (is == expected)
            .then_some(())
            .ok_or_else(|| format!("{story}\nis       {is}\nexpected {expected}"))
    };
    let _ = writeln!(
        story,
        "---- bus\n{}\n---- first\n{}",
        bus(case.kept),
        file(&calls, revision)
    );
    program.write("bus", bus(case.kept));
    program.write("m", file(&calls, revision));
    let register = |model: &mut Model, own: &mut u32, event: u8| {
        *own += 1;
        program.must(&format!(
            "require 'bus'.on('e{event}', function() return 'p{own}' end)"
        ));
        model.on(
            Entry::Program {
                event,
                number: *own,
            },
            by_event,
        );
    };
    for i in 0..case.others {
        register(&mut model, &mut own, (i % 7) as u8);
    }
    program.must("require 'm'");
    for (event, handler) in &calls {
        let entry = Entry::Module {
            event: *event,
            handler: *handler,
            revision,
        };
        model.on(entry, by_event);
    }
    told(&model, &mut n, &story)?;
    for round in &case.rounds {
        for step in &round.steps {
            let _ = writeln!(story, "---- {step:?}");
            match step {
                Step::Fire => {}
                Step::Register(event) => register(&mut model, &mut own, *event),
                Step::Remove(i) => {
                    if !model.entries.is_empty() {
                        let i = usize::from(*i) % model.entries.len();
                        model.entries.remove(i);
                        program.must(&format!("require 'bus'.remove({})", i + 1));
                    }
                }
            }
            told(&model, &mut n, &story)?;
        }
        let mut edited = calls.clone();
        for change in &round.edits {
            edit(&mut edited, *change);
        }
        let mut text = file(&edited, revision + 1);
        if round.outcome == Outcome::Raises {
            text = text.replace("return M\n", "error 'no'\n");
        }
        let _ = writeln!(
            story,
            "---- {:?}, scope vm: {}\n{text}",
            round.outcome, round.vm
        );
        program.write("m", &text);
        let scope = if round.vm { "vm" } else { "module" };
        let dry = round.outcome == Outcome::Dry;
        let reload =
            format!("local ok, why = gg.reload('m', {{ scope = '{scope}', dry_run = {dry} }})");
        let wanted = round.outcome != Outcome::Raises;
        let undo = match round.outcome {
            Outcome::Undone => {
                "local done, why = require 'hotreload'.undo 'm' if not done then error(why) end"
            }
            _ => "",
        };
        program
            .run(&format!(
                "{reload} if ok ~= {wanted} then error(tostring(why)) end {undo}"
            ))
            .map_err(|message| format!("{story}\n{message}"))?;
        if round.outcome == Outcome::Kept {
            calls = edited;
            revision += 1;
            model.reload(&calls, revision, by_event, round.vm);
        } else if round.outcome == Outcome::Undone && round.vm {
            model.sweep(revision, &edited);
        }
        told(&model, &mut n, &story)?;
    }
    Ok(())
}

fn handler() -> impl Strategy<Value = Handler> {
    prop_oneof![
        3 => (0..HANDLERS).prop_map(Handler::Named),
        2 => Just(Handler::Anonymous),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let event = || 0..5_u8;
    let step = prop_oneof![
        Just(Step::Fire),
        event().prop_map(Step::Register),
        any::<u8>().prop_map(Step::Remove),
    ];
    let edit = prop_oneof![
        (event(), handler()).prop_map(|(event, handler)| Edit::Add(event, handler)),
        any::<u8>().prop_map(Edit::Twice),
        any::<u8>().prop_map(Edit::Remove),
        (any::<u8>(), event()).prop_map(|(i, event)| Edit::Rename(i, event)),
        (any::<u8>(), any::<u8>()).prop_map(|(i, k)| Edit::Swap(i, k)),
    ];
    let outcome = prop_oneof![
        4 => Just(Outcome::Kept),
        1 => Just(Outcome::Dry),
        1 => Just(Outcome::Raises),
        1 => Just(Outcome::Undone),
    ];
    let round = (vec(step, 0..4), vec(edit, 0..4), outcome, any::<bool>()).prop_map(
        |(steps, edits, outcome, vm)| Round {
            steps,
            edits,
            outcome,
            vm,
        },
    );
    let kept = prop_oneof![
        Just(Kept::Records),
        Just(Kept::Lists),
        Just(Kept::Numbered),
        Just(Kept::Wrapped),
    ];
    let others = prop_oneof![4 => 0..4_u16, 1 => 30..80_u16];
    let calls = vec((event(), handler()), 0..7);
    (kept, others, calls, vec(round, 1..5)).prop_map(|(kept, others, calls, rounds)| Case {
        kept,
        others,
        calls,
        rounds,
    })
}

#[test]
fn registrations_are_there_once() {
    try_all(&case(), try_case);
}
