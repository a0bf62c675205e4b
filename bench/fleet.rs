//! What a process pays in which many Lua states have the library: its opening in each, and a reload
//! of one small module in all of them, one after the other.

use crate::Outcome;
use crate::cases::{Case, Edit, Kind, Subject};
use crate::clock;
use crate::host::Host;
use crate::instructions;
use crate::memory;
use crate::module::Module;
use crate::participant::{Participant, Who};

/// So many states.
#[derive(Clone, Copy)]
pub struct Fleet {
    pub name: &'static str,
    states: usize,
    pub rounds: usize,
}

/// All of them, in the order of the table.
pub const FLEETS: [Fleet; 2] = [
    Fleet {
        name: "fleet-200",
        states: 200,
        rounds: 11,
    },
    Fleet {
        name: "fleet-1000",
        states: 1000,
        rounds: 5,
    },
];

/// The module that every state has.
const CASE: Case = Case {
    name: "fleet",
    functions: 50,
    rows: 0,
    rounds: 1,
    batch: 1,
    goal: None,
    kind: Kind::Code,
    subject: Subject::Generated,
    edit: Edit::All,
};

const HEAD: &str = "
Many states in one process, each with a module of 50 functions: medians over interleaved rounds,
processor time for each state. open: of require \"hotreload\", in ms; open KiB: what the state and
the library hold more; reload ms and floors: a reload of a file in which all has changed, in the
second state and the later ones, instr: the same in instructions, first: in the first one; KiB:
what a state holds more after one reload and after three, without garbage.
";

/// Measures and prints the table; whether all was right.
pub fn run(fleets: &[Fleet]) -> bool {
    if fleets.is_empty() {
        return true;
    }
    println!("{HEAD}");
    println!(
        "{:<28} {:>6} {:>8} {:>9} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "case",
        "rounds",
        "open",
        "open KiB",
        "reload ms",
        "floors",
        "instr",
        "first",
        "KiB 1",
        "KiB 3"
    );
    let mut right = true;
    for fleet in fleets {
        match measure(fleet) {
            Ok(line) => println!("{line}"),
            Err(error) => {
                println!("{:<28} FAILED: {error}", fleet.name);
                right = false;
            }
        }
    }
    right
}

fn measure(fleet: &Fleet) -> Outcome<String> {
    let mut module = Module::new(CASE.subject, CASE.functions, CASE.edit)?;
    let (opened, open_bytes) = opening(fleet, &module)?;
    let members = |who| -> Outcome<Vec<Participant>> {
        let members = (0..fleet.states).map(|_| Participant::new(who, &CASE, &module));
        members.collect()
    };
    let (mut floors, mut library) = (members(Who::Floor)?, members(Who::Library)?);
    let collect = |members: &mut [Participant]| -> Outcome<usize> {
        members.iter_mut().map(Participant::collect).sum()
    };
    let before = collect(&mut library)?;
    let (mut times, mut ratios, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
    let mut held = Vec::new();
    for _ in 0..fleet.rounds.max(3) {
        module.change()?;
        let (_, floor) = all(&mut floors, &module)?;
        let (first, time) = all(&mut library, &module)?;
        times.push(1000.0 * time);
        ratios.push(time / floor);
        firsts.push(first / floor);
        if held.len() < 3 {
            let bytes = collect(&mut library)? as f64 - before as f64;
            held.push(bytes / 1024.0 / fleet.states as f64);
        }
    }
    let held = |reloads: usize| held.get(reloads - 1).copied().unwrap_or(f64::NAN);
    Ok(format!(
        "{:<28} {:>6} {:>8.3} {:>9.1} {:>10.3} {:>8.3} {:>8} {:>8.3} {:>8.1} {:>8.1}",
        fleet.name,
        ratios.len(),
        1000.0 * opened,
        open_bytes / 1024.0,
        median(times),
        median(ratios),
        instructions::floors(fleet.name).map_or_else(String::new, |it| format!("{it:.3}")),
        median(firsts),
        held(1),
        held(3),
    ))
}

/// States that are counted, besides the first one.
const COUNTED: usize = 3;

/// What runs under valgrind: a second reload in some states, behind one that has made what states
/// share.
pub fn counted(who: Who) -> Outcome<()> {
    let mut module = Module::new(CASE.subject, CASE.functions, CASE.edit)?;
    let members = (0..=COUNTED).map(|_| Participant::new(who, &CASE, &module));
    let mut members = members.collect::<Outcome<Vec<_>>>()?;
    module.change()?;
    members.iter().try_for_each(Participant::uncounted)?;
    module.change()?;
    let (first, others) = members.split_first_mut().ok_or("no states")?;
    first.uncounted()?;
    let mut reload = |member: &mut Participant| member.reload(&module, false).map(|_| ());
    others.iter_mut().try_for_each(&mut reload)
}

/// The time of one reload in the first, and in each of the others, in seconds.
fn all(members: &mut [Participant], module: &Module) -> Outcome<(f64, f64)> {
    let (first, others) = members.split_first_mut().ok_or("no states")?;
    let first = first.reload(module, false)?.as_secs_f64();
    let mut sum = 0.0;
    for member in others.iter_mut() {
        sum += member.reload(module, false)?.as_secs_f64();
    }
    Ok((first, sum / others.len() as f64))
}

/// What the library's opening takes: seconds, and bytes without garbage, for each state.
fn opening(fleet: &Fleet, module: &Module) -> Outcome<(f64, f64)> {
    let (mut times, mut bytes, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..fleet.states {
        let host = Host::new(module.folder())?;
        host.collect()?;
        let open = host.run("open", "return function() require 'hotreload' end")?;
        host.collect()?;
        let held = memory::held();
        let before = clock::now();
        open.call::<()>(())?;
        times.push(clock::now().saturating_sub(before).as_secs_f64());
        drop(open);
        host.collect()?;
        bytes.push(memory::held() as f64 - held as f64);
        hosts.push(host);
    }
    Ok((median(times), median(bytes)))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
