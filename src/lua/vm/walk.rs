//! Whole tables: keeping their entries and comparing them with what was kept. No metamethod runs.

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::{Kept, KeyValue, Kind, Ref, Vm};
use crate::support::error::Result;

/// The digests of some keys, by the addresses of the strings.
#[derive(Default)]
pub struct KeyDigests([(usize, u64); KeyDigests::PLACES]);

impl KeyDigests {
    const PLACES: usize = 32;
}

impl Vm {
    /// Is a table's walk exactly these keys and values, in this order? False, too, where it is not
    /// worth while to tell.
    pub fn is_as(&self, table: Ref, mut entries: impl Iterator<Item = KeyValue>) -> bool {
        let (holder, index) = self.at(table);
        // SAFETY: a valid index; a holder has room for values in passing, and is as high as before
        // in the end.
        unsafe {
            if ffi::lua_type(holder, index) != ffi::LUA_TTABLE {
                return false;
            }
            let top = ffi::lua_gettop(holder);
            ffi::lua_pushnil(holder);
            let same = loop {
                let ended = ffi::lua_next(holder, index) == 0;
                let Some(KeyValue { key, value }) = entries.next() else {
                    break ended;
                };
                let ((key_holder, key), (value_holder, value)) = (self.at(key), self.at(value));
                if ended
                    || (key_holder, value_holder) != (holder, holder)
                    || ffi::lua_rawequal(holder, top + 1, key) == 0
                    || !Self::same_on(holder, top + 2, value)
                {
                    break false;
                }
                ffi::lua_settop(holder, top + 1);
            };
            ffi::lua_settop(holder, top);
            same
        }
    }

    /// Hands the digests of each key and its value to `each`, as long as both are scalars, and the
    /// key if it is an integer. Are all, and has the table no metatable? `keys` is of use as long
    /// as no string dies.
    pub fn scalars(
        &self,
        table: Ref,
        keys: &mut KeyDigests,
        mut each: impl FnMut(u64, u64, Option<i64>) -> Result<()>,
    ) -> Result<bool> {
        let (holder, index) = self.at(table);
        // SAFETY: a valid index; a holder has room for values in passing, and is as high as before
        // in the end.
        unsafe {
            if ffi::lua_type(holder, index) != ffi::LUA_TTABLE {
                return Ok(false);
            }
            let top = ffi::lua_gettop(holder);
            if ffi::lua_getmetatable(holder, index) != 0 {
                ffi::lua_settop(holder, top);
                return Ok(false);
            }
            let mut outcome = Ok(true);
            ffi::lua_pushnil(holder);
            while let Ok(true) = outcome
                && ffi::lua_next(holder, index) != 0
            {
                let value = self.digest_at(holder, top + 2);
                let digests = value
                    .and_then(|value| Some((self.key_digest_at(holder, top + 1, keys)?, value)));
                outcome = match digests {
                    Some((key, value)) => {
                        let is_integer = ffi::lua_isinteger(holder, top + 1) != 0;
                        let integer = is_integer.then(|| ffi::lua_tointeger(holder, top + 1));
                        each(key, value, integer).map(|()| true)
                    }
                    None => Ok(false),
                };
                ffi::lua_settop(holder, top + 1);
            }
            ffi::lua_settop(holder, top);
            outcome
        }
    }

    /// The digest of a key, worked out once where many tables have it.
    ///
    /// # Safety
    /// As for [`Vm::digest_at`].
    #[inline]
    unsafe fn key_digest_at(
        &self,
        thread: *mut lua_State,
        index: c_int,
        keys: &mut KeyDigests,
    ) -> Option<u64> {
        // SAFETY: as promised. Of the scalars only strings have an address.
        unsafe {
            let address = ffi::lua_topointer(thread, index) as usize;
            let known = keys.0.get_mut(address >> 4 & (KeyDigests::PLACES - 1))?;
            if known.0 != address || address == 0 {
                *known = (address, self.digest_at(thread, index)?);
            }
            Some(known.1)
        }
    }

