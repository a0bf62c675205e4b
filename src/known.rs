//! The functions of A1 and their cells, by number.
//!
//! An address is looked up once, and what the stages know of a function or a cell stands in lists under its number. The walk before
//! the load (`remember.rs`) numbers the module's own functions and their cells; pairing numbers what else it meets.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use crate::error::Result;
use crate::mem::{TryInsert, TryPush};
use crate::raw::vm::Info;

/// The number of an object that was seen and is no numbered function.
const NONE: u32 = u32::MAX;

/// A function of A1.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// What `lua_getinfo` says.
    pub info: Info,
    /// The module's own.
    pub home: bool,
    /// The number of its first upvalue; none as long as its upvalues are not listed.
    pub first: Option<u32>,
}

/// Functions and cells of A1.
#[derive(Default)]
pub struct Known {
    /// Tables and functions that were seen, by address.
    objects: FxHashMap<usize, u32>,
    functions: Vec<Function>,
    cells: FxHashMap<usize, u32>,
    /// The cells of listed upvalues.
    upvalues: Vec<u32>,
}

impl Known {
    /// Makes room for what so many functions of the file lead to expect.
    pub fn reserve(&mut self, functions: usize) -> Result<()> {
        self.objects.try_reserve(functions + functions / 4)?;
        self.functions.try_reserve(functions)?;
        self.cells.try_reserve(functions / 4)?;
        self.upvalues.try_reserve(functions * 4)?;
        Ok(())
    }

    /// Notes that an object was seen; false when it had been before.
    pub fn see(&mut self, address: usize) -> Result<bool> {
        self.objects.try_reserve(1)?;
        let seen = self.objects.entry(address);
        let first = matches!(seen, Entry::Vacant(_));
        seen.or_insert(NONE);
        Ok(first)
    }

    /// Numbers a function.
    pub fn add(&mut self, address: usize, info: Info, home: bool) -> Result<u32> {
        let number = self.functions.len() as u32;
        let first = None;
        self.functions.try_push(Function { info, home, first })?;
        self.objects.try_insert_value(address, number)?;
        Ok(number)
    }

    /// The number of a function.
    #[inline]
    pub fn number(&self, address: usize) -> Option<u32> {
        self.objects.get(&address).copied().filter(|number| *number != NONE)
    }

    /// A function by its number.
    #[inline]
    pub fn function(&self, number: u32) -> Option<Function> {
        self.functions.get(number as usize).copied()
    }

    /// Is one of the functions the module's own?
    pub fn has_home_function(&self) -> bool {
        self.functions.iter().any(|function| function.home)
    }

    /// Begins the list of a function's upvalues: its cells are to follow, one [`Known::list`] for each.
    pub fn begin(&mut self, number: u32) {
        let first = self.upvalues.len() as u32;
        if let Some(function) = self.functions.get_mut(number as usize) {
            function.first = Some(first);
        }
    }

    /// Lists the next upvalue by the address of its cell. True when the cell was not known.
    #[inline]
    pub fn list(&mut self, cell: usize) -> Result<bool> {
        let known = self.cells.len();
        let number = self.cell(cell)?;
        self.upvalues.try_push(number)?;
        Ok(self.cells.len() > known)
    }

    /// The number of a cell, a new one for one that was not known.
    #[inline]
    pub fn cell(&mut self, address: usize) -> Result<u32> {
        match self.cells.get(&address) {
            Some(number) => Ok(*number),
            None => self.add_cell(address),
        }
    }

    #[cold]
    fn add_cell(&mut self, address: usize) -> Result<u32> {
        let number = self.cells.len() as u32;
        self.cells.try_insert_value(address, number)?;
        Ok(number)
    }

    /// The cell of a listed upvalue.
    #[inline]
    pub fn cell_of(&self, upvalue: u32) -> Option<u32> {
        self.upvalues.get(upvalue as usize).copied()
    }
}

/// What is known of numbered things, where that is another number: a list with gaps.
#[derive(Default)]
pub struct Numbers(Vec<u32>);

impl Numbers {
    /// What stands under a number.
    #[inline]
    pub fn get(&self, number: u32) -> Option<u32> {
        self.0.get(number as usize).copied().filter(|found| *found != NONE)
    }

    /// Notes something under a number.
    pub fn set(&mut self, number: u32, value: u32) -> Result<()> {
        let index = number as usize;
        if index >= self.0.len() {
            self.0.try_reserve(index + 1 - self.0.len())?;
            self.0.resize(index + 1, NONE);
        }
        if let Some(place) = self.0.get_mut(index) {
            *place = value;
        }
        Ok(())
    }
}
