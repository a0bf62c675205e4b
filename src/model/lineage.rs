//! What is remembered of objects, weakly: which are generations of one another (R3.3), by which
//! number the record (R8) knows them, and what the code of functions amounts to.
//!
//! One integer for each object in a table with weak keys: it keeps nothing alive. A function that
//! takes the place of a running one has that one's number; a table of the running program keeps its
//! own. An object of others that the record speaks of has a number as well, with a minus sign: that
//! it has one does not say that a load of this module has placed it. A module's object that nobody
//! has numbered yet has -1, which holds none.
//!
//! Another table like it has the digest of each function with its lines: it tells which functions
//! are the file's to the letter, and stay the objects that they are (R3.6).

use rustc_hash::FxHashMap;

use crate::code::Profile;
use crate::lua::vm::{Ref, Vm};
use crate::lua::write;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// Objects are numbered with the bits that a profile leaves; past them an object has no number.
pub const MOST: i64 = (1 << (63 - Profile::PACKED_BITS)) - 1;

/// The weak tables, and the key under which the first one counts.
#[derive(Clone, Copy)]
pub struct Lineage {
    /// Object → number.
    pub table: Ref,
    /// The key of the last number.
    counter: Ref,
    /// Function → [`Profile::exact`]. It stands in the first table.
    exact: Ref,
}

impl Lineage {
    /// What is remembered in this table of the façade's.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn in_table(vm: &mut Vm, table: Ref) -> Result<Lineage> {
        let (counter, key) = (vm.string(b"last")?, vm.string(b"exact")?);
        let mut exact = vm.get(table, key)?;
        if !vm.val(exact).is_table() {
            exact = vm.weak_table()?;
            write::fill(vm, table, key, exact)?;
        }
        Ok(Lineage {
            table,
            counter,
            exact,
        })
    }

    /// Are both functions generations of one?
    pub fn is_one(&self, vm: &Vm, a: Ref, b: Ref) -> bool {
        let lineage_of_a = self.of(vm, a);
        lineage_of_a.is_some() && lineage_of_a == self.of(vm, b)
    }

    /// The number of an object, if it has one: for a function, that of its lineage.
    pub fn of(&self, vm: &Vm, object: Ref) -> Option<i64> {
        Lineage::number_in(self.note(vm, object)?)
    }

    /// What is noted of an object, if a load has met it.
    pub fn note(&self, vm: &Vm, object: Ref) -> Option<i64> {
        vm.get_number(self.table, object)
    }

    /// The number in what is noted of an object.
    pub fn number_in(note: i64) -> Option<i64> {
        let number = note.abs() >> Profile::PACKED_BITS;
        (number != 0).then_some(number)
    }

    /// What is noted of a function that a load has placed.
    pub fn number(&self, vm: &Vm, function: Ref) -> Option<i64> {
        self.note(vm, function).filter(|number| *number >= 0)
    }

    /// What a number tells of the function's code.
    pub fn profile(number: i64) -> Option<Profile> {
        Profile::unpack(number as u64)
    }

    /// The same, with what is noted of the function's lines.
    pub fn profile_of(&self, vm: &Vm, function: Ref, number: i64) -> Option<Profile> {
        let profile = Lineage::profile(number)?;
        let exact = vm.get_number(self.exact, function).unwrap_or(0) as u64;
        Some(Profile { exact, ..profile })
    }
}

/// A function that a load has made or met.
#[derive(Clone, Copy, Debug)]
pub struct Continued {
    /// The running function whose lineage it continues, if any.
    pub old: Option<Ref>,
    /// What is noted of that ([`Lineage::number`]), if it is known.
    pub noted: Option<i64>,
    /// The function.
    pub new: Ref,
    /// Its code, if it has been read.
    pub profile: Option<Profile>,
    /// The running function is the file's to the letter, and stays: it is the one to be noted.
    pub stays: bool,
}

/// The numbers that a load gives. They are noted when it is kept.
pub struct Numbers {
    /// What is noted already.
    pub lineage: Lineage,
    last: i64,
    /// By address.
    given: FxHashMap<usize, i64>,
    /// What is to be noted. The count comes first: should memory end in between, no number is given
    /// twice.
    notes: Vec<(Ref, i64)>,
    /// Of functions, [`Profile::exact`].
    exact: Vec<(Ref, i64)>,
}

