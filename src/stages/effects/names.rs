//! Which function of the module a function of the file answers to, by name and code (R5.6).

use rustc_hash::{FxHashMap, FxHashSet};

use super::both::{BothDefinitions, Definers, FunctionInText};
use crate::code::{Chunk, Digest};
use crate::lua::calls;
use crate::lua::tracker::Creations;
use crate::lua::vm::{KeyValue, Kind, Ref, SourceId, Vm};
use crate::model::edits::KnownEdits;
use crate::model::lineage::Lineage;
use crate::model::ownership::Ownership;
use crate::stages::snapshot::Snapshot;
use crate::support::error::Result;
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush, collected, copied};

/// Entries of the tables of the file's locals that are looked at for names, in a whole load.
const MOST_LOOKED_AT: usize = 100_000;

/// How well one function answers to another one; the highest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum MatchStrength {
    /// Both are the module's own, and nothing speaks against it.
    Any,
    /// They have the same code, lines apart.
    Code,
    /// They have a name in common, or have been found to answer to each other in this load.
    Name,
}

/// The code of a function, lines apart, as far as it is known.
pub type CodeDigest = Option<Digest>;

/// What is known of the functions of both sides.
#[derive(Default)]
pub struct FunctionNames {
    /// Of the running module: the names of each function, and the function of each name; none
    /// where several have it.
    running: FxHashMap<usize, Vec<Vec<u8>>>,
    named: FxHashMap<Vec<u8>, Option<usize>>,
    /// The function with a name of each lineage, by its number.
    of_lineage: FxHashMap<i64, usize>,
    /// Of the file: the names that its functions have so far.
    incoming: FxHashMap<usize, Vec<Vec<u8>>>,
    incoming_names: FxHashSet<Vec<u8>>,
    looked_at: usize,
    digests: FxHashMap<usize, CodeDigest>,
    /// A function of the file and its code.
    last: Option<(Ref, CodeDigest)>,
    /// The names under which the file's main chunk stores functions, with the lines of each; none
    /// where several have the name.
    defined: FxHashMap<Vec<u8>, Option<(i32, i32)>>,
    /// The same by their lines.
    by_lines: FxHashMap<(i32, i32), Vec<u8>>,
    is_read: bool,
    /// The source to which these lines belong.
    pub source: Option<SourceId>,
    /// The code of all functions of the file.
    file: FxHashSet<Digest>,
    /// Functions that answer to each other: the file's to the running one's, and back.
    pub answers: FxHashMap<usize, Ref>,
    answered: FxHashMap<usize, usize>,
    ready: bool,
    /// Which code became which.
    pub edits: KnownEdits,
    /// The definitions of both texts, once they were asked for.
    pub both: Option<Option<Box<BothDefinitions>>>,
}

/// A function of this code as texts know it; none where its code is not known.
fn known(vm: &mut Vm, function: Ref, code: CodeDigest) -> Result<Option<FunctionInText>> {
    let info = vm.info(function)?;
    let known = info.zip(code);
    Ok(known.map(|(info, code)| ((info.line, info.last), code)))
}

/// What the names are read from.
pub struct NameSources<'a> {
    /// The table of globals.
    pub globals: Ref,
    /// The module's object, or nil.
    pub running: Ref,
    /// What was remembered before the chunk began.
    pub snapshot: &'a Snapshot,
    /// The file's code.
    pub chunk: Option<&'a Chunk>,
    /// The coroutine on which the chunk runs, and the address of its main function.
    pub chunk_at: (usize, usize),
    /// Which functions are generations of one.
    pub lineage: Option<Lineage>,
}

impl FunctionNames {
    /// Reads the names that the file's code gives to functions, once.
    fn read(&mut self, chunk: Option<&Chunk>) -> Result<()> {
        let Some(chunk) = chunk.filter(|_| !self.is_read) else {
            return Ok(());
        };
        self.is_read = true;
        for (name, lines) in chunk.stored_names()? {
            let lines = Some(lines).filter(|lines| {
                self.defined
                    .get(&name)
                    .is_none_or(|known| *known == Some(*lines))
            });
            // Where several functions stand on the same lines, these tell nothing.
            if let Some(lines) = lines
                && matches!(chunk.on_lines(lines.0, lines.1), Some(Some(_)))
            {
                self.by_lines.try_insert_value(lines, copied(&name)?)?;
            }
            self.defined.try_insert_value(name, lines)?;
        }
        Ok(())
    }

    /// Does the name belong to one function alone, on each side?
    fn is_telling(&self, name: &[u8]) -> bool {
        self.defined.get(name).is_none_or(Option::is_some)
            && self.named.get(name).is_none_or(Option::is_some)
    }

