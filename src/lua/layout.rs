//! The lists that Rust and the façade share, and what stands where in them.
//!
//! Each list is one enum: an element's place is [`LayoutElement::at`] here, and
//! `core.layout.<list>.<element>` in Lua. No number stands in two places. A list has all of its
//! elements from the start, so that a write to one allocates nothing.

use std::ffi::{CStr, c_int};

use mlua::ffi::{self, lua_State};

/// An element of a shared list.
pub trait LayoutElement: Copy + 'static {
    /// What `core.layout` calls the list.
    const LIST: &'static CStr;
    /// The elements in their order.
    const NAMES: &'static [&'static CStr];

    /// The place of the element: a Lua index.
    fn at(self) -> i64;

    /// What Lua calls the element.
    fn name(self) -> &'static CStr {
        let i = usize::try_from(self.at() - 1).unwrap_or_default();
        Self::NAMES.get(i).copied().unwrap_or_default()
    }
}

macro_rules! layout {
    ($(
        $(#[$doc:meta])*
        $list:ident, $name:literal: { $($(#[$about:meta])* $element:ident = $text:literal,)* }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, Debug)]
            #[allow(missing_docs, dead_code)] // some elements are used in Lua alone
            pub enum $list {
                $($(#[$about])* $element,)*
            }

            impl LayoutElement for $list {
                const LIST: &'static CStr = $name;
                const NAMES: &'static [&'static CStr] = &[$($text,)*];

                fn at(self) -> i64 {
                    self as i64 + 1
                }
            }
        )*

        /// Leaves the list of `core.layout` that has this name: the places of its elements, by
        /// name, and their number under `n`. False, and nothing, where there is none. `[-0, +0 or
        /// 1, e]`
        ///
        /// # Safety
        /// Within the frame of a C function, with room for three values; nothing that needs
        /// dropping may be alive across a raise.
        pub(super) unsafe fn push(l: *mut lua_State, name: &CStr) -> bool {
            $(if name == <$list as LayoutElement>::LIST {
                // SAFETY: as promised.
                unsafe { push_list::<$list>(l) };
                return true;
            })*
            false
        }
    };
}

layout! {
    /// What `core.reload` answers for each module.
    Answered, c"answers": {
        /// The module's object.
        Object = c"object",
        /// `__hotfix`, or nil (R7.2).
        Hook = c"hook",
        /// The source name of the incoming functions.
        Source = c"source",
        /// The incoming main function.
        Main = c"main",
        /// What is on record now (R8), or nil.
        Base = c"base",
        /// The calls of this load, or nil.
        Calls = c"calls",
        /// The file's path, or nil.
        File = c"file",
        /// Warnings, conflicts, paths: a table, or nil when there is nothing to list.
        Lists = c"lists",
        /// The classes whose objects are to be migrated, or nil (R14.2).
        Classes = c"classes",
        Replaced = c"replaced",
        Added = c"added",
        Removed = c"removed",
        Changed = c"changed",
        Joined = c"joined",
        Fresh = c"fresh",
        DataKept = c"data_kept",
        DataAdded = c"data_added",
        DataReplaced = c"data_replaced",
        DataDiffering = c"data_differing",
        CallsRepeated = c"calls_repeated",
        CallsNew = c"calls_new",
        CallsGone = c"calls_gone",
        CallsIrrevocable = c"calls_irrevocable",
        Wrappers = c"wrappers",
        Patches = c"patches",
        Dropped = c"dropped",
        /// R9: places elsewhere that hold something new.
        References = c"references",
        /// R9: closures that stay old.
        Stale = c"stale",
        FindMs = c"find_ms",
        LoadMs = c"load_ms",
        PairMs = c"pair_ms",
        PlanMs = c"plan_ms",
        CommitMs = c"commit_ms",
        SweepMs = c"sweep_ms",
    }

    /// An entry: what undoes one module's reload (R7.3).
    Undo, c"undo": {
        /// What undoes the changes of the module; false when it is undone.
        Transaction = c"transaction",
        /// The façade's record of the module, which gets the next ones back that are its fields.
        Record = c"record",
        Generation = c"generation",
        Source = c"source",
        /// From new functions to the old ones.
        Back = c"back",
        Main = c"main",
        Previous = c"previous",
        /// What undoes the changes elsewhere.
        References = c"references",
        Base = c"base",
        Calls = c"calls",
        /// What runs (R13).
        Version = c"version",
        /// What undoes the migrations.
        Migrated = c"migrated",
        /// The module's name.
        Name = c"name",
    }

    /// A guard: it stands for a reload from before its commit to the end of its hooks.
    Guard, c"guard": {
        /// The hooks have not ended.
        Open = c"open",
        /// The modules' entries; false when nothing is to be undone.
        Entries = c"entries",
        /// The list [`Own`].
        Own = c"own",
        /// A failure to undo has been told.
        Told = c"told",
        /// What is raised where there is no memory for a message.
        Message = c"message",
    }

    /// The façade's tables that no walk over the VM enters.
    Own, c"own": {
        Records = c"records",
        /// The guards, by the name of the module.
        Hooking = c"hooking",
        Lineage = c"lineage",
        Objects = c"objects",
        /// What the native part keeps of a sweep in slices.
        Sweeping = c"sweeping",
        /// The tables that the program leaves out of every walk (R2.11).
        Skipped = c"skipped",
        /// The versions that the last reloads have loaded, by the module's object.
        Versions = c"versions",
    }

    /// The chunk that is running (R2.6, R7.5).
    Running, c"running": {
        /// The module's name, or false.
        Module = c"module",
        /// It was loaded before.
        IsLoaded = c"is_loaded",
        DryRun = c"dry_run",
    }

    /// The function of `hotreload.track` in `package.searchers`.
    Standing, c"standing": {
        Finder = c"finder",
        /// The searcher that it stands for.
        Searcher = c"searcher",
    }

    /// The last look at a module's file that found no difference (R12).
    LastLook, c"look": {
        Content = c"content",
        Stamp = c"stamp",
        Generation = c"generation",
        File = c"file",
    }

    /// What `core.stale` gets of a module (R11).
    StaleModule, c"stale_module": {
        Source = c"source",
        Main = c"main",
        Previous = c"previous",
    }

    /// A place with an old function, one of many in a list that `core.stale` returns.
    StaleRow, c"stale_row": {
        Value = c"value",
        /// The number of the module.
        Module = c"module",
        Line = c"line",
        /// It is of the generation that the last reload replaced.
        IsLast = c"is_last",
        Kind = c"kind",
        Holder = c"holder",
        Key = c"key",
    }
}

/// Leaves a list's places. `[-0, +1, e]`
///
/// # Safety
/// As for [`push`].
unsafe fn push_list<P: LayoutElement>(l: *mut lua_State) {
    // SAFETY: as promised.
    unsafe {
        ffi::lua_createtable(l, 0, P::NAMES.len() as c_int + 1);
        for (name, place) in P::NAMES.iter().zip(1..) {
            ffi::lua_pushinteger(l, place);
            ffi::lua_setfield(l, -2, name.as_ptr());
        }
        ffi::lua_pushinteger(l, P::NAMES.len() as i64);
        ffi::lua_setfield(l, -2, c"n".as_ptr());
    }
}
