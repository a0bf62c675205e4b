//! Which function of the module a function of the file answers to, as far as names and code tell (R5.4).

use rustc_hash::{FxHashMap, FxHashSet};

use crate::code::{self, Chunk};
use crate::lua::calls;
use crate::lua::tracker::Made;
use crate::lua::vm::{Kind, Ref, Vm};
use crate::model::home::Home;
use crate::stages::snapshot::Snapshot;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, copied};

/// Entries of the tables of the file's locals that are looked at for names, in a whole load.
const MOST_LOOKED_AT: usize = 100_000;

/// How well one function answers to another one; the highest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Likeness {
    /// Both are the module's own, and nothing speaks against it.
    Any,
    /// They have the same code, lines apart.
    Code,
    /// They have a name in common, or have been found to answer to each other in this load.
    Name,
}

/// The code of a function, lines apart, as far as it is known.
type Digest = Option<u32>;

/// What is known of the functions of both sides.
#[derive(Default)]
pub struct Names {
    /// Of the running module: the names of each function, and the function of each name.
    running: FxHashMap<usize, Vec<Vec<u8>>>,
    named: FxHashMap<Vec<u8>, usize>,
    /// Of the file: the names that its functions have so far.
    incoming: FxHashMap<usize, Vec<Vec<u8>>>,
    looked_at: usize,
    digests: FxHashMap<usize, Digest>,
    /// The names under which the file's main chunk stores functions.
    defined: FxHashSet<Vec<u8>>,
    /// The code of all functions of the file.
    file: FxHashSet<u32>,
    /// Functions that answer to each other: the file's to the running one's, and back.
    pub answers: FxHashMap<usize, Ref>,
    answered: FxHashMap<usize, usize>,
    ready: bool,
}

/// What the names are read from.
pub struct Sources<'a> {
    /// The table of globals.
    pub globals: Ref,
    /// What was remembered before the chunk began.
    pub snapshot: &'a Snapshot,
    /// The file's code.
    pub chunk: Option<&'a Chunk>,
    /// The coroutine on which the chunk runs, and the address of its main function.
    pub chunk_at: (usize, usize),
}

impl Names {
    /// Reads the names of the running module's functions, once.
    fn prepare(&mut self, vm: &mut Vm, home: &mut Home, sources: &Sources<'_>) -> Result<()> {
        if std::mem::replace(&mut self.ready, true) {
            return Ok(());
        }
        for i in 0..sources.snapshot.len() {
            let Some(slots) = sources.snapshot.slots_of(i) else {
                continue;
            };
            for slot in 0..slots.count {
                let (key, value) = slots.slot(slot);
                if vm.kind(value) == Kind::Function
                    && let Some(name) = vm.bytes(key)?
                {
                    self.name_running(vm, home, value, name)?;
                }
            }
        }
        for number in 0..sources.snapshot.known.functions() as u32 {
            let Some(function) = sources.snapshot.known.function(number) else {
                continue;
            };
            for i in 1..=function.info.upvalues {
                if vm
                    .upvalue(function.at, i)
                    .is_some_and(|upvalue| upvalue.value.is_function())
                {
                    let (name, value) = (vm.upvalue_name(function.at, i), vm.upvalue_value(function.at, i)?);
                    self.name_running(vm, home, value, name)?;
                }
            }
        }
        if let Some(chunk) = sources.chunk {
            for name in chunk.stored_names()? {
                self.defined.try_insert_value(name, ())?;
            }
            for digest in chunk.digests() {
                self.file.try_insert_value(digest, ())?;
            }
        }
        Ok(())
    }

    fn name_running(&mut self, vm: &mut Vm, home: &mut Home, function: Ref, name: Vec<u8>) -> Result<()> {
        let info = vm.info(function)?.unwrap_or_default();
        if !home.owns(vm, function, &info)? {
            return Ok(());
        }
        let address = vm.val(function).addr;
        if !self.running.contains_key(&address) {
            self.running.try_insert_value(address, Vec::new())?;
        }
        if let Some(names) = self.running.get_mut(&address) {
            names.try_push(copied(&name)?)?;
        }
        self.named.try_insert_value(name, address)?;
        Ok(())
    }