    /// Reads the names of the running module's functions, once.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn prepare(
        &mut self,
        vm: &mut Vm,
        ownership: &mut Ownership,
        sources: &NameSources<'_>,
    ) -> Result<()> {
        if std::mem::replace(&mut self.ready, true) {
            return Ok(());
        }
        for i in 0..sources.snapshot.len() {
            let Some(slots) = sources.snapshot.slots_of(i) else {
                continue;
            };
            for KeyValue { key, value } in slots.slots() {
                if vm.kind(value) == Kind::Function
                    && let Some(name) = vm.bytes(key)?
                {
                    self.name_running(vm, ownership, (value, sources.lineage), name)?;
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
                    let (name, value) = (
                        vm.upvalue_name(function.at, i),
                        vm.upvalue_value(function.at, i)?,
                    );
                    self.name_running(vm, ownership, (value, sources.lineage), name)?;
                }
            }
        }
        if let Some(chunk) = sources.chunk {
            for digest in chunk.digests() {
                self.file.try_insert_value(digest, ())?;
            }
        }
        Ok(())
    }

    fn name_running(
        &mut self,
        vm: &mut Vm,
        ownership: &mut Ownership,
        (function, lineage): (Ref, Option<Lineage>),
        name: Vec<u8>,
    ) -> Result<()> {
        if !ownership.has_function(vm, function)? {
            return Ok(());
        }
        let address = vm.val(function).addr;
        if !self.running.contains_key(&address) {
            self.running.try_insert_value(address, Vec::new())?;
            if let Some(number) = lineage.and_then(|lineage| lineage.of(vm, function)) {
                self.of_lineage.try_insert_value(number, address)?;
            }
        }
        if let Some(names) = self.running.get_mut(&address) {
            names.try_push(copied(&name)?)?;
        }
        let known = self.named.get(&name).copied();
        let alone = known
            .is_none_or(|known| known == Some(address))
            .then_some(address);
        self.named.try_insert_value(name, alone)?;
        Ok(())
    }

    /// Looks for names of a function of the file: in the chunk's code, among its locals, and in the
    /// tables that these hold.
    fn name_incoming(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        (chunk, (thread, main)): (Option<&Chunk>, (usize, usize)),
        function: Ref,
    ) -> Result<()> {
        let incoming = vm.val(function).addr;
        if self.incoming.contains_key(&incoming) {
            return Ok(());
        }
        self.read(chunk)?;
        let info = vm.info(function)?.unwrap_or_default();
        if Some(info.source) == self.source
            && let Some(name) = self.by_lines.get(&(info.line, info.last))
        {
            self.note_incoming(incoming, copied(name)?)?;
        }
        let mut found = Vec::new();
        calls::locals(vm, thread, main, &mut found)?;
        let mut tables = Vec::new();
        for (name, value) in found {
            self.discover_incoming(vm, made, name, value, &mut tables)?;
        }
        if self.incoming.contains_key(&incoming) {
            return Ok(());
        }
        let mut seen: FxHashSet<usize> = FxHashSet::default();
        while let Some(table) = tables.pop() {
            if seen.try_insert_value(vm.val(table).addr, ())?.is_some() {
                continue;
            }
            if self.looked_at > MOST_LOOKED_AT {
                return vm.limits.meet(
                    "only the first {} entries of the file's tables were searched for names of \
                     the functions that it registers, and others go by their code; give these \
                     functions to locals (R5.6)",
                    MOST_LOOKED_AT,
                    Where::Module,
                );
            }
            let metatable = vm.metatable(table)?;
            self.discover_incoming(vm, made, Vec::new(), metatable, &mut tables)?;
            let mut entries = Vec::new();
            let mut cursor = vm.walk(table, Ref::NIL)?;
            while let Some(entry) = cursor.next(vm) {
                self.looked_at += 1;
                if entry.new.is_function() && entry.key.kind == Kind::String || entry.new.is_table()
                {
                    entries.try_push(cursor.keep_pair(vm)?)?;
                }
            }
            for KeyValue { key, value } in entries {
                let name = vm.bytes(key)?.unwrap_or_default();
                self.discover_incoming(vm, made, name, value, &mut tables)?;
            }
        }
        Ok(())
    }

    /// Notes a function of the load under a name, or a table of the load to be looked into.
    fn discover_incoming(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        name: Vec<u8>,
        value: Ref,
        tables: &mut Vec<Ref>,
    ) -> Result<()> {
        let val = vm.val(value);
        if val.is_function() && made.created(val.addr) {
            // A local of a name that the code stores another function under says nothing.
            let info = vm.info(value)?.unwrap_or_default();
            let is_another = |lines: &Option<(i32, i32)>| *lines != Some((info.line, info.last));
            if !self.defined.get(&name).is_some_and(is_another) {
                self.note_incoming(val.addr, name)?;
            }
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
            self.incoming_names.try_insert_value(copied(&name)?, ())?;
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
        made: Creations<'_>,
        chunk: (Option<&Chunk>, (usize, usize)),
        function: Ref,
    ) -> Result<Option<Vec<u8>>> {
        let address = vm.val(function).addr;
        if !made.created(address) {
            return Ok(None);
        }
        self.name_incoming(vm, made, chunk, function)?;
        let names = self.incoming.get(&address);
        names
            .and_then(|names| names.iter().min())
            .map(|name| copied(name))
            .transpose()
    }

    /// The functions of the module to which one of the file answers by what has been found in this
    /// load, or by name.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn likely(
        &mut self,
        vm: &mut Vm,
        ownership: &mut Ownership,
        made: Creations<'_>,
        sources: &NameSources<'_>,
        incoming: Ref,
    ) -> Result<Vec<usize>> {
        self.prepare(vm, ownership, sources)?;
        let mut likely = Vec::new();
        let address = vm.val(incoming).addr;
        if let Some(answer) = self.answers.get(&address) {
            likely.try_push(self.current(vm, sources.lineage, *answer))?;
            return Ok(likely);
        }
        let chunk = (sources.chunk, sources.chunk_at);
        self.name_incoming(vm, made, chunk, incoming)?;
        for name in self.incoming.get(&address).map_or(&[][..], |names| names) {
            if let Some(Some(running)) = self.named.get(name)
                && self.is_telling(name)
            {
                likely.try_push(*running)?;
            }
        }
        Ok(likely)
    }

    /// The code of a function of the file, which is held as long as it is the last one that was
    /// asked for.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn digest_of_new(&mut self, vm: &mut Vm, incoming: Ref) -> Result<CodeDigest> {
        let address = vm.val(incoming).addr;
        if let Some((known, digest)) = self.last
            && vm.val(known).addr == address
        {
            return Ok(digest);
        }
        let digest = vm.profile(incoming)?.map(|profile| profile.digest);
        self.last = Some((incoming, digest));
        Ok(digest)
    }

    /// The code of a function of the module; it lives as long as the load.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn digest(&mut self, vm: &mut Vm, function: Ref) -> Result<CodeDigest> {
        let address = vm.val(function).addr;
        if let Some(known) = self.digests.get(&address) {
            return Ok(*known);
        }
        let digest = vm.profile(function)?.map(|profile| profile.digest);
        self.digests.try_insert_value(address, digest)?;
        Ok(digest)
    }

    /// May the running function be the one that the file's answers to, and how well? Both are the
    /// module's own.
    pub fn likeness(
        &mut self,
        vm: &mut Vm,
        ownership: &mut Ownership,
        made: Creations<'_>,
        sources: &NameSources<'_>,
        (incoming, running): (Ref, Ref),
    ) -> Result<Option<MatchStrength>> {
        self.prepare(vm, ownership, sources)?;
        let (new, current) = (
            vm.val(incoming).addr,
            self.current(vm, sources.lineage, running),
        );
        if let Some(answer) = self.answers.get(&new) {
            let is_one = self.current(vm, sources.lineage, *answer) == current
                || sources
                    .lineage
                    .is_some_and(|lineage| lineage.is_one(vm, *answer, running));
            return Ok(is_one.then_some(MatchStrength::Name));
        }
        if self.answered.contains_key(&vm.val(running).addr) {
            return Ok(None);
        }
        let chunk = (sources.chunk, sources.chunk_at);
        self.name_incoming(vm, made, chunk, incoming)?;
        let (own, others) = (self.incoming.get(&new), self.running.get(&current));
        let is_shared = |name: &Vec<u8>| {
            let is_other = others.is_some_and(|others| others.contains(name));
            is_other && self.is_telling(name)
        };
        if own.is_some_and(|own| own.iter().any(is_shared)) {
            return Ok(Some(MatchStrength::Name));
        }
        match self.relation(vm, incoming, running)? {
            Definers::Unknown => {}
            Definers::One => return Ok(Some(MatchStrength::Name)),
            Definers::Alike => return Ok(Some(MatchStrength::Code)),
            Definers::Others => return Ok(None),
        }
        let nothing = Vec::new();
        let own = self.incoming.get(&new).unwrap_or(&nothing);
        let others = self.running.get(&current).unwrap_or(&nothing);
        let mut own = own.iter().filter(|name| self.is_telling(name));
        let mut others = others.iter().filter(|name| self.is_telling(name));
        let info = vm.info(incoming)?.unwrap_or_default();
        let lines = (Some(info.source) == self.source).then_some((info.line, info.last));
        // The file has another function of that name. Of several on the same lines any may be it.
        let is_another = |name: &Vec<u8>| {
            self.incoming_names.contains(name)
                || self
                    .defined
                    .get(name)
                    .is_some_and(|defined| *defined != lines)
        };
        if others.any(is_another) {
            return Ok(None);
        }
        // The module has another one for this name.
        let is_taken = own.any(|name| {
            self.named
                .get(name)
                .is_some_and(|one| *one != Some(current))
        });
        let new = self.digest_of_new(vm, incoming)?;
        let old = self.digest(vm, running)?;
        Ok(match old {
            Some(_) if new == old => Some(MatchStrength::Code),
            Some(old) if self.file.contains(&old) => None, // left to the one of equal code
            _ => (!is_taken).then_some(MatchStrength::Any),
        })
    }

    /// What the definitions of both texts say of a function of the file and a running one.
    fn relation(&mut self, vm: &mut Vm, incoming: Ref, running: Ref) -> Result<Definers> {
        let Some(Some(_)) = &self.both else {
            return Ok(Definers::Unknown);
        };
        let (new, old) = (self.digest_of_new(vm, incoming)?, self.digest(vm, running)?);
        let (new, old) = (known(vm, incoming, new)?, known(vm, running, old)?);
        let both = self.texts().zip(new.zip(old));
        Ok(both.map_or(Definers::Unknown, |(both, (new, old))| {
            both.relation(new, old)
        }))
    }

    /// The definitions of both texts, if they were asked for and are known.
    pub fn texts(&self) -> Option<&BothDefinitions> {
        self.both.as_ref()?.as_deref()
    }

    /// The upvalues of a function of the file, counted from 1, that hold what no code assigns; and
    /// whether the file was edited since the last load. None where the texts are not known.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn constants_of(&mut self, vm: &mut Vm, incoming: Ref) -> Result<Option<(Vec<u8>, bool)>> {
        let code = self.digest_of_new(vm, incoming)?;
        let Some((both, function)) = self.texts().zip(known(vm, incoming, code)?) else {
            return Ok(None);
        };
        let constants = collected(both.constants(function).map(Ok))?;
        Ok(Some((constants, both.is_edited)))
    }

    /// Is it certain that the text of the last load has nothing that this function of the file was?
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn is_only_in_file(&mut self, vm: &mut Vm, incoming: Ref) -> Result<bool> {
        let code = self.digest_of_new(vm, incoming)?;
        let both = self.texts().zip(known(vm, incoming, code)?);
        Ok(both.is_some_and(|(both, function)| both.is_only_in_file(function)))
    }

    /// The code that a function of the file had at the last load; its own, if that is not known.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn former_code(&mut self, vm: &mut Vm, incoming: Ref) -> Result<CodeDigest> {
        let code = self.digest_of_new(vm, incoming)?;
        let both = self.texts().zip(known(vm, incoming, code)?);
        let former = both.and_then(|(both, function)| both.former_code(function));
        Ok(former.or(code))
    }

    /// The function of the running module that is this one's current generation: the one with a
    /// name.
    pub fn current(&self, vm: &Vm, lineage: Option<Lineage>, function: Ref) -> usize {
        let address = vm.val(function).addr;
        if self.running.contains_key(&address) {
            return address;
        }
        let number = lineage.and_then(|lineage| lineage.of(vm, function));
        let current = number.and_then(|number| self.of_lineage.get(&number));
        current.copied().unwrap_or(address)
    }

    /// Has a function of the running module the name?
    pub fn is_running(&self, name: &[u8]) -> bool {
        self.named.contains_key(name)
    }

    /// Does the file's main chunk store a function under the name?
    pub fn is_in_file(&self, name: &[u8]) -> bool {
        self.defined.contains_key(name)
    }

    /// Has a function of the file been found that answers to this one?
    pub fn is_answered(&self, vm: &Vm, running: Ref) -> bool {
        self.answered.contains_key(&vm.val(running).addr)
    }

    /// Notes that two functions answer to each other.
    pub fn pair(&mut self, vm: &Vm, incoming: Ref, running: Ref) -> Result<()> {
        let (new, old) = (vm.val(incoming).addr, vm.val(running).addr);
        self.answers.try_insert_value(new, running)?;
        self.answered.try_insert_value(old, new)?;
        Ok(())
    }
}
