//! The running functions and their cells, by number.
//!
//! An address is looked up once, and what the stages know of a function or a cell stands in lists
//! under its number. The walk before the load (`snapshot.rs`) numbers the module's own functions
//! and their cells; pairing numbers what else it meets. What the cells of a function are is found
//! out once for all functions that have the same ones.

use std::collections::hash_map::Entry;
use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::lua::vm::{Info, Ref};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// The number of an object that was seen and is no numbered function.
const NONE: u32 = u32::MAX;

/// Tables that are seen whatever the size of the file.
const BESIDES: usize = 32;

/// So many lists of cells are expected to be shared, …
const SOME_LISTS: usize = 64;
/// … and so many more for each that was.
const SHARED: usize = 4;

/// A running function.
#[derive(Clone, Copy, Debug)]
pub struct RunningFunction {
    /// The function.
    pub at: Ref,
    /// What `lua_getinfo` says.
    pub info: Info,
    /// The module's own.
    pub own: bool,
    /// The number of its list of cells; none as long as its upvalues are not looked at.
    pub list: Option<u32>,
    /// What is noted of it (`lineage.rs`), if that is known.
    pub noted: Option<i64>,
}

/// Functions and running cells.
#[derive(Default)]
pub struct ObjectTable {
    /// Tables and functions that were seen, by address.
    objects: FxHashMap<usize, u32>,
    functions: Vec<RunningFunction>,
    /// The cells of each function.
    pub lists: CellLists,
}

impl ObjectTable {
    /// Makes room for what so many functions of the file lead to expect.
    pub fn reserve(&mut self, functions: usize) -> Result<()> {
        self.objects
            .try_reserve(functions + functions / 4 + BESIDES)?;
        self.functions.try_reserve(functions)?;
        self.lists.reserve(functions)
    }

    /// Notes that an object was seen; false when it had been before.
    pub fn see(&mut self, address: usize) -> Result<bool> {
        self.objects.try_reserve(1)?;
        let seen = self.objects.entry(address);
        let first = matches!(seen, Entry::Vacant(_));
        seen.or_insert(NONE);
        Ok(first)
    }

    /// Notes that a function was seen, and numbers it if it is an own function that had not been
    /// before: `own` tells what is known of one, and nothing of any other function.
    pub fn see_function(
        &mut self,
        (at, address): (Ref, usize),
        own: impl FnOnce() -> Result<Option<Info>>,
    ) -> Result<Option<u32>> {
        self.objects.try_reserve(1)?;
        let Entry::Vacant(seen) = self.objects.entry(address) else {
            return Ok(None);
        };
        let Some(info) = own()? else {
            seen.insert(NONE);
            return Ok(None);
        };
        let number = self.functions.len() as u32;
        self.functions.try_push(RunningFunction {
            at,
            info,
            own: true,
            list: None,
            noted: None,
        })?;
        seen.insert(number);
        Ok(Some(number))
    }

    /// Numbers a function.
    pub fn add(&mut self, (at, address): (Ref, usize), info: Info, own: bool) -> Result<u32> {
        let number = self.functions.len() as u32;
        self.functions.try_push(RunningFunction {
            at,
            info,
            own,
            list: None,
            noted: None,
        })?;
        self.objects.try_insert_value(address, number)?;
        Ok(number)
    }

    /// The number of a function.
    #[inline]
    pub fn number(&self, address: usize) -> Option<u32> {
        self.objects
            .get(&address)
            .copied()
            .filter(|number| *number != NONE)
    }

    /// A function by its number.
    #[inline]
    pub fn function(&self, number: u32) -> Option<RunningFunction> {
        self.functions.get(number as usize).copied()
    }

    /// Keeps what is noted of a function.
    pub fn set_noted(&mut self, number: u32, noted: Option<i64>) {
        if let Some(function) = self.functions.get_mut(number as usize) {
            function.noted = noted;
        }
    }

    /// How many functions there are.
    pub fn functions(&self) -> usize {
        self.functions.len()
    }

    /// How many cells there are.
    pub fn cells(&self) -> usize {
        self.lists.count()
    }

    /// Is one of the functions the module's own?
    pub fn has_own_function(&self) -> bool {
        self.functions.iter().any(|function| function.own)
    }

    /// Notes the cells of a function: the number of their list, and whether the function is the
    /// first one with these.
    pub fn list(&mut self, number: u32, cells: &[usize]) -> Result<(u32, bool)> {
        let (list, first) = self.lists.number(cells)?;
        if let Some(function) = self.functions.get_mut(number as usize) {
            function.list = Some(list);
        }
        Ok((list, first))
    }
}

/// Cells by number, and lists of them. Functions that have the same cells in the same order, as
/// many of one module do, share a list.
#[derive(Default)]
pub struct CellLists {
    /// The cells by address.
    numbers: FxHashMap<usize, u32>,
    /// Their addresses.
    addresses: Vec<usize>,
    /// By a hash of the addresses, those lists that may be shared; where two have one hash, the
    /// later ones are not.
    by_hash: FxHashMap<u64, u32>,
    /// How often a list was met again.
    shared: usize,
    /// The cells of all lists.
    cells: Vec<u32>,
    /// Where each list begins.
    starts: Vec<u32>,
}

