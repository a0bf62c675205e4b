//! Walks over tables, one at a time, on the scratch thread. No metamethod runs.

use std::ffi::c_int;

use mlua::ffi;

use super::{ComparedEntry, Kept, KeptEntry, KeyValue, Kind, Ref, Val, Vm};
use crate::lua::write::Permit;
use crate::support::error::{Error, Result};

/// Where a walk's values stand on the scratch: the table that is walked, …
const TABLE: c_int = 1;
/// … the other one, …
const OTHER: c_int = 2;
/// … the current key, …
const KEY: c_int = 3;
/// … its value in the table that is walked, …
const NEW: c_int = 4;
/// … and in the other one.
const OLD: c_int = 5;

/// A walk over a table that is under way in a [`Vm`]. Each call takes that view.
#[derive(Debug)]
pub struct TableCursor {
    /// The other value is a table, in which the keys are looked up.
    has_old: bool,
}

impl Vm {
    /// Begins a walk over `new`, which must be a table, beside `old` (any value; looked up only
    /// when it is a table). One walk at a time: it ends with [`TableCursor::end`], or behind the
    /// last entry.
    pub fn walk(&mut self, new: Ref, old: Ref) -> Result<TableCursor> {
        if self.walks {
            return Err(Error::Panic("a walk in a walk".into()));
        }
        let s = self.scratch;
        // SAFETY: no walk is under way, so the scratch is empty, and has room.
        unsafe {
            ffi::lua_settop(s, 0);
            self.push(new);
            match old {
                Ref::NIL => ffi::lua_pushnil(s),
                _ => self.push(old),
            }
            if ffi::lua_type(s, TABLE) != ffi::LUA_TTABLE {
                ffi::lua_settop(s, 0);
                return Err(Error::Panic("a walk over no table".into()));
            }
            ffi::lua_pushnil(s);
            self.walks = true;
            Ok(TableCursor {
                has_old: ffi::lua_type(s, OTHER) == ffi::LUA_TTABLE,
            })
        }
    }

    /// Ends the walk that is under way, if there is one: a failure may have left it open.
    pub fn end_walk(&mut self) {
        if self.walks {
            self.walks = false;
            // SAFETY: the walk's values are all that is on the scratch.
            unsafe { ffi::lua_settop(self.scratch, 0) };
        }
    }
}

impl TableCursor {
    /// The next entry; none at the end. The table may be assigned to under existing keys meanwhile.
    #[inline]
    pub fn next(&mut self, vm: &mut Vm) -> Option<ComparedEntry> {
        if !vm.walks {
            return None;
        }
        let s = vm.scratch;
        // SAFETY: the walked table, the other, and the last key stand at 1, 2, 3; the key came from
        // the table.
        unsafe {
            ffi::lua_settop(s, KEY);
            if ffi::lua_next(s, TABLE) == 0 {
                vm.end_walk();
                return None;
            }
            let old = if self.has_old {
                ffi::lua_pushvalue(s, KEY);
                ffi::lua_rawget(s, OTHER)
            } else {
                ffi::lua_pushnil(s);
                ffi::LUA_TNIL
            };
            Some(ComparedEntry {
                key: Vm::describe(s, KEY),
                new: Vm::describe(s, NEW),
                old: Vm::describe_as(old, s, OLD),
            })
        }
    }

    /// Ends the walk early.
    pub fn end(self, vm: &mut Vm) {
        vm.end_walk();
    }

    /// Keeps the current entry and what the other table has under its key.
    #[inline]
    pub fn keep(&self, vm: &mut Vm) -> Result<KeptEntry> {
        let [key, new, old] = Self::keep_parts(vm, [KEY, NEW, OLD])?;
        Ok(KeptEntry { key, old, new })
    }

    /// Keeps the current value, which `new` describes, and what the other table has under its key.
    #[inline]
    pub fn keep_values(&self, vm: &mut Vm, new: Val) -> Result<[Ref; 2]> {
        let kept = match self.has_old {
            true => Self::keep_parts(vm, [NEW, OLD])?,
            false => Self::keep_parts(vm, [NEW]).map(|[new]| [new, Ref::NIL])?,
        };
        if let Some(known) = vm.vals.get(kept[0].0 as usize) {
            known.set(Some(new));
        }
        Ok(kept)
    }

    /// Keeps the current entry.
    #[inline]
    pub fn keep_pair(&self, vm: &mut Vm) -> Result<KeyValue> {
        let [key, value] = Self::keep_parts(vm, [KEY, NEW])?;
        Ok(KeyValue { key, value })
    }

