//! What is measured: modules that differ in code, in data, or in what is edited, and one small
//! module many times.

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
    pub subject: Subject,
    pub edit: Edit,
}

/// Which file is reloaded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// What `module.lua` makes.
    Generated,
    /// The same, but most functions are closures that a few factories make while the chunk runs.
    Factories,
    /// A file of a Debian package; the case is left out where that is not installed.
    File(&'static str),
}

/// How one version of the file differs from the one before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// Every function has another constant.
    All,
    /// One function in the middle has.
    One,
    /// One function has another number of lines, so all that follow have moved.
    Lines,
    /// The file begins with another local, and one function has another constant.
    Local,
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
pub const CASES: [Case; 18] = [
    code("100", 100, 51, 6),
    code("1000", 1000, 31, 6),
    code("5000", 5000, 21, 6),
    edit("one-50", 50, Edit::One, 0.75),
    edit("one-100", 100, Edit::One, 0.65),
    edit("one-1000", 1000, Edit::One, 0.55),
    edit("one-5000", 5000, Edit::One, 0.5),
    edit("lines-1000", 1000, Edit::Lines, 0.9),
    edit("local-1000", 1000, Edit::Local, 0.9),
    Case {
        subject: Subject::Factories,
        goal: Some(1.35),
        ..code("factories-1000", 1000, 31, 6)
    },
    file("argparse", "/usr/share/lua/5.4/argparse.lua"),
    file("pl.xml", "/usr/share/lua/5.4/pl/xml.lua"),
    file("luacheck.parser", "/usr/share/lua/5.1/luacheck/parser.lua"),
    Case {
        name: "factories-one-1000",
        edit: Edit::One,
        subject: Subject::Factories,
        ..code("", 1000, 31, 6)
    },
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
        subject: Subject::Generated,
        edit: Edit::All,
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
        subject: Subject::Generated,
        edit: Edit::All,
    }
}

const fn edit(name: &'static str, functions: u32, edit: Edit, goal: f64) -> Case {
    Case {
        edit,
        goal: Some(goal),
        ..code(name, functions, 31, 6)
    }
}

const fn file(name: &'static str, path: &'static str) -> Case {
    Case {
        subject: Subject::File(path),
        edit: Edit::One,
        goal: None,
        ..code(name, 0, 31, 6)
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
        subject: Subject::Generated,
        edit: Edit::All,
    }
}

impl Case {
    /// What the case is, for the table.
    pub fn title(&self) -> String {
        let what = match (self.subject, self.kind) {
            (Subject::File(_), _) => self.name.to_owned(),
            (Subject::Factories, _) => format!("{} made by factories", self.functions),
            (_, Kind::Code) => format!("{} functions", self.functions),
            (_, Kind::Data) => format!("{} functions, {} rows", self.functions, self.rows),
            (_, Kind::Drift) => format!("{} functions, {} times", self.functions, self.rounds),
        };
        match self.edit {
            Edit::All => what,
            Edit::One => what + ", one edited",
            Edit::Lines => what + ", lines",
            Edit::Local => what + ", local",
        }
    }

    /// The file is there.
    pub fn is_possible(&self) -> bool {
        !matches!(self.subject, Subject::File(path) if !std::path::Path::new(path).exists())
    }
}

/// A tenth of the rounds, and no less than one.
pub fn tenth(rounds: usize) -> usize {
    (rounds / 10).max(1)
}