    /// Looks for names of a function of the file: among the locals of its chunk, and in the tables that these hold.
    fn name_incoming(
        &mut self,
        vm: &mut Vm,
        made: Made<'_>,
        (thread, main): (usize, usize),
        incoming: usize,
    ) -> Result<()> {
        if self.incoming.contains_key(&incoming) || self.looked_at > MOST_LOOKED_AT {
            return Ok(());
        }
        let mut found = Vec::new();
        calls::locals(vm, thread, main, &mut found)?;
        let mut tables = Vec::new();
        for (name, value) in found {
            self.meet_incoming(vm, made, name, value, &mut tables)?;
        }
        let mut seen: FxHashSet<usize> = FxHashSet::default();
        while let Some(table) = tables.pop() {
            if seen.try_insert_value(vm.val(table).addr, ())?.is_some() || self.looked_at > MOST_LOOKED_AT {
                continue;
            }
            let metatable = vm.metatable(table)?;
            self.meet_incoming(vm, made, Vec::new(), metatable, &mut tables)?;
            let mut entries = Vec::new();
            vm.zip(table, Ref::NIL)?;
            while let Some(entry) = vm.zip_next() {
                self.looked_at += 1;
                if entry.new.is_function() && entry.key.kind == Kind::String || entry.new.is_table() {
                    entries.try_push(vm.zip_keep_pair()?)?;
                }
            }
            for value in entries {
                let name = vm.bytes(value.after(1))?.unwrap_or_default();
                self.meet_incoming(vm, made, name, value, &mut tables)?;
            }
        }
        Ok(())
    }

    /// Notes a function of the load under a name, or a table of the load to be looked into.
    fn meet_incoming(
        &mut self,
        vm: &Vm,
        made: Made<'_>,
        name: Vec<u8>,
        value: Ref,
        tables: &mut Vec<Ref>,
    ) -> Result<()> {
        let val = vm.val(value);
        if val.is_function() && made.created(val.addr) {
            self.note_incoming(val.addr, name)?;
        } else if val.is_table() && made.created(val.addr) {
            tables.try_push(value)?;
        }
        Ok(())
    }

    fn note_incoming(&mut self, address: usize, name: Vec<u8>) -> Result<()> {
        if !self.incoming.contains_key(&address) {
            self.incoming.try_insert_value(address, Vec::new())?;
        }
        if let Some(names) = self.incoming.get_mut(&address)
            && !names.contains(&name)
        {
            names.try_push(name)?;
        }
        Ok(())
    }

    /// A name of a function of the file, for a text: the first in the order of their letters.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn name_of(
        &mut self,
        vm: &mut Vm,
        made: Made<'_>,
        chunk_at: (usize, usize),
        function: Ref,
    ) -> Result<Option<Vec<u8>>> {
        let address = vm.val(function).addr;
        if !made.created(address) {
            return Ok(None);
        }
        self.name_incoming(vm, made, chunk_at, address)?;
        let names = self.incoming.get(&address);
        names
            .and_then(|names| names.iter().min())
            .map(|name| copied(name))
            .transpose()
    }

    /// The code of a function of the module; it lives as long as the load.
    fn digest(&mut self, vm: &mut Vm, function: Ref) -> Result<Digest> {
        let address = vm.val(function).addr;
        if let Some(known) = self.digests.get(&address) {
            return Ok(*known);
        }
        let digest = code::profile(vm.dump(function, true)?).map(|profile| profile.digest);
        self.digests.try_insert_value(address, digest)?;
        Ok(digest)
    }

    /// May the running function be the one that the file's answers to, and how well? Both are the module's own.
    pub fn likeness(
        &mut self,
        vm: &mut Vm,
        home: &mut Home,
        made: Made<'_>,
        sources: &Sources<'_>,
        (incoming, running): (Ref, Ref),
    ) -> Result<Option<Likeness>> {
        self.prepare(vm, home, sources)?;
        let (new, old) = (vm.val(incoming).addr, vm.val(running).addr);
        if let Some(answer) = self.answers.get(&new) {
            return Ok((vm.val(*answer).addr == old).then_some(Likeness::Name));
        }
        if self.answered.contains_key(&old) {
            return Ok(None);
        }
        self.name_incoming(vm, made, sources.chunk_at, new)?;
        let nothing = Vec::new();
        let own = self.incoming.get(&new).unwrap_or(&nothing);
        let others = self.running.get(&old).unwrap_or(&nothing);
        if own.iter().any(|name| others.contains(name)) {
            return Ok(Some(Likeness::Name));
        }
        // The file has another function of that name, or the module has another one for this name.
        let is_used =
            |name: &Vec<u8>| self.defined.contains(name) || self.incoming.values().any(|names| names.contains(name));
        if others.iter().any(is_used)
            || own
                .iter()
                .any(|name| self.named.get(name).is_some_and(|one| *one != old))
        {
            return Ok(None);
        }
        let new = code::profile(vm.dump(incoming, true)?).map(|profile| profile.digest);
        let old = self.digest(vm, running)?;
        Ok(match old {
            Some(_) if new == old => Some(Likeness::Code),
            Some(old) if self.file.contains(&old) => None, // left to the one of equal code
            _ => Some(Likeness::Any),
        })
    }

    /// Notes that two functions answer to each other.
    pub fn pair(&mut self, vm: &Vm, incoming: Ref, running: Ref) -> Result<()> {
        let (new, old) = (vm.val(incoming).addr, vm.val(running).addr);
        self.answers.try_insert_value(new, running)?;
        self.answered.try_insert_value(old, new)?;
        Ok(())
    }
}
