//! Walks over tables: one at a time, beside another table, on the scratch thread. No metamethod
//! runs.

use std::ffi::c_int;

use mlua::ffi;

use super::{Entry, Kind, Ref, Vm};
use crate::lua::write::Permit;
use crate::support::error::{Error, Result};

impl Vm {
    /// Begins a walk over `new`, which must be a table, beside `old` (any value; looked up only
    /// when it is a table). One walk at a time; end it with [`Vm::zip_end`] or by walking to
    /// the end.
    pub fn zip(&mut self, new: Ref, old: Ref) -> Result<()> {
        if self.zipping || !self.val(new).is_table() {
            return Err(Error::Panic("a walk that cannot begin".into()));
        }
        self.zipping = true;
        // SAFETY: no walk is under way, so the scratch is empty.
        unsafe { ffi::lua_settop(self.scratch, 0) };
        self.push(new);
        self.push(old);
        // SAFETY: room as above.
        unsafe { ffi::lua_pushnil(self.scratch) };
        self.zip_has_old = self.val(old).is_table();
        Ok(())
    }

    /// The next entry of the walk; none at its end. The table may be assigned to under existing
    /// keys meanwhile.
    #[inline]
    pub fn zip_next(&mut self) -> Option<Entry> {
        if !self.zipping {
            return None;
        }
        let s = self.scratch;
        // SAFETY: the walked table, the other, and the last key stand at 1, 2, 3; the key came from
        // the table.
        unsafe {
            ffi::lua_settop(s, 3);
            if ffi::lua_next(s, 1) == 0 {
                self.zip_end();
                return None;
            }
            let old = if self.zip_has_old {
                ffi::lua_pushvalue(s, 3);
                ffi::lua_rawget(s, 2)
            } else {
                ffi::lua_pushnil(s);
                ffi::LUA_TNIL
            };
            Some(Entry {
                key: Self::describe(s, 3),
                new: Self::describe(s, 4),
                old: Self::describe_as(old, s, 5),
            })
        }
    }

    /// Keeps the current entry: its new value, old value and key, side by side in this order.
    #[inline]
    pub fn zip_keep(&mut self) -> Result<Ref> {
        let base = Ref(self.len);
        if self.room >= 3 {
            let holder = self.holders.last().copied().unwrap_or(self.scratch);
            // SAFETY: the entry stands at 3, 4, 5; the holder has room.
            unsafe {
                ffi::lua_pushvalue(self.scratch, 4);
                ffi::lua_pushvalue(self.scratch, 5);
                ffi::lua_pushvalue(self.scratch, 3);
                ffi::lua_xmove(self.scratch, holder, 3);
            }
            self.room -= 3;
            self.len += 3;
            return Ok(base);
        }
        for index in [4, 5, 3] {
            // SAFETY: the entry stands at 3, 4, 5.
            unsafe { ffi::lua_pushvalue(self.scratch, index) };
            self.keep()?;
        }
        Ok(base)
    }

    /// The current key when it is an integer.
    pub fn zip_key_integer(&self) -> Option<i64> {
        // SAFETY: the key stands at 3.
        unsafe {
            (ffi::lua_isinteger(self.scratch, 3) != 0).then(|| ffi::lua_tointeger(self.scratch, 3))
        }
    }

    /// Is the current entry's key the held `key`, and its value (or, `other`, the other table's)
    /// the held `value`?
    pub fn zip_is(&self, key: Ref, value: Ref) -> bool {
        self.zip_key_is(key) && {
            self.push(value);
            let same = self.same_at(4, -1);
            self.pop(1);
            same
        }
    }

    /// Is the current entry's key the held `key`?
    pub fn zip_key_is(&self, key: Ref) -> bool {
        self.push(key);
        // SAFETY: the entry's key stands at 3, the held one on top.
        let same = unsafe { ffi::lua_rawequal(self.scratch, 3, -1) != 0 };
        self.pop(1);
        same
    }

    /// Are the entry's two values equal without metamethods?
    pub fn zip_equal(&self) -> bool {
        self.same_at(4, 5)
    }

