//! The functions of Lua's standard library, by address: what they do that matters to those who
//! watch calls.

use crate::lua::vm::{Ref, Vm};
use crate::stages::find::{Context, STANDARD};
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
    /// All of its functions. (They are few: to go through them costs less than a table of them.)
    functions: Vec<usize>,
}

impl Standard {
    /// Reads it off the program, once.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn prepare(&mut self, vm: &mut Vm, context: &Context) -> Result<()> {
        if !self.functions.is_empty() {
            return Ok(());
        }
        self.functions.try_reserve(256)?;
        self.uses.try_reserve(USES.len())?;
        let names = STANDARD.iter().chain(&HOLDERS).copied();
        let names = names.chain(USES.iter().map(|(_, name, _)| *name));
        let names = vm.strings(names.map(str::as_bytes))?;
        let uses = (STANDARD.len() + HOLDERS.len()) as u32..names.len();
        let [stdout, index, searchers] =
            std::array::from_fn(|i| names.at((STANDARD.len() + i) as u32));
        for (library, name) in STANDARD.iter().zip(names.iter()) {
            let table = vm.get(context.loaded, name)?;
            self.add(vm, table)?;
            let named = USES.iter().zip(uses.clone());
            for ((_, _, what), name) in named.filter(|((of, ..), _)| of == library) {
                let function = vm.get(table, names.at(name))?;
                if vm.is_c_function(function).is_some() {
                    self.uses.try_push((vm.val(function).addr, *what))?;
                }
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

    /// What the function at an address does, if it is of the standard library.
    pub fn what(&self, addr: usize) -> Option<Use> {
        let mut uses = self.uses.iter();
        let known = uses.find(|(of, _)| *of == addr).map(|(_, what)| *what);
        known.or_else(|| self.functions.contains(&addr).then_some(Use::Plain))
    }
}
