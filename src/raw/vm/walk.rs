//! Walks over tables: one at a time, beside another table, on the scratch thread. No metamethod runs.

use mlua::ffi;

use super::{Entry, Kind, Ref, Vm};
use crate::commit::Permit;
use crate::error::{Error, Result};

impl Vm {
    /// Begins a walk over `new`, which must be a table, beside `old` (any value; looked up only when it is a table).
    /// One walk at a time; end it with [`Vm::zip_end`] or by walking to the end.
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
        Ok(())
    }

    /// The next entry of the walk; none at its end. The table may be assigned to under existing keys meanwhile.
    #[inline]
    pub fn zip_next(&mut self) -> Option<Entry> {
        if !self.zipping {
            return None;
        }
        let s = self.scratch;
        // SAFETY: the walked table, the other, and the last key stand at 1, 2, 3; the key came from the table.
        unsafe {
            ffi::lua_settop(s, 3);
            if ffi::lua_next(s, 1) == 0 {
                self.zip_end();
                return None;
            }
            if ffi::lua_type(s, 2) == ffi::LUA_TTABLE {
                ffi::lua_pushvalue(s, 3);
                ffi::lua_rawget(s, 2);
            } else {
                ffi::lua_pushnil(s);
            }
            Some(Entry {
                key: Self::describe(s, 3),
                new: Self::describe(s, 4),
                old: Self::describe(s, 5),
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
        unsafe { (ffi::lua_isinteger(self.scratch, 3) != 0).then(|| ffi::lua_tointeger(self.scratch, 3)) }
    }

    /// Is the current entry's key the held `key`, and its value (or, `other`, the other table's) the held `value`?
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

    /// Keeps every entry of a table, value and key side by side, and returns the first value and how many there are. Gives
    /// up behind `most` entries: it then returns one more than that.
    pub fn keep_entries(&mut self, table: Ref, most: usize) -> Result<(Ref, u32)> {
        self.zip(table, Ref::NIL)?;
        let (s, first) = (self.scratch, Ref(self.len));
        let mut count = 0;
        // SAFETY: the walked table stands at 1, the last key at 3; pairs move to the last holder, which has room.
        unsafe {
            ffi::lua_settop(s, 3);
            while ffi::lua_next(s, 1) != 0 {
                count += 1;
                if count as usize > most {
                    break;
                }
                if self.room >= 2 {
                    ffi::lua_pushvalue(s, 3);
                    let holder = self.holders.last().copied().unwrap_or(s);
                    ffi::lua_xmove(s, holder, 2);
                    self.room -= 2;
                    self.len += 2;
                } else {
                    let kept = self.zip_keep_pair();
                    if let Err(error) = kept {
                        self.zip_end();
                        return Err(error);
                    }
                    ffi::lua_settop(s, 3);
                }
            }
        }
        self.zip_end();
        Ok((first, count))
    }

    /// Compares a table with entries that were kept from it, as long as they come in the same order. Hands the numbers of those
    /// whose value differs to `changed`. Returns how many came in order, and whether that is all on both sides.
    pub fn compare_entries(
        &mut self,
        table: Ref,
        first: Ref,
        count: u32,
        mut changed: impl FnMut(u32) -> Result<()>,
    ) -> Result<(u32, bool)> {
        self.zip(table, Ref::NIL)?;
        let s = self.scratch;
        let mut i = 0;
        // SAFETY: the walked table stands at 1, the key at 3, the value at 4, the kept ones above.
        let all = unsafe {
            loop {
                ffi::lua_settop(s, 3);
                if ffi::lua_next(s, 1) == 0 {
                    break i == count;
                }
                if i == count {
                    break false;
                }
                self.push_pair(first.after(2 * i));
                if ffi::lua_rawequal(s, 3, 6) == 0 {
                    break false;
                }
                if !self.same_at(4, 5)
                    && let Err(error) = changed(i)
                {
                    self.zip_end();
                    return Err(error);
                }
                i += 1;
            }
        };
        self.zip_end();
        Ok((i, all))
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
    pub fn zip_clear(&mut self, _: &Permit) {
        // SAFETY: the table stands at 1, the key at 3; a nil over an existing key allocates nothing.
        unsafe {
            ffi::lua_pushvalue(self.scratch, 3);
            ffi::lua_pushnil(self.scratch);
            ffi::lua_rawset(self.scratch, 1);
        }
    }

    /// The current key's identity, to find it again among held values: see [`Vm::identity`].
    pub fn zip_key_identity(&self) -> (Kind, u64) {
        Self::identity_at(self.scratch, 3)
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
