//! `gg.reload`'s options, as the façade has checked them.

use crate::lua::given::GivenText;
use crate::lua::vm::{Ref, Vm};
use crate::support::error::Result;

/// R6: what happens to conflicts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnConflict {
    /// The whole reload is refused.
    Error,
    /// The running value stays.
    Keep,
    /// The incoming value takes its place.
    Replace,
}

/// R8: what happens to data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Data {
    /// The running one stays.
    Keep,
    /// The incoming one takes its place.
    Replace,
    /// The incoming one takes the place of what the program did not change.
    Merge,
}

/// R3.5: what happens to external functions over the module's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverOwn {
    /// Patches stay; else they give way.
    pub keeps_patches: bool,
    /// Wrappers stay around the file's functions; else they are taken for patches.
    pub follows_wrappers: bool,
}

/// The options of one reload.
#[derive(Debug)]
pub struct Options {
    /// The text to load instead of the file's.
    pub source: Option<GivenText>,
    /// R6.
    pub on_conflict: OnConflict,
    /// R8.
    pub data: Data,
    /// R4.7: constants follow the file.
    pub constants: bool,
    /// R3.5.
    pub over_own: OverOwn,
    /// What is called otherwise in the file: a table, former name → new one; or nil.
    pub rename: Ref,
    /// Every warning is a refusal.
    pub strict: bool,
    /// R5.2: functions that the file lacks now go.
    pub drop: bool,
    /// R14.2: what becomes of each class is told.
    pub classes: bool,
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

/// The options that each module has by itself: what the call says, else what the module says.
#[derive(Clone, Copy, Debug)]
pub struct ModuleOptions {
    /// R8.
    pub data: Data,
    /// R4.7.
    pub constants: bool,
    /// R5.2.
    pub drop: bool,
}

impl ModuleOptions {
    /// Reads three values: strings, or anything else for nothing.
    pub fn read(vm: &Vm, [data, constants, removed]: [Ref; 3]) -> Result<ModuleOptions> {
        Ok(ModuleOptions {
            data: match vm.bytes(data)?.as_deref() {
                Some(b"replace") => Data::Replace,
                Some(b"merge") => Data::Merge,
                _ => Data::Keep,
            },
            constants: vm.bytes(constants)?.as_deref() != Some(b"keep"),
            drop: vm.bytes(removed)?.as_deref() == Some(b"drop"),
        })
    }
}

impl Options {
    /// The options of one module of several.
    pub fn of(all: &Options, own: ModuleOptions) -> Options {
        let ModuleOptions {
            data,
            constants,
            drop,
        } = own;
        Options {
            source: None, // `find` has taken it
            data,
            constants,
            drop,
            ..*all
        }
    }

    /// Reads the façade's table.
    pub fn read(vm: &mut Vm, table: Ref) -> Result<Options> {
        let names = [
            "source",
            "on_conflict",
            "scope",
            "report",
            "patches",
            "wrappers",
        ];
        let [source, on_conflict, scope, report, patches, wrappers] = vm.fields(table, names)?;
        let source = GivenText::string(vm, source)?;
        let on_conflict = match vm.bytes(on_conflict)?.as_deref() {
            Some(b"keep") => OnConflict::Keep,
            Some(b"replace") => OnConflict::Replace,
            _ => OnConflict::Error,
        };
        let whole_vm = vm.bytes(scope)?.as_deref() == Some(b"vm");
        let report = vm.bytes(report)?;
        let over_own = OverOwn {
            keeps_patches: vm.bytes(patches)?.as_deref() == Some(b"keep"),
            follows_wrappers: vm.bytes(wrappers)?.as_deref() != Some(b"drop"),
        };
        let names = [
            "budget_ms",
            "text_only",
            "dry_run",
            "rename",
            "strict",
            "migrate",
        ];
        let [budget, text_only, dry_run, rename, strict, migrate] = vm.fields(table, names)?;
        let strict = vm.truthy(strict);
        let sliced = whole_vm && !vm.val(budget).is_nil();
        let classes = vm.truthy(migrate);
        let (text_only, dry_run) = (vm.truthy(text_only), vm.truthy(dry_run));
        let around = vm.fields(table, ["chunk_before", "chunk_after"])?;
        let full = report.map_or(dry_run, |report| report == b"full");
        Ok(Options {
            source,
            on_conflict,
            over_own,
            rename,
            strict,
            classes,
            vm: whole_vm,
            sliced,
            text_only,
            dry_run,
            full,
            around,
            // These each module has by itself ([`Options::of`]).
            data: Data::Keep,
            constants: true,
            drop: false,
        })
    }
}
