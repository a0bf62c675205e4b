//! What is asked of the system's loader when the library is opened: the functions of Lua 5.4 that
//! another Lua lacks, and in which program or library an address lies.
//!
//! `require` loads a library with all its symbols bound at once. Where Lua lacks one of them, that
//! fails with `undefined symbol`, before `luaopen_hotreload` can say what is wrong. So the names of
//! the list below are defined here. They are hidden: another library of the process never gets
//! them. Each is a jump to the address that [`bind`] has found where the loader would have looked.

use std::arch::naked_asm;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null;

use mlua::ffi::{self, lua_State};

/// Defines a function that `require` calls: a jump to `$enter`, with the address where its caller
/// goes on.
macro_rules! luaopen {
    ($(#[$about:meta])* $name:ident, $enter:path) => {
        $(#[$about])*
        ///
        /// # Errors
        /// Raises when the running Lua is not one that the library was built for, or out of memory.
        ///
        /// # Safety
        /// To be called by Lua, as any `lua_CFunction`.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C-unwind" fn $name(l: *mut mlua::ffi::lua_State) -> std::ffi::c_int {
            #[cfg(target_arch = "x86_64")]
            std::arch::naked_asm!("mov rsi, [rsp]", "jmp {enter}", enter = sym $enter);
            #[cfg(target_arch = "aarch64")]
            std::arch::naked_asm!("mov x1, x30", "b {enter}", enter = sym $enter);
        }
    };
}
pub(crate) use luaopen;

/// What a C function sees of the Lua that calls it.
pub struct SeenHost {
    /// Where Lua goes on behind it.
    pub from: *const c_void,
    /// Are there clauses for exceptions in Lua's own functions, as C++ has them?
    pub exceptions: bool,
}

/// Writes what is seen. `from`: where the caller of [`look`] goes on.
unsafe extern "C-unwind" fn see(l: *mut lua_State, from: *const c_void) -> c_int {
    // SAFETY: `seen_by` passes the place, which outlives the call.
    unsafe {
        ffi::lua_touserdata(l, 1)
            .cast::<SeenHost>()
            .write(SeenHost {
                from,
                exceptions: caller_catches(),
            });
    }
    0
}

/// A C function that looks at the Lua that calls it; the argument is a light userdata, the place
/// for what is seen. `[-0, +0, -]`
#[unsafe(naked)]
unsafe extern "C-unwind" fn look(l: *mut lua_State) -> c_int {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov rsi, [rsp]", "jmp {see}", see = sym see);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x1, x30", "b {see}", see = sym see);
}

/// What a C function sees that a state calls in protected mode; none when it could not.
///
/// # Safety
/// A state of any Lua, with room for two values.
pub unsafe fn seen_by(l: *mut lua_State) -> Option<SeenHost> {
    type Call =
        unsafe extern "C-unwind" fn(*mut lua_State, ffi::lua_CFunction, *mut c_void) -> c_int;
    let mut seen = SeenHost {
        from: null(),
        exceptions: false,
    };
    let place = (&raw mut seen).cast();
    // SAFETY: as promised. Lua 5.1 and LuaJIT have the one way, all later ones the other, with
    // these types.
    let status = unsafe {
        let call = find(c"lua_cpcall");
        if !call.is_null() {
            std::mem::transmute::<*const c_void, Call>(call)(l, look, place)
        } else if find(c"lua_pcallk").is_null() {
            return None;
        } else {
            ffi::lua_pushcfunction(l, look);
            ffi::lua_pushlightuserdata(l, place);
            ffi::lua_pcall(l, 1, 0, 0)
        }
    };
    (status == ffi::LUA_OK).then_some(seen)
}

/// The name of the loader's Lua, if it is not Lua 5.4: some functions came and went with the
/// versions.
pub fn other_version() -> Option<&'static CStr> {
    let has = |name| !find(name).is_null();
    if has(c"luaJIT_setmode") {
        Some(c"LuaJIT, a Lua 5.1")
    } else if has(c"lua_cpcall") {
        Some(c"Lua 5.1")
    } else if !has(c"lua_rotate") {
        Some(c"Lua 5.2")
    } else if !has(c"lua_newuserdatauv") {
        Some(c"Lua 5.3")
    } else {
        has(c"lua_numbertocstring").then_some(c"Lua 5.5 or later")
    }
}

/// Do functions of the object that called this library catch exceptions, down to the first that is
/// of another object?
fn caller_catches() -> bool {
    struct ObjectWalk {
        own: Option<Object>,
        caller: Option<Object>,
        catches: bool,
    }
    unsafe extern "C" fn step(frame: *mut c_void, walk: *mut c_void) -> c_int {
        // SAFETY: the walk that `caller_catches` passes, and the frame that it has come to.
        let (walk, at, data) = unsafe {
            let at = Object::at(std::ptr::without_provenance(_Unwind_GetIP(frame)));
            (
                &mut *walk.cast::<ObjectWalk>(),
                at,
                _Unwind_GetLanguageSpecificData(frame),
            )
        };
        if walk.caller.is_none() && at == walk.own {
            return GO_ON;
        }
        if walk.caller.is_some() && at != walk.caller {
            return STOP;
        }
        walk.caller = at;
        walk.catches |= !data.is_null();
        GO_ON
    }
    const GO_ON: c_int = 0; // _URC_NO_REASON
    const STOP: c_int = 4; // _URC_NORMAL_STOP
    let mut walk = ObjectWalk {
        own: Object::at(caller_catches as *const c_void),
        caller: None,
        catches: false,
    };
    // SAFETY: the walk outlives the call.
    unsafe { _Unwind_Backtrace(step, (&raw mut walk).cast()) };
    walk.catches
}

