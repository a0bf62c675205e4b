//! The functions of Lua's standard library, by address: what they do that matters to those who
//! watch calls.

use crate::lua::vm::{Kept, KeyValue, Ref, Vm};
use crate::stages::find::{Context, STANDARD};
use crate::stages::snapshot::Snapshot;
use crate::support::error::Result;
use crate::support::mem::TryPush;

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

/// The names of what holds methods of files, and Lua's searchers.
const HOLDERS: [&str; 3] = ["stdout", "__index", "searchers"];

/// The standard library of the running program.
#[derive(Default)]
pub struct Standard {
    /// Its functions that do something that matters.
    uses: Vec<(usize, Use)>,
    /// All of its functions, once another one was called. (They are few: to go through them costs
    /// less than a table of them.)
    functions: Vec<usize>,
}

impl Standard {
    /// Reads what matters of it off the program, once.
    fn read_uses(&mut self, vm: &mut Vm, context: &Context) -> Result<()> {
        if !self.uses.is_empty() {
            return Ok(());
        }
        self.uses.try_reserve(USES.len())?;
        let names = USES.iter().flat_map(|(library, name, _)| [*library, *name]);
        let names = vm.strings(names.map(str::as_bytes))?;
        let mut last = ("", Ref::NIL);
        for ((library, _, what), i) in USES.iter().zip((0..).step_by(2)) {
            if last.0 != *library {
                last = (library, vm.get(context.loaded, names.at(i))?);
            }
            let function = vm.get(last.1, names.at(i + 1))?;
            if vm.is_c_function(function).is_some() {
                self.uses.try_push((vm.val(function).addr, *what))?;
            }
        }
        Ok(())
    }

    /// Reads all of its functions off the program, once: as it was before the chunk ran, where
    /// that is remembered.
    fn read_functions(
        &mut self,
        vm: &mut Vm,
        (context, snapshot): (&Context, &Snapshot),
    ) -> Result<()> {
        if !self.functions.is_empty() {
            return Ok(());
        }
        self.functions.try_reserve(256)?;
        let names = STANDARD.iter().chain(&HOLDERS);
        let names = vm.strings(names.map(|name| name.as_bytes()))?;
        let [stdout, index, searchers] =
            std::array::from_fn(|i| names.at((STANDARD.len() + i) as u32));
        for (library, name) in STANDARD.iter().zip(names.iter()) {
            let table = vm.get(context.loaded, name)?;
            match snapshot.whole(vm.val(table).addr) {
                Some(entries) => self.add_remembered(vm, entries)?,
                None => self.add(vm, table)?,
            }
            if *library == "io" {
                let stdout = vm.get(table, stdout)?;
                let files = vm.metatable(stdout)?;
                self.add(vm, files)?;
                let methods = vm.get(files, index)?;
                self.add(vm, methods)?;
            }
        }
        let strings = vm.metatable(context.name)?;
        self.add(vm, strings)?;
        let searchers = vm.get(context.package, searchers)?;
        self.add(vm, searchers)
    }

    fn add_remembered(&mut self, vm: &Vm, entries: Kept<KeyValue>) -> Result<()> {
        let mut functions = entries
            .values()
            .filter(|value| vm.is_c_function(*value).is_some());
        functions.try_for_each(|function| self.functions.try_push(vm.val(function).addr))
    }

    fn add(&mut self, vm: &Vm, table: Ref) -> Result<()> {
        vm.c_functions(table, 100_000, |addr| self.functions.try_push(addr))
    }

    /// Is it what frees the long buffers of the library's functions? It stands in no library, and
    /// not before there was one.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn is_of_buffer(&mut self, vm: &mut Vm, addr: usize) -> Result<bool> {
        let buffers = vm.registry(c"_UBOX*")?;
        let mut is_there = false;
        vm.c_functions(buffers, 100_000, |own| {
            is_there |= own == addr;
            Ok(())
        })?;
        if is_there {
            self.functions.try_push(addr)?;
        }
        Ok(is_there)
    }

    /// What the C function at an address does, if it is of the standard library.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn what(
        &mut self,
        vm: &mut Vm,
        (context, snapshot): (&Context, &Snapshot),
        addr: usize,
    ) -> Result<Option<Use>> {
        self.read_uses(vm, context)?;
        if let Some(known) = self.known(addr) {
            return Ok(Some(known));
        }
        self.read_functions(vm, (context, snapshot))?;
        Ok(self.functions.contains(&addr).then_some(Use::Plain))
    }

    /// Is it `require`, which was called?
    pub fn is_require(&self, addr: usize) -> bool {
        self.known(addr) == Some(Use::Require)
    }

    fn known(&self, addr: usize) -> Option<Use> {
        let mut uses = self.uses.iter();
        uses.find(|(of, _)| *of == addr).map(|(_, what)| *what)
    }
}
