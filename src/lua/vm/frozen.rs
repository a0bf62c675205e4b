//! Values that outlive the call: what undoes a reload, while its hook runs and until the next one.

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::{PER_THREAD, Ref, SLACK, Vm};
use crate::lua::debug::DebugRecord;
use crate::lua::protected;
use crate::support::error::{Error, Result};
use crate::support::mem::TryPush;

impl Vm {
    /// Copies held values, and `words`, into a table of its own, so that [`Vm::thaw`] can go on
    /// with them in a later call. In the thawed view the `i`-th of `values` has the handle `i +
    /// 1`. Nothing else that this view holds is kept alive.
    pub fn freeze(&mut self, values: &[Ref], words: &[u32]) -> Result<Ref> {
        let per_thread = PER_THREAD as usize;
        // A scratch and the holders, the first with a nil of its own.
        let made = (values.len() / per_thread + 2) as u32;
        let first = Ref(self.len);
        for _ in 0..made {
            self.keep_thread()?;
        }
        let mut left = values;
        for i in 1..made {
            let thread = self.thread(first.after(i));
            let nils = usize::from(i == 1);
            let (here, rest) = left.split_at(left.len().min(per_thread - nils));
            left = rest;
            // SAFETY: a thread of the new view's own, for which room is made; a failure is
            // reported, not raised.
            unsafe {
                if ffi::lua_checkstack(thread, (here.len() + nils) as c_int + SLACK) == 0 {
                    return Err(Error::Memory);
                }
                ffi::lua_settop(thread, nils as c_int);
                self.push_all_onto(thread, here);
            }
        }
        let (vm, count) = (&*self, values.len() as i64 + 1);
        // SAFETY: in a protected call; the threads move over from their holder. The bytes of
        // `words` are read within their length.
        unsafe {
            protected::run(self.l, 1, |l| {
                ffi::lua_createtable(l, made as c_int + 2, 0);
                for i in 0..made {
                    vm.push_onto(l, first.after(i));
                    ffi::lua_rawseti(l, 1, i64::from(i) + 1);
                }
                ffi::lua_pushinteger(l, count);
                ffi::lua_rawseti(l, 1, i64::from(made) + 1);
                ffi::lua_pushlstring(l, words.as_ptr().cast(), size_of_val(words));
                ffi::lua_rawseti(l, 1, i64::from(made) + 2);
            })?;
        }
        self.keep_from_caller()
    }

    /// Keeps a new thread.
    fn keep_thread(&mut self) -> Result<Ref> {
        self.new_thread()?;
        self.keep_from_caller()
    }

    /// A held thread.
    fn thread(&self, r: Ref) -> *mut lua_State {
        let (holder, index) = self.at(r);
        // SAFETY: a valid index; the value is a thread, or the result is null and never used by the
        // callers here.
        unsafe { ffi::lua_tothread(holder, index) }
    }

    /// Is a function active on the thread, or has it ended with an error? Neither is so for a
    /// thread of a frozen view.
    ///
    /// # Safety
    /// A live thread.
    unsafe fn runs(thread: *mut lua_State) -> bool {
        let mut ar = DebugRecord::new();
        // SAFETY: as promised; nothing of the activation is read.
        unsafe {
            ffi::lua_status(thread) != ffi::LUA_OK
                || ffi::lua_getstack(thread, 0, ar.as_mut_ptr()) != 0
        }
    }

    /// Goes on with frozen values, the table at `index` of the frame of `l`. `[-0, +n, -]`
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::Panic`] when the value is none. A program can change what it is
    /// made of, through the debug library: no thread that runs anything is taken, and none is
    /// made higher than it is.
    ///
    /// # Safety
    /// `l` must be the running state, and the view must not outlive the C function's frame.
    pub unsafe fn thaw(l: *mut lua_State, index: c_int) -> Result<(Vm, Vec<u32>)> {
        let odd = || Error::Panic("not a frozen reload".into());
        let mut vm = Vm::without_threads(l);
        let mut words = Vec::new();
        // SAFETY: types are checked before anything is believed; the string's bytes are read within
        // its length.
        unsafe {
            if ffi::lua_type(l, index) != ffi::LUA_TTABLE {
                return Err(odd());
            }
            let count = c_int::try_from(ffi::lua_rawlen(l, index)).map_err(|_| odd())?;
            if ffi::lua_checkstack(l, count + SLACK) == 0 {
                return Err(Error::Memory);
            }
            for i in 1..=count - 2 {
                ffi::lua_rawgeti(l, index, i.into());
                let thread = ffi::lua_tothread(l, -1);
                if thread.is_null() || Vm::runs(thread) || vm.threads().any(|known| known == thread)
                {
                    return Err(odd());
                }
                if i == 1 {
                    vm.scratch = thread;
                } else {
                    vm.holders.try_push(thread)?;
                }
            }
            ffi::lua_rawgeti(l, index, i64::from(count) - 1);
            vm.len = u32::try_from(ffi::lua_tointeger(l, -1)).map_err(|_| odd())?;
            ffi::lua_rawgeti(l, index, count.into());
            if ffi::lua_type(l, -1) != ffi::LUA_TSTRING {
                return Err(odd());
            }
            let mut size = 0;
            let start = ffi::lua_tolstring(l, -1, &raw mut size);
            let bytes = std::slice::from_raw_parts(start.cast::<u8>(), size);
            words.try_reserve_exact(size / size_of::<u32>())?;
            words.extend(bytes.chunks_exact(4).map(|word| {
                word.iter()
                    .rev()
                    .fold(0, |n, byte| n << 8 | u32::from(*byte))
            }));
        }
        let last = vm
            .len
            .checked_sub((vm.holders.len() as u32).saturating_sub(1) * PER_THREAD);
        let (Some(holder), Some(height)) = (
            vm.holders.last(),
            last.filter(|height| *height <= PER_THREAD),
        ) else {
            return Err(odd());
        };
        // SAFETY: threads that run nothing, and a height that the holder has; what an earlier call
        // left above the frozen values goes.
        unsafe {
            if (height as c_int) > ffi::lua_gettop(*holder) {
                return Err(odd());
            }
            ffi::lua_settop(*holder, height as c_int);
            ffi::lua_settop(vm.scratch, 0);
            // A thread of `freeze` has this room, and Lua asks for no memory: it does only where
            // less than one slot more is left.
            let room = |thread, slots| ffi::lua_checkstack(thread, slots - 1) != 0;
            if !room(vm.scratch, SLACK * 2) || !vm.holders.iter().all(|holder| room(*holder, SLACK))
            {
                return Err(Error::Memory);
            }
        }
        vm.read_secret();
        Ok((vm, words))
    }
}