    /// Keeps every entry of a table.
    pub fn keep_entries(&mut self, table: Ref) -> Result<Kept<KeyValue>> {
        self.keep_some(table, usize::MAX)
    }

    /// Keeps every entry of a table; none, with nothing kept, if it has more than `most`.
    pub fn keep_at_most(&mut self, table: Ref, most: usize) -> Result<Option<Kept<KeyValue>>> {
        // A list that has lost most of its elements takes as long to walk as a full one.
        if usize::try_from(self.raw_len(table)).is_ok_and(|length| length > most) {
            return Ok(None);
        }
        let mark = self.held();
        let entries = self.keep_some(table, most.saturating_add(1))?;
        if entries.len() as usize > most {
            self.release(mark);
            return Ok(None);
        }
        Ok(Some(entries))
    }

    /// Keeps the first entries of a table, up to `most`.
    pub fn keep_some(&mut self, table: Ref, most: usize) -> Result<Kept<KeyValue>> {
        let (first, mut count) = (Ref(self.len), 0);
        let mut ended = !self.look_at(table).is_table();
        while !ended && (count as usize) < most {
            self.make_room()?;
            let last = if count == 0 {
                Ref::NIL
            } else {
                first.after(2 * count - 2)
            };
            if self.room >= 2 && self.holders.last() == Some(&self.at(table).0) {
                let wanted = most - count as usize;
                let kept;
                (kept, ended) =
                    self.keep_in_place(table, last, wanted.min(self.room as usize / 2) as u32);
                count += kept;
            } else {
                ended = !self.keep_across(table, last)?;
                count += u32::from(!ended);
            }
        }
        Ok(Kept::new(first, count))
    }

    /// Keeps up to `most` entries behind `key`, the first ones behind nil. The table stands on the
    /// last holder, which has room for them. Returns how many there were, and whether the table
    /// ended.
    fn keep_in_place(&mut self, table: Ref, key: Ref, most: u32) -> (u32, bool) {
        let (holder, index) = self.at(table);
        let mut kept = 0;
        // SAFETY: a table, and one of its keys, or nil, on top; key and value stay where they are
        // pushed.
        let ended = unsafe {
            loop {
                match kept {
                    _ if kept == most => break false,
                    0 => self.push_beside(holder, key),
                    _ => ffi::lua_pushvalue(holder, -2),
                }
                if ffi::lua_next(holder, index) == 0 {
                    break true;
                }
                kept += 1;
            }
        };
        self.room -= 2 * kept;
        self.len += 2 * kept;
        (kept, ended)
    }

    /// Keeps the entry behind `key` where the table and the entry do not stand on one holder. False
    /// at the end.
    #[cold]
    fn keep_across(&mut self, table: Ref, key: Ref) -> Result<bool> {
        let s = self.scratch;
        // SAFETY: a table, and one of its keys, or nil, on the scratch, which is left as it was.
        unsafe {
            let top = ffi::lua_gettop(s);
            self.push(table);
            self.push(key);
            let mut kept = Ok(false);
            if ffi::lua_next(s, top + 1) != 0 {
                ffi::lua_pushvalue(s, -2);
                kept = self.keep().and_then(|_| self.keep()).map(|_| true);
            }
            ffi::lua_settop(s, top);
            kept
        }
    }

    /// Hands the addresses of the C functions that a table holds to `each`; none where it is no
    /// table. Looks at its first `most` entries.
    pub fn c_functions(
        &self,
        table: Ref,
        most: usize,
        mut each: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let (holder, index) = self.at(table);
        // SAFETY: a valid index; a holder has room for values in passing, and is as high as before
        // in the end.
        unsafe {
            if ffi::lua_type(holder, index) != ffi::LUA_TTABLE {
                return Ok(());
            }
            let top = ffi::lua_gettop(holder);
            let (mut left, mut outcome) = (most, Ok(()));
            ffi::lua_pushnil(holder);
            while left > 0 && outcome.is_ok() && ffi::lua_next(holder, index) != 0 {
                if ffi::lua_tocfunction(holder, -1).is_some() {
                    outcome = each(ffi::lua_topointer(holder, -1) as usize);
                }
                ffi::lua_settop(holder, -2);
                left -= 1;
            }
            ffi::lua_settop(holder, top);
            outcome
        }
    }

