//! Functions: what is known of them, their upvalues, their binary form; compiling and calling.

use std::ffi::{CStr, c_char, c_int};
use std::ptr::null;

use mlua::ffi::{self, lua_Debug, lua_State};

use super::{DebugInfo, Info, Ref, SourceId, UpvalueCell, Val, Vm};
use crate::code::{self, Profile};
use crate::lua::debug::DebugRecord;
use crate::lua::dump::dump_top;
use crate::lua::given::GivenText;
use crate::lua::{collector, protected};
use crate::support::error::{Error, Result};
use crate::support::mem::copied;

impl Vm {
    /// What is known of a function; nothing for another value. One that is not whole yet passes for
    /// a C function without upvalues.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn info(&mut self, function: Ref) -> Result<Option<Info>> {
        let (thread, index) = self.at(function);
        let told = self.with_debug_info(function, |ar| {
            // SAFETY: what "S" and "u" fill in, `what` is one of "Lua", "C" and "main"; a function.
            unsafe {
                let what = (*ar).what.cast::<u8>().read();
                let whole = is_whole(thread, index, (*ar).nups);
                let info = Info {
                    source: SourceId::default(),
                    line: (*ar).linedefined,
                    last: (*ar).lastlinedefined,
                    upvalues: if whole { (*ar).nups } else { 0 },
                    params: (*ar).nparams,
                    lua: whole && what != b'C',
                    main: what == b'm',
                };
                (info, (*ar).source.cast::<u8>(), (*ar).srclen)
            }
        });
        let Some((mut info, source, len)) = told else {
            return Ok(None);
        };
        if info.lua {
            // SAFETY: as in `with_source`; the function is held.
            info.source = self
                .sources
                .number(unsafe { std::slice::from_raw_parts(source, len) })?;
        }
        Ok(Some(info))
    }

    /// The first line of a function in Lua.
    pub fn line(&self, function: Ref) -> Option<i32> {
        // SAFETY: what "S" fills in.
        self.with_debug_info(function, |ar| unsafe { (*ar).linedefined })
    }

    /// The name of a function's source, as `debug.getinfo(f, "S").source` gives it.
    pub fn source(&self, function: Ref) -> Result<Option<Vec<u8>>> {
        self.with_source(function, copied).transpose()
    }

    /// Hands the name of a function's source to `f`.
    pub fn with_source<R>(&self, function: Ref, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.with_debug_info(function, |ar| {
            // SAFETY: what "S" fills in; a string of `srclen` bytes that lives as long as the
            // function.
            f(unsafe { std::slice::from_raw_parts((*ar).source.cast::<u8>(), (*ar).srclen) })
        })
    }

    /// Hands what `lua_getinfo` tells of a function, the parts "S" and "u", to `f`; nothing else of
    /// it is filled in.
    #[inline]
    fn with_debug_info<R>(
        &self,
        function: Ref,
        f: impl FnOnce(*const lua_Debug) -> R,
    ) -> Option<R> {
        let (thread, index) = self.at(function);
        // SAFETY: the function is checked to be one, and popped by the call; "S" and "u" allocate
        // nothing.
        unsafe {
            if ffi::lua_type(thread, index) != ffi::LUA_TFUNCTION {
                return None;
            }
            let mut ar = DebugRecord::new();
            ffi::lua_pushvalue(thread, index);
            (ffi::lua_getinfo(thread, c">Su".as_ptr(), ar.as_mut_ptr()) != 0)
                .then(|| f(ar.as_ptr()))
        }
    }

    /// The `i`-th upvalue, counted from 1; none past the last.
    #[inline]
    pub fn upvalue(&self, function: Ref, i: u8) -> Option<UpvalueCell> {
        let (thread, index) = self.at(function);
        // SAFETY: a valid index, and the holder has room for a value in passing. Before Lua 5.4.3
        // `lua_upvalueid` looks behind the last upvalue, so the count is asked first ("u"). A
        // function that the compiler works on has no cell yet.
        unsafe {
            if ffi::lua_type(thread, index) != ffi::LUA_TFUNCTION {
                return None;
            }
            let mut ar = DebugRecord::new();
            ffi::lua_pushvalue(thread, index);
            ffi::lua_getinfo(thread, c">u".as_ptr(), ar.as_mut_ptr());
            if i == 0 || i > (*ar.as_ptr()).nups {
                return None;
            }
            let cell = ffi::lua_upvalueid(thread, index, i.into()) as usize;
            if cell == 0 || ffi::lua_getupvalue(thread, index, i.into()).is_null() {
                return None;
            }
            let value = Self::describe(thread, -1);
            ffi::lua_settop(thread, -2);
            Some(UpvalueCell { cell, value })
        }
    }

    /// The address of the `i`-th upvalue's name, and what the upvalue holds: equal addresses are
    /// equal names. 0 past the last.
    pub fn named_upvalue(&self, function: Ref, i: u8) -> (usize, Val) {
        let (thread, index) = self.at(function);
        // SAFETY: a valid index, and the holder has room for the value in passing. Lua gives null
        // for a number that is none.
        unsafe {
            let name = ffi::lua_getupvalue(thread, index, i.into());
            if name.is_null() {
                return (0, Val::default());
            }
            let value = Self::describe(thread, -1);
            ffi::lua_settop(thread, -2);
            (name as usize, value)
        }
    }

    /// Has the value at an index an upvalue with this number? `lua_upvalueid` is not to be asked:
    /// before Lua 5.4.3 it looks behind the last one.
    ///
    /// # Safety
    /// The valid index of a function on a thread with room for a value.
    #[inline]
    pub(super) unsafe fn has_upvalue(thread: *mut lua_State, index: c_int, i: u8) -> bool {
        // SAFETY: as promised; what was pushed is popped. Every Lua 5.4 gives null for a number
        // that is none.
        unsafe {
            let has = !ffi::lua_getupvalue(thread, index, i.into()).is_null();
            if has {
                ffi::lua_settop(thread, -2);
            }
            has
        }
    }

    /// The cell of the `i`-th upvalue of a function; 0 past the last, and for another value.
    #[inline]
    pub fn cell(&self, function: Ref, i: u8) -> usize {
        let (thread, index) = self.at(function);
        // SAFETY: checked to be a function that has this upvalue; the holder has room for a value
        // in passing.
        unsafe {
            if ffi::lua_type(thread, index) == ffi::LUA_TFUNCTION
                && Self::has_upvalue(thread, index, i)
            {
                ffi::lua_upvalueid(thread, index, i.into()) as usize
            } else {
                0
            }
        }
    }

    /// The cells of the first `count` upvalues of a function; none where it has not that many. The
    /// slice is good until the next call.
    #[inline]
    pub fn cells(&mut self, function: Ref, count: u8) -> Result<&[usize]> {
        let (thread, index) = self.at(function);
        self.cells.clear();
        self.cells.try_reserve(count.into())?;
        // SAFETY: checked to be a function that has the last one, and so all before it; the holder
        // has room for a value in passing.
        unsafe {
            if count > 0
                && ffi::lua_type(thread, index) == ffi::LUA_TFUNCTION
                && Self::has_upvalue(thread, index, count)
            {
                let cell = |i| ffi::lua_upvalueid(thread, index, i) as usize;
                self.cells.extend((1..c_int::from(count) + 1).map(cell));
            }
        }
        Ok(&self.cells)
    }

    /// The name of the `i`-th upvalue; empty when it has none.
    pub fn upvalue_name(&self, function: Ref, i: u8) -> Vec<u8> {
        self.with_upvalue_name(function, i, |name| name.to_vec())
    }

    /// Hands the name of the `i`-th upvalue to `f`; an empty one when it has none.
    pub fn with_upvalue_name<R>(&self, function: Ref, i: u8, f: impl FnOnce(&[u8]) -> R) -> R {
        let (thread, index) = self.at(function);
        // SAFETY: a valid index, and the holder has room for the value in passing. Lua gives null
        // for a number that is none; the name lives as long as the function.
        unsafe {
            let name = ffi::lua_getupvalue(thread, index, i.into());
            if name.is_null() {
                return f(&[]);
            }
            ffi::lua_settop(thread, -2);
            f(CStr::from_ptr(name).to_bytes())
        }
    }

    /// What the `i`-th upvalue of a whole function holds, without keeping it; nil past the last.
    #[inline]
    pub fn upvalue_val(&self, function: Ref, i: u8) -> Val {
        let (thread, index) = self.at(function);
        // SAFETY: as in `upvalue_value`; what was pushed is popped.
        unsafe {
            if ffi::lua_getupvalue(thread, index, i.into()).is_null() {
                return Val::default();
            }
            let value = Self::describe(thread, -1);
            ffi::lua_settop(thread, -2);
            value
        }
    }

    /// Keeps what the `i`-th upvalue holds; nil past the last.
    pub fn upvalue_value(&mut self, function: Ref, i: u8) -> Result<Ref> {
        let (thread, index) = self.at(function);
        // SAFETY: a valid index, and the holder has room for the value in passing, which moves to
        // the scratch. Lua pushes nothing for a number that is none.
        unsafe {
            if ffi::lua_getupvalue(thread, index, i.into()).is_null() {
                return Ok(Ref::NIL);
            }
            ffi::lua_xmove(thread, self.scratch, 1);
        }
        self.keep()
    }

    /// The binary form of a Lua function (`lua_dump`); the slice is good until the next call. That
    /// of a function that is not whole yet is empty, and so is that of a C function.
    pub fn dump(&mut self, function: Ref, debug_info: DebugInfo) -> Result<&[u8]> {
        let (thread, index) = self.at(function);
        self.buffer.clear();
        // SAFETY: the function is copied to the top for a call, and popped again.
        let done = unsafe {
            let mut ar = DebugRecord::new();
            ffi::lua_pushvalue(thread, index);
            ffi::lua_getinfo(thread, c">u".as_ptr(), ar.as_mut_ptr());
            if ffi::lua_iscfunction(thread, index) == 0
                && is_whole(thread, index, (*ar.as_ptr()).nups)
            {
                ffi::lua_pushvalue(thread, index);
                let done = dump_top(thread, &mut self.buffer, debug_info);
                ffi::lua_settop(thread, -2);
                done
            } else {
                true
            }
        };
        if done {
            Ok(&self.buffer)
        } else {
            Err(Error::Memory)
        }
    }

    /// Does a Lua function make functions itself?
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn makes_functions(&mut self, function: Ref) -> Result<bool> {
        self.dump(function, DebugInfo::Code)?;
        Ok(code::makes_functions(&self.buffer))
    }

    /// What a function's code amounts to, as far as that is known without its lines.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn profile(&mut self, function: Ref) -> Result<Option<Profile>> {
        self.dump(function, DebugInfo::Strip)?;
        let profile = code::profile(&self.buffer, &self.secret);
        Ok(profile.map(|profile| Profile {
            exact: 0,
            ..profile
        }))
    }

    /// What a function's code amounts to, with its lines and names.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn exact_profile(&mut self, function: Ref) -> Result<Option<Profile>> {
        self.dump(function, DebugInfo::Keep)?;
        Ok(code::profile(&self.buffer, &self.secret))
    }

    /// The digest of a function's dump, which [`Vm::take_dump`] then has.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn dump_digest(&mut self, function: Ref) -> Result<u64> {
        self.dump(function, DebugInfo::Keep)?;
        Ok(self.secret.digest(&self.buffer))
    }

    /// Makes room for a dump of about so many bytes.
    pub fn reserve_dump(&mut self, bytes: usize) -> Result<()> {
        self.buffer.clear();
        Ok(self.buffer.try_reserve(bytes)?)
    }

    /// Takes the last dump away.
    pub fn take_dump(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Compiles a text and keeps the function. A binary chunk is refused.
    ///
    /// # Errors
    /// [`Error::Memory`], or [`Error::Lua`] with the compiler's message.
    pub fn load_text(&mut self, text: &[u8], chunk_name: &CStr) -> Result<Ref> {
        // SAFETY: of a text Lua's compiler makes what it can run.
        unsafe { self.load_as(text, chunk_name, c"t".as_ptr()) }
    }

    /// Compiles what the program gave, text or binary, and keeps the function.
    ///
    /// # Errors
    /// As [`Vm::load_text`].
    pub fn load(&mut self, code: &GivenText, chunk_name: &CStr) -> Result<Ref> {
        // SAFETY: a binary chunk is one that the program has chosen to load, as it might by
        // `require` or `load`.
        unsafe { self.load_as(code.bytes(), chunk_name, null()) }
    }

    /// Loads a binary chunk and keeps the function.
    ///
    /// # Errors
    /// [`Error::Memory`], or [`Error::Lua`] where Lua sees that it is none of its own.
    ///
    /// # Safety
    /// Lua checks a chunk's header, and no more. The functions must be such as the compiler of this
    /// very Lua makes: dumped by [`Vm::dump`], with at most the names and the places of
    /// captured variables changed, and these must exist.
    pub unsafe fn load_binary(&mut self, dump: &[u8], chunk_name: &CStr) -> Result<Ref> {
        // SAFETY: as promised, Lua can run it.
        unsafe { self.load_as(dump, chunk_name, c"b".as_ptr()) }
    }

    /// # Safety
    /// Where the mode, a string or null, lets a binary chunk pass: as for [`Vm::load_binary`].
    unsafe fn load_as(
        &mut self,
        code: &[u8],
        chunk_name: &CStr,
        mode: *const c_char,
    ) -> Result<Ref> {
        self.sources.forget_addresses();
        // SAFETY: the parser runs in protected mode and reports its status; its one result is on
        // top of the scratch.
        unsafe {
            let status = ffi::luaL_loadbufferx(
                self.scratch,
                code.as_ptr().cast(),
                code.len(),
                chunk_name.as_ptr(),
                mode,
            );
            if status == ffi::LUA_OK {
                return self.keep();
            }
            let message = self.keep()?;
            Err(match self.bytes(message)? {
                Some(text) if status != ffi::LUA_ERRMEM => Error::Lua(text),
                _ => Error::Memory,
            })
        }
    }

    /// The collector stays paused, whatever the program's code that was called has done to it.
    pub(in crate::lua) fn after_call(&mut self) {
        // SAFETY: the asking state.
        unsafe { collector::keep_paused(self.l, &mut self.given) };
    }

    /// The function with which a suspended coroutine began, and whether it has begun; none for one
    /// that has ended or is running.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn body_of(&mut self, thread: Ref) -> Result<Option<(Ref, bool)>> {
        let (holder, index) = self.at(thread);
        // SAFETY: a held coroutine; room is made for the function; levels are Lua's to check.
        unsafe {
            let co = ffi::lua_tothread(holder, index);
            if co.is_null() || ffi::lua_checkstack(co, 4) == 0 {
                return Ok(None);
            }
            let mut ar = DebugRecord::new();
            let ar = ar.as_mut_ptr();
            let mut level = 0;
            while ffi::lua_getstack(co, level, ar) != 0 {
                level += 1;
            }
            if level > 0 {
                ffi::lua_getstack(co, level - 1, ar);
                ffi::lua_getinfo(co, c"f".as_ptr(), ar);
            } else if ffi::lua_status(co) == ffi::LUA_OK
                && ffi::lua_type(co, 1) == ffi::LUA_TFUNCTION
            {
                ffi::lua_pushvalue(co, 1);
            } else {
                return Ok(None);
            }
            Ok(Some((self.keep_from(co)?, level > 0)))
        }
    }

    /// Calls a held function on the asking state, as Lua would, and keeps its first `N` results.
    ///
    /// # Errors
    /// [`Error::Memory`], or [`Error::Lua`] with the message and a traceback.
    pub fn call<const N: usize>(&mut self, function: Ref, args: &[Ref]) -> Result<[Ref; N]> {
        self.push_call(self.l, function, args)?;
        self.sources.forget_addresses();
        let results = N as c_int;
        // SAFETY: the function and its arguments are on top; `protected::call` leaves exactly
        // `results` values.
        unsafe {
            let called = protected::call(self.l, args.len() as c_int, results);
            self.after_call();
            called?;
        }
        let mark = self.len;
        for i in (1..=results).rev() {
            // SAFETY: the results stand on top, the first deepest.
            unsafe { ffi::lua_pushvalue(self.l, -i) };
            if let Err(error) = self.keep_from_caller() {
                // SAFETY: the results are dropped.
                unsafe { ffi::lua_settop(self.l, -results - 1) };
                return Err(error);
            }
        }
        // SAFETY: the results are kept, their first copies go.
        unsafe { ffi::lua_settop(self.l, -results - 1) };
        Ok(self.kept_since(mark).all())
    }
}

