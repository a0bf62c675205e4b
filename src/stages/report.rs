//! R10: what was done, or would be. Counts always; paths when they are asked for.

use crate::lua::layout::Answered;
use crate::lua::vm::{Ref, Vm};
use crate::lua::write;
use crate::model::site::SiteId;
use crate::stages::effects::Calls;
use crate::stages::find::Context;
use crate::stages::matching::{self, External, Fate, Pairing};
use crate::stages::plan::{Class, Conflict, Tally};
use crate::support::error::{Result, shown};
use crate::support::limits::Where;
use crate::support::mem::{TryPush, collected};

/// How many counts a report has.
pub const COUNTS: usize = 17;

/// What a report is made of.
pub struct Lists<'a> {
    /// The module.
    pub context: &'a Context,
    /// What was paired.
    pub pairing: &'a mut Pairing,
    /// What is planned.
    pub tally: &'a Tally,
    /// Conflicts that the options settle.
    pub conflicts: &'a [Conflict],
    /// The calls of the chunk.
    pub calls: &'a Calls,
    /// Lists of paths beside the counts.
    pub full: bool,
}

/// The counts, and a table with what there is to list, or nil.
pub fn report(vm: &mut Vm, lists: Lists<'_>) -> Result<([(Answered, usize); COUNTS], Ref)> {
    let Lists {
        context,
        pairing,
        tally,
        conflicts,
        calls,
        full,
    } = lists;
    // R3.5: each external function is a wrapper, or a patch.
    let is_wrapper = |external: &&External| external.fate == Fate::Wraps;
    let wrappers = pairing.external.iter().filter(is_wrapper).count();
    let counts = [
        (Answered::Replaced, tally.replaced.len()),
        (Answered::Added, tally.added.len()),
        (Answered::Removed, tally.removed.len()),
        (Answered::Changed, tally.changed.len()),
        (Answered::Joined, tally.joined.len()),
        (Answered::Fresh, tally.fresh.len()),
        (
            Answered::DataKept,
            tally.data_kept.len() + tally.cells_kept.len(),
        ),
        (Answered::DataAdded, tally.data_added.len()),
        (Answered::DataReplaced, tally.data_replaced.len()),
        (Answered::DataDiffering, pairing.differing.len()),
        (Answered::CallsRepeated, calls.repeated.len()),
        (Answered::CallsNew, calls.new.len()),
        (Answered::CallsGone, calls.gone.len()),
        (Answered::CallsIrrevocable, calls.irrevocable.len()),
        (Answered::Wrappers, wrappers),
        (Answered::Patches, pairing.external.len() - wrappers),
        (Answered::Dropped, tally.dropped.len()),
    ];
    for warning in &calls.warnings {
        pairing.warnings.try_push(warning.clone())?;
    }
    let limits = limits(vm, context, pairing)?;
    let nothing = pairing.warnings.is_empty() && conflicts.is_empty() && limits.is_empty();
    if !full && nothing {
        return Ok((counts, Ref::NIL));
    }
    let table = vm.table(4)?;
    put_strings(vm, table, "limits", &limits)?;
    pairing.warnings.sort_unstable();
    pairing.warnings.dedup();
    put_strings(vm, table, "warnings", &pairing.warnings)?;
    let conflict_list = conflict_table(vm, conflicts)?;
    put(vm, table, "conflicts", conflict_list)?;
    if full {
        let paths = |vm: &Vm, sites: &[SiteId]| -> Result<Vec<String>> {
            collected(
                sites
                    .iter()
                    .map(|site| Ok(pairing.sites.path(vm, &context.title, *site))),
            )
        };
        let slots = [
            ("replaced", paths(vm, &tally.replaced)?),
            ("added", paths(vm, &tally.added)?),
            ("removed", paths(vm, &tally.removed)?),
            ("dropped", paths(vm, &tally.dropped)?),
            ("changed", paths(vm, &tally.changed)?),
            ("data_added", paths(vm, &tally.data_added)?),
            ("data_replaced", paths(vm, &tally.data_replaced)?),
        ];
        let differing = differing(vm, context, pairing)?;
        let mut kept = paths(vm, &tally.data_kept)?;
        let cells = cell_paths(vm, context, pairing, &tally.cells_kept)?;
        kept.try_reserve(cells.len())?;
        kept.extend(cells);
        let joined = cell_paths(vm, context, pairing, &tally.joined)?;
        let fresh = cell_paths(vm, context, pairing, &tally.fresh)?;
        let external = external_texts(vm, context, pairing)?;
        let list = vm.table(18)?;
        for (name, lines) in slots.into_iter().chain([
            ("kept", kept),
            ("differing", differing),
            ("joined", joined),
            ("fresh", fresh),
            ("matched", std::mem::take(&mut pairing.matched)),
        ]) {
            put_strings(vm, list, name, &lines)?;
        }
        let lists = [&calls.repeated, &calls.new, &calls.gone, &calls.irrevocable];
        for (name, lines) in ["repeated", "new", "gone", "irrevocable"]
            .into_iter()
            .zip(lists)
        {
            put_strings(vm, list, name, lines)?;
        }
        for (name, lines) in ["wrappers", "patches"].into_iter().zip(&external) {
            put_strings(vm, list, name, lines)?;
        }
        put(vm, table, "paths", list)?;
    }
    Ok((counts, table))
}