unsafe extern "C" {
    fn _Unwind_Backtrace(
        step: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
    /// Where a function's clauses to catch and to clean up are listed; null for one that has none,
    /// as all of C.
    fn _Unwind_GetLanguageSpecificData(frame: *mut c_void) -> *const c_void;
}

/// A program or a library that the loader has put into memory.
#[derive(Clone, Copy)]
pub struct Object {
    base: *const c_void,
    name: *const c_char,
}

impl PartialEq for Object {
    fn eq(&self, other: &Object) -> bool {
        std::ptr::eq(self.base, other.base)
    }
}

impl Object {
    /// Its file's name.
    pub fn name(&self) -> &CStr {
        // SAFETY: the loader's own text, which is there as long as the object: its code is running.
        unsafe { CStr::from_ptr(self.name) }
    }

    /// Which one an address lies in; none for memory of another kind.
    pub fn at(address: *const c_void) -> Option<Object> {
        let mut info = SymbolInfo {
            file: std::ptr::null(),
            base: std::ptr::null(),
            _symbol: [std::ptr::null(); 2],
        };
        // SAFETY: any address may be asked about.
        let found = unsafe { dladdr(address, &raw mut info) } != 0 && !info.file.is_null();
        found.then_some(Object {
            base: info.base,
            name: info.file,
        })
    }

    /// The function of that name which this very object exports; null where it exports none.
    pub fn exports(&self, name: &CStr) -> *const c_void {
        // SAFETY: strings with an end. Nothing is loaded anew, and the object stays loaded without
        // the handle.
        unsafe {
            let handle = dlopen(self.name, RTLD_LAZY | RTLD_NOLOAD);
            if handle.is_null() {
                return std::ptr::null();
            }
            let found: *const c_void = dlsym(handle, name.as_ptr());
            dlclose(handle);
            // The handle leads to what the object was linked with, too.
            if Object::at(found) == Some(*self) {
                found
            } else {
                std::ptr::null()
            }
        }
    }
}

/// The function of that name which the loader gives this library; null where there is none.
pub fn find(name: &CStr) -> *mut c_void {
    // SAFETY: a string with an end.
    unsafe { dlsym(RTLD_DEFAULT, name.as_ptr()) }
}

const RTLD_DEFAULT: *mut c_void = std::ptr::null_mut();
const RTLD_LAZY: c_int = 1;
const RTLD_NOLOAD: c_int = 4;

/// `Dl_info`.
#[repr(C)]
struct SymbolInfo {
    file: *const c_char,
    base: *const c_void,
    _symbol: [*const c_void; 2],
}

unsafe extern "C" {
    fn dladdr(address: *const c_void, info: *mut SymbolInfo) -> c_int;
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlclose(handle: *mut c_void) -> c_int;
}

macro_rules! late {
    ($($name:ident)*) => {
        /// Where each of them is: the same for all states, as long as the library is loaded.
        #[expect(non_upper_case_globals)]
        mod at {
            use std::ffi::c_void;
            use std::sync::atomic::AtomicPtr;
            $(pub static $name: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());)*
        }

        $(std::arch::global_asm!(
            concat!(".pushsection .text.late.", stringify!($name), ",\"ax\",@progbits"),
            concat!(".globl ", stringify!($name)),
            concat!(".hidden ", stringify!($name)),
            concat!(".type ", stringify!($name), ",@function"),
            concat!(stringify!($name), ":"),
            #[cfg(target_arch = "x86_64")]
            "jmp qword ptr [rip + {at}]",
            #[cfg(target_arch = "aarch64")]
            "adrp x16, {at}",
            #[cfg(target_arch = "aarch64")]
            "ldr x16, [x16, :lo12:{at}]",
            #[cfg(target_arch = "aarch64")]
            "br x16",
            ".popsection",
            at = sym at::$name,
        );)*

        /// Looks all of them up; returns the first that is missing. Threads that do it at a time
        /// find the same.
        pub fn bind() -> Option<&'static CStr> {
            let mut missing = None;
            $({
                const NAME: &str = concat!(stringify!($name), "\0");
                let name = CStr::from_bytes_with_nul(NAME.as_bytes()).unwrap_or(c"");
                let found = find(name);
                at::$name.store(found, std::sync::atomic::Ordering::Relaxed);
                if found.is_null() {
                    missing = missing.or(Some(name));
                }
            })*
            missing
        }
    };
}
// Those that this library calls and Lua 5.1, LuaJIT, 5.2, 5.3 or 5.5 lacks. Where one is missing
// here, `require` says `undefined symbol` in that Lua.
late! {
    luaL_loadbufferx luaL_traceback lua_absindex lua_callk lua_copy lua_getiuservalue lua_isinteger
    lua_newuserdatauv lua_pcallk lua_rawgetp lua_rawlen lua_rawsetp lua_resetthread lua_rotate
    lua_setiuservalue lua_tointegerx lua_tonumberx lua_upvalueid lua_upvaluejoin lua_version
}
