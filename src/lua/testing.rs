//! A Lua state for the unit tests of the crate's inner parts.

// A test is a host, and fails by panicking.
#![allow(clippy::expect_used, clippy::panic)]

use std::cell::Cell;
use std::ffi::{CStr, c_void};

use mlua::ffi::{self, lua_State};

use super::vm::{Ref, Vm};

/// A state with the standard libraries, closed when it is dropped.
pub struct TestState(*mut lua_State, Box<Memory>);

/// Fails when it is told to.
#[derive(Default)]
pub struct Memory {
    /// The number of the next request, from 1, while it is armed; else 0.
    next: Cell<u64>,
    /// The first request that fails; the next one, after Lua's emergency collection, fails as
    /// well.
    first: Cell<u64>,
    failed: Cell<u64>,
}

impl Memory {
    /// Lets the request with this number fail, and the one after it.
    pub fn arm(&self, first: u64) {
        self.next.set(1);
        self.first.set(first);
        self.failed.set(0);
    }

    /// Ends that; returns how many requests have failed.
    pub fn disarm(&self) -> u64 {
        self.next.set(0);
        self.failed.get()
    }

    fn refuses(&self) -> bool {
        let number = self.next.get();
        if number == 0 {
            return false;
        }
        self.next.set(number + 1);
        let fails = (self.first.get()..self.first.get() + 2).contains(&number);
        self.failed.set(self.failed.get() + u64::from(fails));
        fails
    }
}

unsafe extern "C" fn allocate(
    ud: *mut c_void,
    block: *mut c_void,
    old: usize,
    size: usize,
) -> *mut c_void {
    // SAFETY: `ud` is the state's `Memory`; blocks come from this allocator.
    unsafe {
        if size == 0 {
            libc::free(block);
            return std::ptr::null_mut();
        }
        if (block.is_null() || size > old) && (*ud.cast::<Memory>()).refuses() {
            return std::ptr::null_mut();
        }
        libc::realloc(block, size)
    }
}

impl TestState {
    pub fn new() -> TestState {
        // SAFETY: a state of our own.
        unsafe {
            let memory = Box::<Memory>::default();
            let l = ffi::lua_newstate(allocate, std::ptr::from_ref(&*memory).cast_mut().cast());
            assert!(!l.is_null());
            ffi::luaL_openlibs(l);
            TestState(l, memory)
        }
    }

    /// What the state has its memory from.
    pub fn memory(&self) -> &Memory {
        &self.1
    }

    /// Runs a text, which must not raise; it may set globals.
    #[track_caller]
    pub fn run(&self, text: &str) {
        // SAFETY: the text is read within its length; the call is protected; the stack is as
        // before.
        unsafe {
            let l = self.0;
            let name = c"=story";
            let failed = ffi::luaL_loadbufferx(
                l,
                text.as_ptr().cast(),
                text.len(),
                name.as_ptr(),
                c"t".as_ptr(),
            ) != ffi::LUA_OK
                || ffi::lua_pcall(l, 0, 0, 0) != ffi::LUA_OK;
            let message = if failed {
                let mut size = 0;
                let start = ffi::luaL_tolstring(l, -1, &raw mut size);
                String::from_utf8_lossy(std::slice::from_raw_parts(start.cast::<u8>(), size))
                    .into_owned()
            } else {
                String::new()
            };
            ffi::lua_settop(l, 0);
            assert!(!failed, "{message}\nin:\n{text}");
        }
    }

    /// Hands a view of the state to `body`.
    pub fn view<R>(&self, body: impl FnOnce(&mut Vm) -> R) -> R {
        // SAFETY: nothing runs in the state; its base frame outlives the view.
        unsafe {
            let mut vm = Vm::open(self.0).expect("memory");
            let result = body(&mut vm);
            drop(vm);
            ffi::lua_settop(self.0, 0);
            result
        }
    }

    /// Loads what [`Vm::dump`] gave.
    pub fn load_dump(vm: &mut Vm, dump: &[u8], name: &CStr) -> Ref {
        // SAFETY: the dump is one of this very Lua's, as it came.
        unsafe { vm.load_binary(dump, name) }.expect("loads")
    }

    /// A global.
    pub fn global(vm: &mut Vm, name: &str) -> Ref {
        let globals = vm.globals().expect("memory");
        vm.field(globals, name).expect("memory")
    }
}

impl Drop for TestState {
    fn drop(&mut self) {
        // SAFETY: nothing runs in the state.
        unsafe { ffi::lua_close(self.0) };
    }
}