    #[inline]
    fn keep_parts<const N: usize>(vm: &mut Vm, parts: [c_int; N]) -> Result<[Ref; N]> {
        let first = Ref(vm.len);
        if vm.room as usize >= N {
            let holder = vm.holders.last().copied().unwrap_or(vm.scratch);
            // SAFETY: the entry stands at 3, 4, 5; the scratch and the holder have room.
            unsafe {
                for part in parts {
                    ffi::lua_pushvalue(vm.scratch, part);
                }
                ffi::lua_xmove(vm.scratch, holder, N as c_int);
            }
            vm.room -= N as u32;
            vm.len += N as u32;
        } else {
            for part in parts {
                // SAFETY: the entry stands at 3, 4, 5.
                unsafe { ffi::lua_pushvalue(vm.scratch, part) };
                vm.keep()?;
            }
        }
        Ok(Kept::<Ref>::new(first, N as u32).all())
    }

    /// The current key when it is an integer.
    pub fn key_integer(&self, vm: &Vm) -> Option<i64> {
        // SAFETY: the key stands at 3.
        unsafe {
            (ffi::lua_isinteger(vm.scratch, KEY) != 0).then(|| ffi::lua_tointeger(vm.scratch, KEY))
        }
    }

    /// Are the current entry's key and value the held ones?
    pub fn is(&self, vm: &Vm, entry: KeyValue) -> bool {
        self.key_is(vm, entry.key) && {
            vm.push(entry.value);
            let same = vm.same_at(NEW, -1);
            vm.pop(1);
            same
        }
    }

    /// Is the current entry's key the held `key`?
    pub fn key_is(&self, vm: &Vm, key: Ref) -> bool {
        vm.push(key);
        // SAFETY: the entry's key stands at 3, the held one on top.
        let same = unsafe { ffi::lua_rawequal(vm.scratch, KEY, -1) != 0 };
        vm.pop(1);
        same
    }

    /// Are the entry's two values equal without metamethods?
    pub fn values_equal(&self, vm: &Vm) -> bool {
        vm.same_at(NEW, OLD)
    }

    /// Takes the current entry out of the table that is walked.
    pub fn remove(&self, vm: &mut Vm, _: Permit) {
        // SAFETY: the table stands at 1, the key at 3; a nil over an existing key allocates
        // nothing.
        unsafe {
            ffi::lua_pushvalue(vm.scratch, KEY);
            ffi::lua_pushnil(vm.scratch);
            ffi::lua_rawset(vm.scratch, TABLE);
        }
    }

    /// The number of the current key in a table of [`Vm::numbered`]; none where that is nil, or
    /// lacks the key.
    pub fn key_number(&self, vm: &Vm, numbers: Ref) -> Option<u32> {
        let (thread, index) = vm.at(numbers);
        // SAFETY: raw access to a table that is checked, on its holder, which has room for a value
        // in passing; the entry's key stands at 3.
        unsafe {
            if !vm.walks || ffi::lua_type(thread, index) != ffi::LUA_TTABLE {
                return None;
            }
            ffi::lua_pushvalue(vm.scratch, KEY);
            ffi::lua_xmove(vm.scratch, thread, 1);
            let found = ffi::lua_rawget(thread, index) == ffi::LUA_TNUMBER;
            let number = ffi::lua_tointeger(thread, -1);
            ffi::lua_settop(thread, -2);
            u32::try_from(number).ok().filter(|_| found)
        }
    }

    /// [`Vm::key_hash`] of the current key.
    pub fn key_hash(&self, vm: &Vm) -> (Kind, u64) {
        Vm::key_hash_at(vm.scratch, KEY)
    }

    /// The digest of the current key; none when it is no scalar.
    #[inline]
    pub fn key_digest(&self, vm: &Vm) -> Option<u64> {
        Self::digest(vm, KEY)
    }

    /// The digest of the value in the table that is walked; none when it is no scalar.
    #[inline]
    pub fn value_digest(&self, vm: &Vm) -> Option<u64> {
        Self::digest(vm, NEW)
    }

    #[inline]
    fn digest(vm: &Vm, part: c_int) -> Option<u64> {
        if !vm.walks {
            return None;
        }
        // SAFETY: the entry of the walk stands at 3 and 4.
        unsafe { vm.digest_at(vm.scratch, part) }
    }
}