impl Numbers {
    /// None yet.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn new(vm: &Vm, lineage: Lineage) -> Result<Numbers> {
        let last = vm.get_number(lineage.table, lineage.counter).unwrap_or(0);
        let mut notes = Vec::new();
        notes.try_push((lineage.counter, last))?;
        Ok(Numbers {
            lineage,
            last,
            given: FxHashMap::default(),
            notes,
            exact: Vec::new(),
        })
    }

    /// The number of an object, if it has one.
    pub fn of(&self, vm: &Vm, object: Ref) -> Option<i64> {
        match self.given.get(&vm.val(object).addr) {
            Some(number) => (*number != 0).then_some(*number),
            None => self.lineage.of(vm, object),
        }
    }

    /// The number that the load has given to the object at an address.
    pub fn given(&self, address: usize) -> Option<i64> {
        let number = self.given.get(&address).copied();
        number.filter(|number| *number != 0)
    }

    /// The number of a table of the module's own; none when there are no more numbers.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn own(&mut self, vm: &Vm, table: Ref) -> Result<Option<i64>> {
        self.give(vm, table, 1)
    }

    /// The number of an object of others; none when there are no more numbers.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn external(&mut self, vm: &Vm, object: Ref) -> Result<Option<i64>> {
        self.give(vm, object, -1)
    }

    fn give(&mut self, vm: &Vm, object: Ref, sign: i64) -> Result<Option<i64>> {
        if let Some(number) = self.of(vm, object) {
            return Ok(Some(number));
        }
        let number = self.next();
        if number == 0 {
            return Ok(None);
        }
        self.note(vm, object, number, sign * (number << Profile::PACKED_BITS))?;
        Ok(Some(number))
    }

    /// Were there too few for this load?
    pub fn are_used_up(&self) -> bool {
        self.last > MOST
    }

    /// The next number; 0 when there are no more.
    fn next(&mut self) -> i64 {
        self.last = (self.last + 1).min(MOST + 1);
        if self.last > MOST { 0 } else { self.last }
    }

    fn note(&mut self, vm: &Vm, object: Ref, number: i64, note: i64) -> Result<()> {
        self.given.try_insert_value(vm.val(object).addr, number)?;
        self.notes.try_push((object, note))
    }

    /// Numbers functions, each as the running function that it continues, if any.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn functions(&mut self, vm: &Vm, functions: &[Continued]) -> Result<()> {
        self.given.try_reserve(functions.len())?;
        self.notes.try_reserve(functions.len())?;
        for function in functions {
            let old = function.old;
            let noted = function.noted.or_else(|| self.lineage.number(vm, old?));
            let known = noted.and_then(Lineage::number_in);
            let known = known.or_else(|| self.of(vm, old?));
            let number = match known {
                Some(number) => number,
                None => self.next(),
            };
            let note = number << Profile::PACKED_BITS;
            let whole = note | function.profile.map_or(0, Profile::pack) as i64;
            let mut placed = function.new;
            if let Some(old) = old {
                if function.stays {
                    let address = vm.val(function.new).addr;
                    self.given.try_insert_value(address, number)?;
                    placed = old;
                } else if noted.is_none() {
                    self.note(vm, old, number, note)?;
                }
            }
            if function.stays && noted == Some(whole) {
                continue;
            }
            self.note(vm, placed, number, whole)?;
            if let Some(profile) = function.profile.filter(|profile| profile.exact != 0) {
                self.exact.try_push((placed, profile.exact as i64))?;
            }
        }
        Ok(())
    }

    /// Notes the numbers in the weak table.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`]; some may be noted then, which says nothing.
    pub fn keep(mut self, vm: &mut Vm) -> Result<()> {
        if let Some(count) = self.notes.first_mut() {
            count.1 = self.last;
        }
        write::note_lineage(vm, self.lineage.exact, &self.exact)?;
        write::note_lineage(vm, self.lineage.table, &self.notes)
    }
}