/// Is a function whole, of which Lua says that it has so many upvalues? While the compiler works on
/// a chunk, or a binary one is read, its function is on the stack, where a walk meets it: from a
/// reader that was given to `load`, or from a finalizer that the collector calls meanwhile. Its
/// code is in the making then, and Lua's functions for it must not be called, but for `lua_getinfo`
/// with "S" and "u". The cells come last and in their order, so where the last one is there all is.
///
/// # Safety
/// The value at `index` is a function.
pub(in crate::lua) unsafe fn is_whole(l: *mut lua_State, index: c_int, upvalues: u8) -> bool {
    // SAFETY: only the pointer to the cell is read, which is null at first; so it is past the last.
    upvalues == 0 || unsafe { !ffi::lua_upvalueid(l, index, upvalues.into()).is_null() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use crate::lua::testing::TestState;
    use crate::lua::vm::DebugInfo;
    use crate::support::error::Error;

    #[test]
    fn a_text_is_no_binary_chunk() {
        let state = TestState::new();
        state.view(|vm| {
            let function = vm.load_text(b"return 1", c"=text").expect("compiles");
            let dump = vm
                .dump(function, DebugInfo::Strip)
                .expect("memory")
                .to_vec();
            let refused = vm.load_text(&dump, c"=dump");
            assert!(matches!(
                refused,
                Err(Error::Lua(text)) if text.starts_with(b"attempt to load a binary chunk")
            ));
            TestState::load_dump(vm, &dump, c"=dump");
        });
    }

    #[test]
    fn no_cell_stands_behind_the_last_upvalue() {
        let state = TestState::new();
        state.run("local a, b = 1, 2 function f() return a, b end");
        state.view(|vm| {
            let function = TestState::global(vm, "f");
            let both = vm.cells(function, 2).expect("memory").to_vec();
            assert_eq!(both, [vm.cell(function, 1), vm.cell(function, 2)]);
            assert!(both.iter().all(|cell| *cell != 0));
            for i in [0, 3, 255] {
                assert_eq!(vm.cell(function, i), 0, "{i}");
                assert_eq!(vm.cells(function, i).expect("memory"), [], "{i}");
            }
        });
    }
}