impl CellLists {
    /// Makes room for what so many functions lead to expect: many share a list, of a few cells.
    pub fn reserve(&mut self, functions: usize) -> Result<()> {
        let few = functions / 2;
        self.by_hash.try_reserve(few)?;
        self.starts.try_reserve(few)?;
        self.reserve_cells(functions / 4)?;
        Ok(self.cells.try_reserve(2 * functions)?)
    }

    /// Makes room for so many cells.
    pub fn reserve_cells(&mut self, cells: usize) -> Result<()> {
        self.numbers.try_reserve(cells)?;
        Ok(self.addresses.try_reserve(cells)?)
    }

    /// How many cells there are: they are numbered below this.
    pub fn count(&self) -> usize {
        self.addresses.len()
    }

    /// The address of a cell, 0 for a number that is none.
    pub fn address(&self, cell: u32) -> usize {
        self.addresses
            .get(cell as usize)
            .copied()
            .unwrap_or_default()
    }

    /// The number of the list of the cells at these addresses, and whether it is a new one. Cells
    /// that no list had are numbered in their order.
    pub fn number(&mut self, addresses: &[usize]) -> Result<(u32, bool)> {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let mix = |hash: u64, cell: &usize| (hash.rotate_left(23) ^ *cell as u64).wrapping_mul(MIX);
        let hash = addresses.iter().fold(MIX, mix);
        let known = self.by_hash.get(&hash).copied();
        if let Some(number) = known
            && self.is_list_of(number, addresses)
        {
            self.shared += 1;
            return Ok((number, false));
        }
        let number = self.starts.len() as u32;
        // A function that is made beside another one has most of its cells in the same places.
        let beside = self.starts.last().map_or(0, |start| *start as usize);
        let start = self.cells.len();
        self.cells.try_reserve(addresses.len())?;
        self.starts.try_push(start as u32)?;
        let met = self.addresses.len();
        for (i, address) in addresses.iter().enumerate() {
            let cell = self.cells.get(beside + i).copied();
            let cell = match cell.filter(|cell| self.address(*cell) == *address) {
                Some(cell) => cell,
                None => self.cell(*address)?,
            };
            self.cells.push(cell); // there is room
        }
        // A closure of a factory has cells of its own: where most lists have such, no list with a
        // new cell is looked for again.
        let may_be_shared =
            self.addresses.len() == met || self.starts.len() <= SOME_LISTS + SHARED * self.shared;
        if known.is_none() && may_be_shared {
            self.by_hash.try_insert_value(hash, number)?;
        }
        Ok((number, true))
    }

    /// The number of a cell, a new one for one that was not known.
    fn cell(&mut self, address: usize) -> Result<u32> {
        let number = self.addresses.len() as u32;
        self.numbers.try_reserve(1)?;
        match self.numbers.entry(address) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(place) => {
                self.addresses.try_push(address)?;
                place.insert(number);
                Ok(number)
            }
        }
    }

    fn is_list_of(&self, number: u32, addresses: &[usize]) -> bool {
        let cells = self.cells(number);
        let mut both = cells.iter().zip(addresses);
        cells.len() == addresses.len()
            && both.all(|(cell, address)| self.address(*cell) == *address)
    }

    /// The cells of a list.
    pub fn cells(&self, number: u32) -> &[u32] {
        self.cells.get(self.places(number)).unwrap_or_default()
    }

    /// Where the cells of a list stand, for [`CellLists::at`].
    pub fn places(&self, number: u32) -> Range<usize> {
        let start = |number: u32| {
            self.starts
                .get(number as usize)
                .map(|start| *start as usize)
        };
        let end = self.cells.len();
        start(number).unwrap_or(end)..start(number + 1).unwrap_or(end)
    }

    /// The cell at a place.
    #[inline]
    pub fn at(&self, place: usize) -> Option<u32> {
        self.cells.get(place).copied()
    }
}

/// What is known of numbered things, where that is another number: a list with gaps.
#[derive(Default)]
pub struct DenseMap(Vec<u32>);

impl DenseMap {
    /// What stands under a number.
    #[inline]
    pub fn get(&self, number: u32) -> Option<u32> {
        self.0
            .get(number as usize)
            .copied()
            .filter(|found| *found != NONE)
    }

    /// Makes room for numbers below this one.
    pub fn reserve(&mut self, count: usize) -> Result<()> {
        if let Some(more) = count.checked_sub(self.0.len()) {
            self.0.try_reserve(more)?;
            self.0.resize(count, NONE);
        }
        Ok(())
    }

    /// Notes something under a number.
    #[inline]
    pub fn set(&mut self, number: u32, value: u32) -> Result<()> {
        let index = number as usize;
        if index >= self.0.len() {
            self.reserve((index + 1).next_power_of_two())?;
        }
        if let Some(place) = self.0.get_mut(index) {
            *place = value;
        }
        Ok(())
    }
}
