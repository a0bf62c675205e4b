//! What the record of the base version costs (R8): a load by `require` that takes it over one that
//! does not, its bytes over those that the record may have, and a reload with `data = "merge"`, in
//! which all scalars follow, over one with `"keep"`.

use std::fs;
use std::time::Duration;

use mlua::{Function, Table, Value};

use crate::Outcome;
use crate::cases::{Edit, Subject};
use crate::clock;
use crate::host::Host;
use crate::instructions::{self, COUNTED};
use crate::memory;
use crate::module::{Module, NAME};
use crate::participant::{Who, measured};

/// A module to load.
#[derive(Clone, Copy)]
pub struct Record {
    pub name: &'static str,
    what: What,
    pub rounds: usize,
}

#[derive(Clone, Copy)]
enum What {
    /// A module of so many functions.
    Functions(u32),
    /// A table of so many rows, with three scalars each.
    Rows(u32),
}

/// All of them, in the order of the table.
pub const RECORDS: [Record; 3] = [
    Record {
        name: "record-100",
        what: What::Functions(100),
        rounds: 101,
    },
    Record {
        name: "record-rows-100",
        what: What::Rows(100),
        rounds: 101,
    },
    Record {
        name: "record-rows-10000",
        what: What::Rows(10_000),
        rounds: 21,
    },
];

/// How many times a load without a record one with it may take: of code, of rows.
const GOALS: [f64; 2] = [1.15, 1.3];

const HEAD: &str = "
The record (hotreload.track): medians of interleaved rounds, processor time. load: by require, \
in ms without a record, and how many
times that with one (goal 1.15 for code, 1.3 for rows); instr: the same in instructions, \
where valgrind is there; bytes: what the state
holds more, over 8 for each scalar and 24 for each function and table (with functions, the main \
function and entries of the weak
table are in it). merge: a reload with data = \"merge\" over one with \"keep\", when every \
scalar of the file is another one.
";

/// The program's side.
const SCRIPT: &str = r#"
return function(name, tracked)
  local hotreload = require "hotreload"
  hotreload.track(tracked)
  local function count(of, seen)
    local total = 0
    seen[of] = true
    for key, value in next, of do
      if type(value) == "table" and not seen[value] then
        total = total + 24 + count(value, seen)
      else
        total = total + (type(value) == "function" and 24 or 8)
      end
    end
    return total
  end
  return {
    load = function()
      package.loaded[name] = nil
      return require(name)
    end,
    reload = function(data) return assert(gg.reload(name, { data = data })) end,
    count = function() return count(package.loaded[name], {}) end,
    first = function()
        return package.loaded[name].row1 and package.loaded[name].row1.level or 0
    end,
  }
end
"#;

/// One program.
struct Program {
    load: Function,
    reload: Function,
    count: Function,
    first: Function,
    host: Host,
    held: usize,
}

impl Program {
    fn new(module: &Module, tracked: bool) -> Outcome<Self> {
        let before = memory::held();
        let host = Host::new(module.folder())?;
        let made: Table = host.run("record", SCRIPT)?.call((NAME, tracked))?;
        let (load, reload) = (made.get("load")?, made.get("reload")?);
        let (count, first) = (made.get("count")?, made.get("first")?);
        let mut program = Self {
            load,
            reload,
            count,
            first,
            host,
            held: 0,
        };
        program.load.call::<Value>(())?;
        program.host.collect()?;
        program.held = memory::held().saturating_sub(before);
        Ok(program)
    }
}

/// Measures and prints the table; whether all was right.
pub fn run(records: &[Record]) -> bool {
    if records.is_empty() {
        return true;
    }
    println!("{HEAD}");
    println!(
        "{:<28} {:>6} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8}  result",
        "case", "rounds", "load ms", "loads", "instr", "words", "bytes", "merge"
    );
    let mut right = true;
    for record in records {
        match measure(record) {
            Ok(line) => println!("{line}"),
            Err(error) => {
                println!("{:<28} FAILED: {error}", record.name);
                right = false;
            }
        }
    }
    right
}

/// Writes the first version.
fn first(record: &Record) -> Outcome<Module> {
    let functions = match record.what {
        What::Functions(count) => count,
        What::Rows(_) => 1,
    };
    let mut module = Module::new(Subject::Generated, functions, Edit::All)?;
    write(record, &mut module, 1)?;
    Ok(module)
}

/// What runs under valgrind: some loads, behind one that has made all parts of the library.
pub fn counted(record: &Record, who: Who) -> Outcome<()> {
    let module = first(record)?;
    let program = Program::new(&module, who == Who::Library)?;
    for _ in 0..COUNTED {
        let (_, loaded) = measured(&program.load);
        loaded?;
    }
    Ok(())
}

fn measure(record: &Record) -> Outcome<String> {
    let mut module = first(record)?;
    let plain = Program::new(&module, false)?;
    let tracked = Program::new(&module, true)?;
    let count: usize = tracked.count.call(())?;
    let (mut times, mut ratios, mut merges) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..record.rounds {
        let time = timed(|| plain.load.call::<Value>(()))?;
        ratios.push(timed(|| tracked.load.call::<Value>(()))?.as_secs_f64() / time.as_secs_f64());
        times.push(time.as_secs_f64());
        if round % 8 == 0 {
            plain.host.collect()?;
            tracked.host.collect()?;
        }
    }
    for version in 2..record.rounds.min(21) + 2 {
        write(record, &mut module, version)?;
        let keep = timed(|| plain.reload.call::<Value>("keep"))?;
        let merge = timed(|| tracked.reload.call::<Value>("merge"))?;
        merges.push(merge.as_secs_f64() / keep.as_secs_f64());
        if matches!(record.what, What::Rows(_)) {
            let (kept, followed): (usize, usize) = (plain.first.call(())?, tracked.first.call(())?);
            if kept != 1 || followed != version {
                return Err(format!(
                    "level {kept} where it was to be kept, {followed} in version {version}"
                )
                .into());
            }
        }
    }
    let bytes = (tracked.held as f64 - plain.held as f64) / count as f64;
    let goal = match (record.what, GOALS) {
        (What::Functions(_), [code, _]) => code,
        (What::Rows(_), [_, rows]) => rows,
    };
    let verdict = match record.what {
        _ if median(ratios.clone()) > goal => "MISSED",
        What::Rows(rows) if rows > 1000 && bytes > 1.0 => "MISSED",
        _ => "met",
    };
    Ok(format!(
        "{:<28} {:>6} {:>10.3} {:>8.3} {:>8} {:>8} {:>8.2} {:>8.3}  {verdict}",
        record.name,
        record.rounds,
        1000.0 * median(times),
        median(ratios),
        instructions::floors(record.name).map_or_else(String::new, |it| format!("{it:.3}")),
        count,
        bytes,
        median(merges),
    ))
}

fn timed<T>(work: impl FnOnce() -> mlua::Result<T>) -> Outcome<Duration> {
    let before = clock::now();
    work()?;
    Ok(clock::now().saturating_sub(before))
}

/// Writes a version of the module's file.
fn write(record: &Record, module: &mut Module, version: usize) -> Outcome<()> {
    let What::Rows(rows) = record.what else {
        return module.change();
    };
    let mut text = String::from("return {\n");
    for i in 1..=rows {
        text.push_str(&format!(
            "row{i} = {{ level = {version}, name = \"row {i} of {version}\", \
             share = {version}.5 }},\n"
        ));
    }
    text.push_str("}\n");
    fs::write(module.path(), text)?;
    Ok(())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