    /// Is a table's walk exactly these keys and values, in this order? False, too, where it is not
    /// worth while to tell.
    pub fn is_as(&self, table: Ref, mut entries: impl Iterator<Item = (Ref, Ref)>) -> bool {
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
                let Some((key, value)) = entries.next() else {
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

    /// Keeps every entry of a table, key and value side by side, and returns the first key and how
    /// many there are. Gives up behind `most` entries: it then returns one more than that, and
    /// what it has kept by then, which may be none, is of no use.
    pub fn keep_entries(&mut self, table: Ref, most: usize) -> Result<(Ref, u32)> {
        // A list that has lost most of its elements takes as long to walk as a full one.
        if usize::try_from(self.raw_len(table)).is_ok_and(|length| length > most) {
            return Ok((Ref(self.len), u32::try_from(most + 1).unwrap_or(u32::MAX)));
        }
        self.keep_some(table, most.saturating_add(1))
    }

    /// Keeps up to `most` entries of a table, key and value side by side, and returns the first key
    /// and how many there are.
    pub fn keep_some(&mut self, table: Ref, most: usize) -> Result<(Ref, u32)> {
        let (first, mut count) = (Ref(self.len), 0);
        let mut ended = !self.val(table).is_table();
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
        Ok((first, count))
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

    /// Keeps what a table holds under each of `count` keys that stand side by side, in their order.
    /// Hands the number of each that is an object to `object`.
    pub fn keep_each(
        &mut self,
        table: Ref,
        keys: Ref,
        count: u32,
        mut object: impl FnMut(u32) -> Result<()>,
    ) -> Result<Ref> {
        let first = Ref(self.len);
        for i in 0..count {
            let value = self.get(table, keys.after(i))?;
            if matches!(self.kind(value), Kind::Table | Kind::Function) {
                object(i)?;
            }
        }
        Ok(first)
    }

    /// Compares what a table holds under each of `count` keys with what [`Vm::keep_each`] kept.
    /// Hands the numbers of those that differ to `changed`.
    pub fn compare_each(
        &self,
        table: Ref,
        keys: Ref,
        values: Ref,
        count: u32,
        mut changed: impl FnMut(u32) -> Result<()>,
    ) -> Result<()> {
        for i in 0..count {
            let (holder, index) = self.at(values.after(i));
            let thread = self.push_get(table, keys.after(i));
            // SAFETY: the value is on top of a holder, which has room for one more. Nearly always
            // there is none, and was none.
            let same = unsafe {
                let top = ffi::lua_gettop(thread);
                let same = if ffi::lua_type(thread, top) == ffi::LUA_TNIL {
                    ffi::lua_type(holder, index) == ffi::LUA_TNIL
                } else {
                    self.push_beside(thread, values.after(i));
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
        first: Ref,
        count: u32,
        mut changed: impl FnMut(u32) -> Result<()>,
    ) -> Result<(u32, bool)> {
        if !self.val(table).is_table() {
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

    /// Keeps the current entry's value and key, side by side in this order.
    #[inline]
    pub fn zip_keep_pair(&mut self) -> Result<Ref> {
        let base = Ref(self.len);
        for index in [4, 3] {
            // SAFETY: the entry stands at 3 and 4.
            unsafe { ffi::lua_pushvalue(self.scratch, index) };
            self.keep()?;
        }
        Ok(base)
    }

    /// Takes the current entry out of the table that is walked.
    pub fn zip_clear(&mut self, _: Permit) {
        // SAFETY: the table stands at 1, the key at 3; a nil over an existing key allocates
        // nothing.
        unsafe {
            ffi::lua_pushvalue(self.scratch, 3);
            ffi::lua_pushnil(self.scratch);
            ffi::lua_rawset(self.scratch, 1);
        }
    }

    /// The number of the current key in a table of [`Vm::numbered`]; none where that is nil, or
    /// lacks the key.
    pub fn zip_key_number(&self, numbers: Ref) -> Option<u32> {
        let (thread, index) = self.at(numbers);
        // SAFETY: raw access to a table that is checked, on its holder, which has room for a value
        // in passing; the entry's key stands at 3.
        unsafe {
            if !self.zipping || ffi::lua_type(thread, index) != ffi::LUA_TTABLE {
                return None;
            }
            ffi::lua_pushvalue(self.scratch, 3);
            ffi::lua_xmove(self.scratch, thread, 1);
            let found = ffi::lua_rawget(thread, index) == ffi::LUA_TNUMBER;
            let number = ffi::lua_tointeger(thread, -1);
            ffi::lua_settop(thread, -2);
            u32::try_from(number).ok().filter(|_| found)
        }
    }

    /// [`Vm::key_hash`] of the current key.
    pub fn zip_key_hash(&self) -> (Kind, u64) {
        Self::key_hash_at(self.scratch, 3)
    }

    /// Ends a walk early.
    pub fn zip_end(&mut self) {
        if self.zipping {
            self.zipping = false;
            // SAFETY: the walk's values are all that is on the scratch.
            unsafe { ffi::lua_settop(self.scratch, 0) };
        }
    }
}
