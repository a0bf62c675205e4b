//! The functions of Lua's standard library, by address: what they do that matters to those who
//! watch calls.

use rustc_hash::FxHashMap;

use crate::lua::vm::{Kind, Ref, Vm};
use crate::stages::find::{Context, STANDARD};
use crate::support::error::Result;
use crate::support::mem::TryInsert;

/// What a function of the standard library does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Nothing that matters here.
    Plain,
    /// It loads modules.
    Require,
    /// It runs the coroutine that is its first argument.
    Resumes,
    /// It walks over the table that is its first argument.
    Walks,
    /// It makes a coroutine.
    Creates,
    /// It lets the coroutine wait.
    Yields,
    /// It writes into the tables that are these of its arguments, from 0.
    Writes(&'static [u32]),
}

/// Those that do something that matters.
const USES: [(&str, &str, Use); 14] = [
    ("_G", "next", Use::Walks),
    ("_G", "pairs", Use::Walks),
    ("_G", "require", Use::Require),
    ("_G", "rawset", Use::Writes(&[0])),
    ("_G", "setmetatable", Use::Writes(&[0])),
    ("coroutine", "resume", Use::Resumes),
    ("coroutine", "close", Use::Resumes),
    ("coroutine", "create", Use::Creates),
    ("coroutine", "wrap", Use::Creates),
    ("coroutine", "yield", Use::Yields),
    ("table", "insert", Use::Writes(&[0])),
    ("table", "remove", Use::Writes(&[0])),
    ("table", "sort", Use::Writes(&[0])),
    ("table", "move", Use::Writes(&[0, 4])),
];

/// The standard library of the running program.
#[derive(Default)]
pub struct Standard {
    uses: FxHashMap<usize, Use>,
}

impl Standard {
    /// Reads it off the program, once.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn prepare(&mut self, vm: &mut Vm, context: &Context) -> Result<()> {
        if !self.uses.is_empty() {
            return Ok(());
        }
        self.uses.try_reserve(256)?;
        for library in STANDARD {
            let table = vm.field(context.loaded, library)?;
            self.add(vm, table)?;
            let named = USES.iter().filter(|(of, ..)| *of == library);
            for (_, name, what) in named {
                let function = vm.field(table, name)?;
                self.note(vm, function, *what)?;
            }
        }
        // Methods of strings and files, and Lua's searchers.
        let strings = vm.metatable(context.name)?;
        self.add(vm, strings)?;
        let io = vm.field(context.loaded, "io")?;
        let stdout = vm.field(io, "stdout")?;
        let files = vm.metatable(stdout)?;
        self.add(vm, files)?;
        let methods = vm.field(files, "__index")?;
        self.add(vm, methods)?;
        let searchers = vm.field(context.package, "searchers")?;
        self.add(vm, searchers)
    }

    fn add(&mut self, vm: &mut Vm, table: Ref) -> Result<()> {
        if vm.kind(table) != Kind::Table {
            return Ok(());
        }
        for function in vm.keep_some(table, 100_000)?.values() {
            self.note(vm, function, Use::Plain)?;
        }
        Ok(())
    }

    fn note(&mut self, vm: &Vm, function: Ref, what: Use) -> Result<()> {
        if vm.is_c_function(function).is_some() {
            self.uses.try_insert_value(vm.val(function).addr, what)?;
        }
        Ok(())
    }

    /// Is it what frees the long buffers of the library's functions? It stands in no library, and
    /// not before there was one.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn is_of_buffer(&mut self, vm: &mut Vm, addr: usize) -> Result<bool> {
        let buffers = vm.registry(c"_UBOX*")?;
        self.add(vm, buffers)?;
        Ok(self.uses.contains_key(&addr))
    }

    /// What the function at an address does, if it is of the standard library.
    pub fn what(&self, addr: usize) -> Option<Use> {
        self.uses.get(&addr).copied()
    }
}
