//! What is measured: modules that differ in code, modules that differ in data, and one small module
//! many times.

/// One module, and how often each participant reloads it: `rounds` times `batch`.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub functions: u32,
    pub rows: u32,
    pub rounds: usize,
    /// Reloads by one participant in one round.
    pub batch: u32,
    /// The most that the library may cost, in floors.
    pub goal: Option<f64>,
    pub kind: Kind,
}

/// What the figures of a case are about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The size of the code.
    Code,
    /// The size of the data, which is not to matter.
    Data,
    /// Many reloads in a row: the last are not to be dearer than the first.
    Drift,
}

const CODE_GOAL: Option<f64> = Some(1.15);
const DATA_GOAL: Option<f64> = Some(1.2);

/// All cases, in the order of the table.
pub const CASES: [Case; 7] = [
    code("100", 100, 51, 6),
    code("1000", 1000, 31, 6),
    code("5000", 5000, 21, 6),
    data("rows-10", 10, 51, 6),
    data("rows-10000", 10_000, 51, 6),
    data("rows-1000000", 1_000_000, 51, 6),
    Case {
        name: "drift",
        functions: 20,
        rows: 0,
        rounds: 10_000,
        batch: 1,
        goal: None,
        kind: Kind::Drift,
    },
];

const fn code(name: &'static str, functions: u32, rounds: usize, batch: u32) -> Case {
    Case {
        name,
        functions,
        rows: 0,
        rounds,
        batch,
        goal: CODE_GOAL,
        kind: Kind::Code,
    }
}

const fn data(name: &'static str, rows: u32, rounds: usize, batch: u32) -> Case {
    Case {
        name,
        functions: 50,
        rows,
        rounds,
        batch,
        goal: DATA_GOAL,
        kind: Kind::Data,
    }
}

impl Case {
    /// What the case is, for the table.
    pub fn title(&self) -> String {
        match self.kind {
            Kind::Code => format!("{} functions", self.functions),
            Kind::Data => format!("{} functions, {} rows", self.functions, self.rows),
            Kind::Drift => format!("{} functions, {} times", self.functions, self.rounds),
        }
    }
}
