//! `gg.reload`'s options, as the façade has checked them.

use crate::lua::given::Given;
use crate::lua::vm::{Ref, Vm};
use crate::support::error::Result;

/// R6: what happens to conflicts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnConflict {
    /// The whole reload is refused.
    Error,
    /// A1's value stays.
    Keep,
    /// A2's value takes its place.
    Replace,
}

/// R8: what happens to data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Data {
    /// A1's stays.
    Keep,
    /// A2's takes its place.
    Replace,
    /// A2's takes the place of what the program did not change.
    Merge,
}

/// The options of one reload.
#[derive(Debug)]
pub struct Options {
    /// The text to load instead of the file's.
    pub source: Option<Given>,
    /// R6.
    pub on_conflict: OnConflict,
    /// R8.
    pub data: Data,
    /// R4.7: constants follow the file.
    pub constants: bool,
    /// R9: the rest of the VM follows.
    pub vm: bool,
    /// R9.4: not now, but in slices.
    pub sliced: bool,
    /// R1.8: binary chunks are refused.
    pub text_only: bool,
    /// R10: do all but commit.
    pub dry_run: bool,
    /// R10: lists of paths beside the counts.
    pub full: bool,
    /// R2.6: the host's functions around each chunk, before and after; nil for none.
    pub around: [Ref; 2],
}

impl Options {
    /// The options of one module of several: where the call says nothing of data, `is_data` does
    /// (`gg.safe_reloads`).
    pub fn of(all: &Options, is_data: bool) -> Options {
        Options {
            source: None, // `find` has taken it
            data: if is_data { Data::Replace } else { all.data },
            ..*all
        }
    }

    /// Reads the façade's table.
    pub fn read(vm: &mut Vm, table: Ref) -> Result<Options> {
        let names = [
            "source",
            "on_conflict",
            "data",
            "constants",
            "scope",
            "report",
        ];
        let texts = vm.fields(table, names)?;
        let text = |i| vm.bytes(texts.after(i));
        let source = Given::string(vm, texts)?;
        let on_conflict = match text(1)?.as_deref() {
            Some(b"keep") => OnConflict::Keep,
            Some(b"replace") => OnConflict::Replace,
            _ => OnConflict::Error,
        };
        let data = match text(2)?.as_deref() {
            Some(b"replace") => Data::Replace,
            Some(b"merge") => Data::Merge,
            _ => Data::Keep,
        };
        let constants = text(3)?.as_deref() != Some(b"keep");
        let whole_vm = text(4)?.as_deref() == Some(b"vm");
        let report = text(5)?;
        let budget = vm.fields(table, ["budget_ms", "text_only", "dry_run"])?;
        let sliced = !vm.val(budget).is_nil();
        let (text_only, dry_run) = (vm.truthy(budget.after(1)), vm.truthy(budget.after(2)));
        let around = vm.fields(table, ["chunk_before", "chunk_after"])?;
        let full = report.map_or(dry_run, |report| report == b"full");
        Ok(Options {
            source,
            on_conflict,
            data,
            constants,
            vm: whole_vm,
            sliced,
            text_only,
            dry_run,
            full,
            around: [around, around.after(1)],
        })
    }
}