    /// Keeps what a table holds under each of the keys, in their order. Hands the number of each
    /// value that is an object to `object`.
    pub fn keep_each(
        &mut self,
        table: Ref,
        keys: Kept<Ref>,
        mut object: impl FnMut(u32) -> Result<()>,
    ) -> Result<Kept<Ref>> {
        let first = Ref(self.len);
        for (key, i) in keys.iter().zip(0..) {
            let value = self.get(table, key)?;
            if matches!(self.kind(value), Kind::Table | Kind::Function) {
                object(i)?;
            }
        }
        Ok(Kept::new(first, keys.len()))
    }

    /// Compares what a table holds under each of the keys with what [`Vm::keep_each`] kept. Hands
    /// the numbers of those that differ to `changed`.
    pub fn compare_each(
        &self,
        table: Ref,
        keys: Kept<Ref>,
        values: Kept<Ref>,
        mut changed: impl FnMut(u32) -> Result<()>,
    ) -> Result<()> {
        for ((key, value), i) in keys.iter().zip(values.iter()).zip(0..) {
            let (holder, index) = self.at(value);
            let thread = self.push_get(table, key);
            // SAFETY: the value is on top of a holder, which has room for one more. Nearly always
            // there is none, and was none.
            let same = unsafe {
                let top = ffi::lua_gettop(thread);
                let same = if ffi::lua_type(thread, top) == ffi::LUA_TNIL {
                    ffi::lua_type(holder, index) == ffi::LUA_TNIL
                } else {
                    self.push_beside(thread, value);
                    Self::same_on(thread, top, top + 1)
                };
                ffi::lua_settop(thread, top - 1);
                same
            };
            if !same {
                changed(i)?;
            }
        }
        Ok(())
    }

    /// Compares a table with entries that were kept from it, as long as they come in the same
    /// order. Hands the numbers of those whose value differs to `changed`. Returns how many
    /// came in order, and whether that is all on both sides.
    pub fn compare_entries(
        &mut self,
        table: Ref,
        entries: Kept<KeyValue>,
        mut changed: impl FnMut(u32) -> Result<()>,
    ) -> Result<(u32, bool)> {
        let (first, count) = (entries.first(), entries.len());
        if !self.look_at(table).is_table() {
            return Ok((0, count == 0));
        }
        let (thread, start) = self.at(first);
        // Where all of it stands on one holder, the walk goes on there, and nothing is copied.
        let in_place = self.at(table).0 == thread
            && (count == 0 || self.at(first.after(2 * count - 1)).0 == thread);
        let s = if in_place { thread } else { self.scratch };
        let mut i = 0;
        // SAFETY: the key and the value of the walk stand on top of a thread with room for them and
        // for copies of the kept ones; the thread is left as it was.
        unsafe {
            let top = ffi::lua_gettop(s);
            self.push_beside(s, table);
            ffi::lua_pushnil(s);
            let outcome = loop {
                if ffi::lua_next(s, top + 1) == 0 {
                    break Ok((i, i == count));
                }
                if i == count {
                    break Ok((i, false));
                }
                let mut kept = start + 2 * i as c_int;
                if !in_place {
                    self.push_pair(first.after(2 * i));
                    kept = top + 4;
                }
                if ffi::lua_rawequal(s, top + 2, kept) == 0 {
                    break Ok((i, false));
                }
                if !Self::same_on(s, top + 3, kept + 1)
                    && let Err(error) = changed(i)
                {
                    break Err(error);
                }
                ffi::lua_settop(s, top + 2);
                i += 1;
            };
            ffi::lua_settop(s, top);
            outcome
        }
    }
}
