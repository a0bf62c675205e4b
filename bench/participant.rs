//! One who reloads the module, in a state of its own, and what that cost.

use std::time::Duration;

use mlua::{Function, Value};

use crate::cases::{Case, Kind, Subject, tenth};
use crate::host::Host;
use crate::module::{Module, NAME};
use crate::{Outcome, clock, memory};

/// Who reloads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Reads, compiles and runs the file, and nothing else.
    Floor,
    Library,
    SevenSteps,
}

impl Who {
    pub const ALL: [Self; 3] = [Self::Floor, Self::Library, Self::SevenSteps];

    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Library => "hotreload",
            Self::SevenSteps => "seven-steps",
        }
    }

    /// The rounds it takes part in, and its reloads in each: the seven steps walk all data, which
    /// takes them seconds where there is much.
    fn rounds(self, case: &Case) -> (usize, u32) {
        match self {
            // It does not know which tables of a real file are others'.
            Self::SevenSteps if matches!(case.subject, Subject::File(_)) => (0, 1),
            Self::SevenSteps if case.rows > 100_000 => (case.rounds.min(3), 1),
            Self::SevenSteps if case.rows > 1000 => (case.rounds, 1),
            _ => (case.rounds, case.batch),
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Floor => include_str!("floor.lua"),
            Self::Library => include_str!("hotreload.lua"),
            Self::SevenSteps => include_str!("seven_steps.lua"),
        }
    }
}

/// A participant at work. The fields are in the order in which they have to be dropped.
pub struct Participant {
    who: Who,
    /// What a reload took, one for each round.
    pub times: Vec<Duration>,
    /// What a reload with the full collection after it took, one for each round.
    pub collected: Vec<Duration>,
    /// The most bytes that the state and the library held during a reload.
    pub peak: usize,
    /// Bytes held after a tenth of the rounds, when all garbage was gone.
    pub held_early: Option<usize>,
    step: Function,
    check: Function,
    host: Host,
    /// Bytes that the state and the library hold between reloads.
    held: usize,
}

impl Participant {
    /// Loads the module in a new state and lets a program work with it.
    pub fn new(who: Who, case: &Case, module: &Module) -> Outcome<Self> {
        let before = memory::held();
        let host = Host::new(module.folder())?;
        let require: Function = host.lua().globals().get("require")?;
        let object: Value = require.call(NAME)?;
        let program = match case.subject {
            Subject::File(_) => host.run("check_file", include_str!("check_file.lua"))?,
            _ => host.run("check", include_str!("check.lua"))?,
        };
        let (keeps_data, base) = (who != Who::Floor, module.base());
        let args = (
            object.clone(),
            case.rows,
            module.version(),
            keeps_data,
            base,
        );
        let check = program.call(args)?;
        let path = module.path().to_string_lossy();
        let reloader = host.run(who.name(), who.text())?;
        let step = reloader.call((NAME, path.as_ref(), object, case.rows))?;
        host.collect()?;
        let held = memory::held().saturating_sub(before);
        Ok(Self {
            who,
            times: Vec::with_capacity(case.rounds),
            collected: Vec::with_capacity(case.rounds),
            peak: held,
            held_early: None,
            step,
            check,
            host,
            held,
        })
    }

    /// One round: some reloads of a new version each. Their mean is the round's time, so that it
    /// holds the collector's share, whose work comes in waves.
    pub fn turn(&mut self, round: usize, case: &Case, module: &mut Module) -> Outcome<()> {
        let (rounds, batch) = self.who.rounds(case);
        if round >= rounds {
            return Ok(());
        }
        let mut sum = Duration::ZERO;
        for _ in 0..batch {
            module.change()?;
            sum += self.reload(module, false)?;
        }
        self.times.push(sum / batch);
        if round + 1 == tenth(case.rounds) {
            self.held_early = match case.kind {
                Kind::Drift => Some(self.collect()?),
                _ => None,
            };
        }
        Ok(())
    }

    /// A reload that no profiler counts, since nothing is kept of an earlier one yet; then so many
    /// that it counts.
    pub fn counted(&mut self, rounds: usize, module: &mut Module) -> Outcome<()> {
        module.change()?;
        self.uncounted()?;
        for _ in 0..rounds {
            module.change()?;
            self.reload(module, false)?;
        }
        Ok(())
    }

    /// A reload that no profiler counts.
    pub fn uncounted(&self) -> Outcome<()> {
        Ok(self.step.call::<()>(())?)
    }

    /// One reload, with the full collection that clears up after it.
    pub fn turn_with_collection(&mut self, module: &mut Module) -> Outcome<()> {
        self.collect()?;
        module.change()?;
        let time = self.reload(module, true)?;
        self.collected.push(time);
        Ok(())
    }

    /// One reload, timed, and then checked.
    pub fn reload(&mut self, module: &Module, with_collection: bool) -> Outcome<Duration> {
        let start = memory::held();
        memory::restart_peak();
        let (mut time, object) = measured(&self.step);
        if with_collection {
            let before = clock::now();
            self.host.lua().gc_collect()?;
            time += clock::now().saturating_sub(before);
        }
        self.peak = self.peak.max(self.held + memory::peak() - start);
        self.check.call::<()>((object?, module.version()))?;
        self.settle(start);
        Ok(time)
    }

    /// Bytes held when all garbage is gone.
    pub fn collect(&mut self) -> Outcome<usize> {
        let start = memory::held();
        self.host.collect()?;
        self.settle(start);
        Ok(self.held)
    }

    fn settle(&mut self, start: usize) {
        self.held = (self.held + memory::held()).saturating_sub(start);
    }
}

/// The measured call, by itself: a profiler can be told to count inside it only.
#[inline(never)]
pub fn measured(step: &Function) -> (Duration, mlua::Result<Value>) {
    let before = clock::now();
    let object = step.call(());
    (clock::now().saturating_sub(before), object)
}
