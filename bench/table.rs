//! The one table that is printed.

use crate::cases::{Case, Kind};
use crate::figures::Figures;
use crate::instructions;
use crate::participant::Who;
use crate::run::Result;

/// How much dearer, in floors, the largest data may make a reload than the smallest.
const SAME: f64 = 1.05;
/// How much dearer, in floors, the last reloads of many may be than the first.
const DRIFT: f64 = 1.05;
/// Bytes by which the state may have grown in the course of many reloads.
const GROWTH: i64 = 16 * 1024;

const MIB: f64 = 1024.0 * 1024.0;

const HEAD: &str = "\
Processor time of one reload: medians over interleaved rounds, each participant in a Lua state of
its own. floors: over reading, compiling and running the file in the same round, with the collector
running; collected: the same, each with the full collection afterwards; peak: the most that the Lua
state and the library held. drift: the cost in floors of the last tenth of the rounds over that of
the first (goal 1.05); growth: of what is held without garbage, since the first tenth (goal 16 KiB).
instr: floors in instructions, where valgrind is there to count them.
";

/// The head of the table, and what its columns are.
pub fn head() {
    println!("{HEAD}");
    println!(
        "{:<28} {:<12} {:>6} {:>10} {:>8} {:>8} {:>6} {:>10} {:>9}  result",
        "case", "participant", "rounds", "ms", "floors", "instr", "goal", "collected", "peak MiB"
    );
}

/// The lines of one case. Returns the library's cost in floors, where there is one.
pub fn case(case: &Case, results: &[Result]) -> Option<f64> {
    let of = |who| results.iter().find(|(it, _)| *it == who);
    let floor = of(Who::Floor).and_then(|(_, figures)| figures.as_ref().ok());
    let mut title = case.title();
    for (who, figures) in results {
        match figures {
            Ok(figures) if figures.rounds() == 0 => continue,
            Ok(figures) => line(&title, case, *who, figures, floor),
            Err(error) => println!("{title:<28} {:<12} FAILED: {error}", who.name()),
        }
        title.clear();
    }
    let library = of(Who::Library).and_then(|(_, figures)| figures.as_ref().ok());
    Some(library?.floors(floor?))
}

fn line(title: &str, case: &Case, who: Who, figures: &Figures, floor: Option<&Figures>) {
    let floors = floor.map(|floor| figures.floors(floor));
    let collected = floor.and_then(|floor| figures.floors_collected(floor));
    let goal = case.goal.filter(|_| who == Who::Library);
    let counted = floor.filter(|_| who == Who::Library && case.kind == Kind::Code);
    let counted = counted.and_then(|_| instructions::floors(case.name));
    let mut remarks = Vec::new();
    if let (Some(floors), Some(goal)) = (floors, goal) {
        remarks.push(verdict(floors <= goal).to_owned());
    }
    if let (Some(growth), Some(floor)) = (figures.growth, floor) {
        let drift = figures.drift(floor);
        if who == Who::Library {
            remarks.push(verdict(drift <= DRIFT && growth <= GROWTH).to_owned());
        }
        let kib = growth as f64 / 1024.0;
        remarks.push(format!("drift {drift:.3}, growth {kib:.1} KiB"));
    }
    println!(
        "{title:<28} {:<12} {:>6} {:>10.3} {:>8} {:>8} {:>6} {:>10} {:>9.2}  {}",
        who.name(),
        figures.rounds(),
        figures.milliseconds(),
        cell(floors),
        cell(counted),
        goal.map_or_else(String::new, |goal| goal.to_string()),
        cell(collected),
        figures.peak as f64 / MIB,
        remarks.join(": "),
    );
}

fn cell(figure: Option<f64>) -> String {
    figure.map_or_else(String::new, |figure| format!("{figure:.3}"))
}

/// The line on whether the amount of data matters: the cases of that kind with the library's cost
/// in floors.
pub fn data(costs: &[(Case, Option<f64>)]) {
    let mut floors = costs
        .iter()
        .filter(|(case, _)| case.kind == Kind::Data)
        .filter_map(|(_, floors)| *floors);
    if let (Some(first), Some(last)) = (floors.next(), floors.next_back()) {
        let factor = last / first;
        println!(
            "\n{}: the most data costs {factor:.3} times what the least does (goal {SAME})",
            verdict(factor <= SAME)
        );
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