/// The limits that were met since the last module, in words. Those that are warnings are put there.
fn limits(vm: &mut Vm, context: &Context, pairing: &mut Pairing) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for met in vm.limits.take() {
        let place = match &met.place {
            Where::Module => context.title.clone(),
            Where::Named(place) => place.clone(),
            Where::Table(address) => match pairing.site_of_table(vm, context, *address)? {
                Some(site) => pairing.sites.path(vm, &context.title, site),
                None => format!("{}: a table", context.title),
            },
        };
        match met.is_warning {
            true => pairing.warnings.try_push(met.text(&place))?,
            false => texts.try_push(met.text(&place))?,
        }
    }
    Ok(texts)
}

/// The wrappers, and the patches, in words.
fn external_texts(vm: &mut Vm, context: &Context, pairing: &Pairing) -> Result<[Vec<String>; 2]> {
    let mut texts = [Vec::new(), Vec::new()];
    let [wrappers, patches] = &mut texts;
    for external in &pairing.external {
        let path = pairing.sites.path(vm, &context.title, external.site);
        let origin = matching::origin(vm, external.function)?;
        match external.fate {
            Fate::Wraps => wrappers.try_push(format!("{path}: {origin} stays around it"))?,
            Fate::GivesWay => patches.try_push(format!("{path}: {origin} gives way"))?,
            Fate::Stays => patches.try_push(format!("{path}: {origin} stays"))?,
        }
    }
    Ok(texts)
}

/// R14.2: what becomes of classes: a list of `{ class, added, removed }`, or nil for none.
pub fn classes(vm: &mut Vm, classes: &[Class]) -> Result<Ref> {
    if classes.is_empty() {
        return Ok(Ref::NIL);
    }
    let list = vm.table(0)?;
    for (class, i) in classes.iter().zip(1..) {
        let entry = vm.table(3)?;
        put(vm, entry, "class", class.table)?;
        for (name, keys) in [("added", &class.added), ("removed", &class.removed)] {
            let names = vm.table(0)?;
            for (key, i) in keys.iter().zip(1..) {
                let place = vm.number(i)?;
                write::fill(vm, names, place, *key)?;
            }
            put(vm, entry, name, names)?;
        }
        let place = vm.number(i)?;
        write::fill(vm, list, place, entry)?;
    }
    Ok(list)
}

/// Adds warnings to what [`report`] made, sorted among themselves.
pub fn add_warnings(vm: &mut Vm, lists: Ref, warnings: &[String]) -> Result<Ref> {
    if warnings.is_empty() {
        return Ok(lists);
    }
    let table = if lists == Ref::NIL {
        vm.table(3)?
    } else {
        lists
    };
    if lists == Ref::NIL {
        for name in ["warnings", "conflicts", "limits"] {
            put_strings(vm, table, name, &[])?;
        }
    }
    let list = vm.field(table, "warnings")?;
    append(vm, list, warnings)?;
    Ok(table)
}

/// Lines as a list, sorted.
pub fn strings(vm: &mut Vm, lines: &[String]) -> Result<Ref> {
    let list = vm.table(0)?;
    append(vm, list, lines)?;
    Ok(list)
}

/// Adds lines to a list, sorted among themselves.
fn append(vm: &mut Vm, list: Ref, lines: &[String]) -> Result<()> {
    let mut lines = collected(lines.iter().map(Ok))?;
    lines.sort_unstable();
    for (line, i) in lines.into_iter().zip(vm.raw_len(list) + 1..) {
        let line = vm.string(line.as_bytes())?;
        let key = vm.number(i)?;
        write::fill(vm, list, key, line)?;
    }
    Ok(())
}

/// The conflicts as a list of tables.
fn conflict_table(vm: &mut Vm, conflicts: &[Conflict]) -> Result<Ref> {
    let list = vm.table(0)?;
    for (conflict, i) in conflicts.iter().zip(1..) {
        let entry = vm.table(7)?;
        for (name, text) in [
            ("path", &conflict.path),
            ("running", &conflict.running),
            ("file", &conflict.file),
            ("matched", &conflict.matched),
        ] {
            let text = vm.string(text.as_bytes())?;
            put(vm, entry, name, text)?;
        }
        for (name, text) in ["running_value", "file_value"]
            .into_iter()
            .zip(conflict.values.iter().flatten())
        {
            let text = vm.string(text.as_bytes())?;
            put(vm, entry, name, text)?;
        }
        if let Some(line) = conflict.line {
            let line = vm.number(line.into())?;
            put(vm, entry, "line", line)?;
        }
        let key = vm.number(i)?;
        write::fill(vm, list, key, entry)?;
    }
    Ok(list)
}

/// Data that stays while the file has changed it, with both values.
fn differing(vm: &mut Vm, context: &Context, pairing: &Pairing) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for differing in &pairing.differing {
        let path = pairing.sites.path(vm, &context.title, differing.site);
        let running = matching::describe(vm, differing.running)?;
        let file = matching::describe(vm, differing.file)?;
        lines.try_push(format!(
            "{path}: {running} while it runs, {file} in the file"
        ))?;
    }
    Ok(lines)
}

fn cell_paths(
    vm: &Vm,
    context: &Context,
    pairing: &mut Pairing,
    cells: &[u32],
) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for number in cells {
        let site = pairing.cell_site(*number)?;
        let mut path = pairing.sites.path(vm, &context.title, site);
        if let Some(former) = pairing.former_name(vm, *number) {
            path.push_str(&format!(" ({} before)", shown(&former)));
        }
        paths.try_push(path)?;
    }
    Ok(paths)
}

fn put(vm: &mut Vm, table: Ref, name: &str, value: Ref) -> Result<()> {
    let key = vm.string(name.as_bytes())?;
    write::fill(vm, table, key, value)
}

fn put_strings(vm: &mut Vm, table: Ref, name: &str, lines: &[String]) -> Result<()> {
    let list = strings(vm, lines)?;
    put(vm, table, name, list)
}
