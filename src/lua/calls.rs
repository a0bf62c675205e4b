//! Watches the calls that the incoming chunk makes, through a debug hook (R2.7).
//!
//! [`observe`] runs a function with a hook in place and hands each call and each return, on every
//! coroutine that is reached, to a [`Watcher`]. The program's own hook goes on behind it, and is
//! back afterwards. A hook of Lua's cannot be seen through from within another one: there the
//! function runs on a thread of its own.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;

use mlua::ffi::{self, lua_Debug, lua_Hook, lua_State};

use super::debug::DebugRecord;
use super::entry::call;
use super::protected;
use super::tracker::Creations;
use super::vm::{Kept, Ref, Vm};
use crate::support::error::{Error, Result};
use crate::support::fault::caught;
use crate::support::mem::TryPush;

/// What is told of each call. An error ends the load.
pub trait Watcher {
    /// A function is entered, before its first instruction.
    ///
    /// # Errors
    /// Whatever makes going on impossible.
    fn called(&mut self, vm: &mut Vm, frame: &CallFrame<'_>) -> Result<()>;

    /// A function returns; its caller has not got the results yet.
    ///
    /// # Errors
    /// As [`Watcher::called`].
    fn returned(&mut self, vm: &mut Vm, frame: &CallFrame<'_>) -> Result<()>;

    /// The function that is observed has ended, well or not.
    ///
    /// # Errors
    /// As [`Watcher::called`].
    fn ended(&mut self, vm: &mut Vm, made: Creations<'_>) -> Result<()>;
}

/// What a function is, as far as a call needs it.
#[derive(Clone, Copy, Debug)]
pub struct Callee {
    /// Its address.
    pub addr: usize,
    /// Written in C.
    pub is_c: bool,
    /// A main chunk.
    pub is_main: bool,
}

/// The call that an event is about.
pub struct CallFrame<'a> {
    l: *mut lua_State,
    ar: *mut lua_Debug,
    /// The function's frame is that of the one that called it.
    pub is_tail: bool,
    /// What was created since the chunk began.
    pub made: Creations<'a>,
    /// Lua has told the function's source.
    is_source_told: Cell<bool>,
}

/// Which functions in Lua count as the nearest one below a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nearest {
    /// Those with lines.
    WithLine,
    /// The library's own as well, which may have none.
    OrLibrary,
}

impl CallFrame<'_> {
    /// The coroutine, as a number that tells it from others.
    pub fn thread(&self) -> usize {
        self.l as usize
    }

    /// The address of the function.
    pub fn address(&self) -> usize {
        self.function_at(self.ar).0
    }

    /// The address of the function of an activation, and its code if it is written in C.
    fn function_at(&self, ar: *mut lua_Debug) -> (usize, Option<usize>) {
        // SAFETY: the record of an active function; "f" pushes it, into the room that a hook has.
        unsafe {
            ffi::lua_getinfo(self.l, c"f".as_ptr(), ar);
            let addr = ffi::lua_topointer(self.l, -1) as usize;
            let code = ffi::lua_tocfunction(self.l, -1).map(|function| function as usize);
            ffi::lua_settop(self.l, -2);
            (addr, code)
        }
    }

    /// Is the function at this address the one that called this one?
    pub fn is_called_by(&self, addr: usize) -> bool {
        let mut ar = DebugRecord::new();
        // SAFETY: Lua checks the level.
        let exists = unsafe { ffi::lua_getstack(self.l, 1, ar.as_mut_ptr()) } != 0;
        exists && self.function_at(ar.as_mut_ptr()).0 == addr
    }

    /// The function.
    pub fn callee(&self) -> Callee {
        self.is_source_told.set(true);
        // SAFETY: a hook's own record; "f" pushes the function, into the room that a hook has.
        unsafe {
            ffi::lua_getinfo(self.l, c"fS".as_ptr(), self.ar);
            let what = (*self.ar).what.cast::<u8>().read();
            let addr = ffi::lua_topointer(self.l, -1) as usize;
            ffi::lua_settop(self.l, -2);
            Callee {
                addr,
                is_c: what == b'C',
                is_main: what == b'm',
            }
        }
    }

    /// Keeps the function.
    pub fn function(&self, vm: &mut Vm) -> Result<Ref> {
        // SAFETY: as in `callee`.
        unsafe { ffi::lua_getinfo(self.l, c"f".as_ptr(), self.ar) };
        vm.keep_from_caller()
    }

    /// Hands the source name of the function to `f`.
    pub fn with_source<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: `callee` or this call has filled "S" in; the string lives as long as the
        // function, which is running.
        unsafe {
            if !self.is_source_told.replace(true) {
                ffi::lua_getinfo(self.l, c"S".as_ptr(), self.ar);
            }
            f(std::slice::from_raw_parts(
                (*self.ar).source.cast::<u8>(),
                (*self.ar).srclen,
            ))
        }
    }

    /// How the caller names the function: `on`, and `method`, `field`, `local`, …; both empty where
    /// nothing tells.
    pub fn name(&self) -> (String, &'static str) {
        // SAFETY: "n" fills both in; null for a name that is not known; the kinds are Lua's own
        // literals.
        unsafe {
            ffi::lua_getinfo(self.l, c"n".as_ptr(), self.ar);
            let name = match (*self.ar).name.is_null() {
                true => String::new(),
                false => CStr::from_ptr((*self.ar).name)
                    .to_string_lossy()
                    .into_owned(),
            };
            let what = match (*self.ar).namewhat.is_null() {
                true => "",
                false => CStr::from_ptr((*self.ar).namewhat).to_str().unwrap_or(""),
            };
            (name, what)
        }
    }

    /// The address of the function that called this one, on the same coroutine, but for the
    /// library's own: a loader that `hotreload.track` calls was called by `require`.
    pub fn caller(&self) -> Option<usize> {
        let mut level = 1;
        loop {
            // SAFETY: as in `callee`, for a frame below; what "S" fills in.
            unsafe {
                let mut ar = DebugRecord::new();
                if ffi::lua_getstack(self.l, level, ar.as_mut_ptr()) == 0 {
                    return None;
                }
                let ar = ar.as_mut_ptr();
                let (addr, code) = self.function_at(ar);
                ffi::lua_getinfo(self.l, c"S".as_ptr(), ar);
                let source = std::slice::from_raw_parts((*ar).source.cast::<u8>(), (*ar).srclen);
                if code != Some(call as *const () as usize) && source != b"=hotreload" {
                    return Some(addr);
                }
            }
            level += 1;
        }
    }

    /// The nearest line of Lua below the call: the short name of its file, and its number.
    pub fn place(&self) -> (String, i32) {
        let shown = |source: &[u8], line| {
            let source = source.strip_prefix(b"@").or(source.strip_prefix(b"="));
            (crate::support::error::shown(source.unwrap_or(b"?")), line)
        };
        self.with_lua_below(Nearest::WithLine, shown)
            .unwrap_or((String::from("?"), 0))
    }

    /// Is the nearest function in Lua below this one the library's own?
    pub fn is_within_library(&self) -> bool {
        let is_own = |source: &[u8], _| source == b"=hotreload";
        self.with_lua_below(Nearest::OrLibrary, is_own)
            .unwrap_or(false)
    }

    /// Hands source name and line of the nearest function in Lua below this one to `f`.
    fn with_lua_below<R>(&self, which: Nearest, f: impl FnOnce(&[u8], i32) -> R) -> Option<R> {
        let mut level = 1;
        loop {
            // SAFETY: as in `caller`; what "S" and "l" fill in.
            unsafe {
                let mut ar = DebugRecord::new();
                if ffi::lua_getstack(self.l, level, ar.as_mut_ptr()) == 0 {
                    return None;
                }
                ffi::lua_getinfo(self.l, c"Sl".as_ptr(), ar.as_mut_ptr());
                let ar = ar.as_mut_ptr();
                let source = (*ar).source.cast::<u8>();
                let source = std::slice::from_raw_parts(source, (*ar).srclen);
                if (*ar).currentline >= 0 || which == Nearest::OrLibrary && source == b"=hotreload"
                {
                    return Some(f(source, (*ar).currentline));
                }
            }
            level += 1;
        }
    }

    /// Keeps the function's arguments, the variable ones among them.
    pub fn arguments(&self, vm: &mut Vm) -> Result<Kept<Ref>> {
        let mark = vm.held();
        self.each_argument(|| vm.keep_from_caller().map(|_| ()))?;
        Ok(vm.kept_since(mark))
    }

    /// Is one of its arguments a function?
    pub fn is_given_function(&self) -> bool {
        let mut found = false;
        let looked = self.each_argument(|| {
            // SAFETY: the argument is on top, and popped.
            unsafe {
                found |= ffi::lua_type(self.l, -1) == ffi::LUA_TFUNCTION;
                ffi::lua_settop(self.l, -2);
            }
            Ok(())
        });
        found || looked.is_err()
    }

    /// Pushes one argument after the other; `f` takes each from the stack.
    fn each_argument(&self, mut f: impl FnMut() -> Result<()>) -> Result<()> {
        // SAFETY: a hook's record; Lua checks the numbers, and pushes nothing where there is no
        // such local.
        unsafe {
            ffi::lua_getinfo(self.l, c"ur".as_ptr(), self.ar);
            let fixed = match (*self.ar).what.cast::<u8>().read() {
                b'C' => c_int::from((*self.ar).ntransfer),
                _ => c_int::from((*self.ar).nparams),
            };
            for i in 1..=fixed {
                if ffi::lua_getlocal(self.l, self.ar, i).is_null() {
                    break;
                }
                f()?;
            }
            if (*self.ar).isvararg != 0 {
                let mut i = -1;
                while !ffi::lua_getlocal(self.l, self.ar, i).is_null() {
                    f()?;
                    i -= 1;
                }
            }
        }
        Ok(())
    }

    /// How many values the function returns.
    pub fn results(&self) -> u16 {
        // SAFETY: "r" fills it in.
        unsafe {
            ffi::lua_getinfo(self.l, c"r".as_ptr(), self.ar);
            (*self.ar).ntransfer
        }
    }

    /// Keeps the `i`-th value that the function returns, from 0.
    pub fn result(&self, vm: &mut Vm, i: u16) -> Result<Ref> {
        // SAFETY: the values to be returned are temporaries of the frame, from `ftransfer` on.
        unsafe {
            ffi::lua_getinfo(self.l, c"r".as_ptr(), self.ar);
            let n = c_int::from((*self.ar).ftransfer) + c_int::from(i);
            if ffi::lua_getlocal(self.l, self.ar, n).is_null() {
                return Ok(Ref::NIL);
            }
        }
        vm.keep_from_caller()
    }

    /// Lets the function return another value.
    pub fn set_result(&self, vm: &Vm, i: u16, value: Ref) {
        // SAFETY: as in `result`; `lua_setlocal` pops the value where it knows the place, and else
        // leaves it.
        unsafe {
            let top = ffi::lua_gettop(self.l);
            vm.push_to_caller(value);
            let n = c_int::from((*self.ar).ftransfer) + c_int::from(i);
            ffi::lua_setlocal(self.l, self.ar, n);
            ffi::lua_settop(self.l, top);
        }
    }
}

/// The values of the locals of the function at `main`, where it is running on a coroutine: each
/// name with what it holds.
///
/// # Errors
/// [`Error::Memory`].
pub fn locals(
    vm: &mut Vm,
    thread: usize,
    main: usize,
    list: &mut Vec<(Vec<u8>, Ref)>,
) -> Result<()> {
    let l = thread as *mut lua_State;
    // SAFETY: the caller names the coroutine on which the chunk runs, which is alive; what is
    // pushed moves to the holders.
    unsafe {
        if ffi::lua_checkstack(l, 4) == 0 {
            return Err(Error::Memory);
        }
        let mut ar = DebugRecord::new();
        let mut level = 0;
        loop {
            if ffi::lua_getstack(l, level, ar.as_mut_ptr()) == 0 {
                return Ok(()); // it has ended
            }
            ffi::lua_getinfo(l, c"f".as_ptr(), ar.as_mut_ptr());
            let found = ffi::lua_topointer(l, -1) as usize == main;
            ffi::lua_settop(l, -2);
            if found {
                break;
            }
            level += 1;
        }
        let mut i = 1;
        loop {
            let name = ffi::lua_getlocal(l, ar.as_mut_ptr(), i);
            if name.is_null() {
                return Ok(());
            }
            let name = CStr::from_ptr(name).to_bytes();
            if name.first() == Some(&b'(') {
                ffi::lua_settop(l, -2);
            } else {
                let name = crate::support::mem::copied(name)?;
                let value = vm.keep_from(l)?;
                list.try_push((name, value))?;
            }
            i += 1;
        }
    }
}

/// Levels of a coroutine that are looked at.
pub const MOST_LEVELS: c_int = 200;

/// What a coroutine that waits, or has not begun, is going to work on: keeps its functions, and the
/// values of their locals. False if it is more than [`MOST_LEVELS`] calls deep.
///
/// # Errors
/// [`Error::Memory`].
pub fn activations(
    vm: &mut Vm,
    thread: Ref,
    functions: &mut Vec<Ref>,
    locals: &mut Vec<Ref>,
) -> Result<bool> {
    let (holder, index) = vm.at(thread);
    // SAFETY: a held coroutine, which does not run; what is pushed there moves to the holders.
    unsafe {
        let l = ffi::lua_tothread(holder, index);
        if l.is_null() || ffi::lua_checkstack(l, 4) == 0 {
            return Ok(true);
        }
        let mut ar = DebugRecord::new();
        let mut level = 0;
        while level < MOST_LEVELS && ffi::lua_getstack(l, level, ar.as_mut_ptr()) != 0 {
            ffi::lua_getinfo(l, c"f".as_ptr(), ar.as_mut_ptr());
            functions.try_push(vm.keep_from(l)?)?;
            let mut i = 1;
            while !ffi::lua_getlocal(l, ar.as_mut_ptr(), i).is_null() {
                locals.try_push(vm.keep_from(l)?)?;
                i += 1;
            }
            level += 1;
        }
        if level == 0 && ffi::lua_status(l) == ffi::LUA_OK {
            // The function and its arguments stand on the stack.
            for i in 1..=ffi::lua_gettop(l) {
                ffi::lua_pushvalue(l, i);
                let value = vm.keep_from(l)?;
                let list = if i == 1 {
                    &mut *functions
                } else {
                    &mut *locals
                };
                list.try_push(value)?;
            }
        }
        Ok(ffi::lua_getstack(l, MOST_LEVELS, ar.as_mut_ptr()) == 0)
    }
}

/// A coroutine on which the hook was put, and its own.
#[derive(Clone, Copy)]
struct Hooked {
    l: *mut lua_State,
    theirs: Option<lua_Hook>,
    mask: c_int,
    count: c_int,
}

impl Hooked {
    /// Puts the hook on a coroutine.
    ///
    /// # Safety
    /// A live coroutine.
    unsafe fn on(l: *mut lua_State) -> Hooked {
        // SAFETY: as promised; none of these raises or allocates.
        unsafe {
            let hooked = Hooked {
                l,
                theirs: ffi::lua_gethook(l),
                mask: ffi::lua_gethookmask(l),
                count: ffi::lua_gethookcount(l),
            };
            ffi::lua_sethook(l, Some(hook), MASK | hooked.mask, hooked.count);
            hooked
        }
    }

    /// Takes it off again, unless somebody has put another one there. True where it was there
    /// still.
    ///
    /// # Safety
    /// As for `on`.
    unsafe fn off(&self) -> bool {
        // SAFETY: as promised.
        unsafe {
            let ours = is_hooked(self.l);
            if ours {
                ffi::lua_sethook(self.l, self.theirs, self.mask, self.count);
            }
            ours
        }
    }
}

const MASK: c_int = ffi::LUA_MASKCALL | ffi::LUA_MASKRET;

/// Is the hook on this coroutine?
unsafe fn is_hooked(l: *mut lua_State) -> bool {
    // SAFETY: a live coroutine.
    let current = unsafe { ffi::lua_gethook(l) };
    current.is_some_and(|current| std::ptr::fn_addr_eq(current, hook as lua_Hook))
}

/// What the hook finds in the registry.
struct Observation<'a> {
    vm: *mut Vm,
    watcher: *mut (dyn Watcher + 'a),
    made: Creations<'a>,
    threads: Vec<Hooked>,
    /// The first error; from then on each event raises it.
    failed: Option<Error>,
    /// The watcher is told. Before that it is only asked whether there are events at all.
    tells: bool,
    seen: bool,
}

/// The key of the observation in the registry.
fn key() -> *const c_void {
    hook as *const c_void
}

/// The hook. What it raises, or the program's own hook behind it, ends the function that is called.
unsafe extern "C-unwind" fn hook(l: *mut lua_State, ar: *mut lua_Debug) {
    // SAFETY: a hook has LUA_MINSTACK slots. The observation lives as long as the registry has it.
    // What may raise comes last, when nothing of Rust's is alive.
    unsafe {
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, key());
        let observation = ffi::lua_touserdata(l, -1).cast::<Observation<'_>>();
        ffi::lua_settop(l, -2);
        if observation.is_null() {
            ffi::lua_sethook(l, None, 0, 0); // left over on a coroutine that nobody knew
            return;
        }
        let event = (*ar).event;
        if !tell(observation, l, ar) {
            // The program may catch the error, and go on. So each instruction raises it again:
            // `repeat until pcall(f)` ends, too.
            ffi::lua_sethook(l, Some(hook), MASK | ffi::LUA_MASKCOUNT, 1);
            ffi::lua_pushstring(l, c"not enough memory".as_ptr());
            ffi::lua_error(l);
        }
        let own = (*observation).threads.iter().find(|hooked| hooked.l == l);
        // A coroutine made meanwhile has the hook of the one that made it.
        let Some(hooked) = own.or((*observation).threads.first()).copied() else {
            return;
        };
        let wanted = match event {
            ffi::LUA_HOOKCALL | ffi::LUA_HOOKTAILCALL => ffi::LUA_MASKCALL,
            ffi::LUA_HOOKRET => ffi::LUA_MASKRET,
            ffi::LUA_HOOKLINE => ffi::LUA_MASKLINE,
            _ => ffi::LUA_MASKCOUNT,
        };
        if hooked.mask & wanted != 0
            && let Some(theirs) = hooked.theirs
        {
            theirs(l, ar);
        }
    }
}

/// Hands a call or a return to the watcher. False where the load cannot go on.
unsafe fn tell(observation: *mut Observation<'_>, l: *mut lua_State, ar: *mut lua_Debug) -> bool {
    // SAFETY: nobody else uses the view or the watcher while a function of the program's runs.
    unsafe {
        let observation = &mut *observation;
        observation.seen = true;
        if !observation.tells {
            return true;
        }
        if observation.failed.is_some() {
            return false;
        }
        if !matches!(
            (*ar).event,
            ffi::LUA_HOOKCALL | ffi::LUA_HOOKTAILCALL | ffi::LUA_HOOKRET
        ) {
            return true;
        }
        let (vm, watcher) = (&mut *observation.vm, &mut *observation.watcher);
        let frame = CallFrame {
            l,
            ar,
            is_tail: (*ar).event == ffi::LUA_HOOKTAILCALL,
            made: observation.made,
            is_source_told: Cell::new(false),
        };
        let asking = vm.ask_on(l);
        vm.forget_addresses();
        let outcome = caught("while a call was looked at", || match (*ar).event {
            ffi::LUA_HOOKRET => watcher.returned(vm, &frame),
            _ => watcher.called(vm, &frame),
        });
        vm.ask_on(asking);
        observation.failed = outcome.err();
        observation.failed.is_none()
    }
}

/// A C function that does nothing.
unsafe extern "C-unwind" fn nothing(_: *mut lua_State) -> c_int {
    0
}

/// What became of a function that was observed.
pub struct Observed {
    /// What it returned first, or why not.
    pub outcome: Result<Ref>,
    /// It has put a debug hook of its own in place: the calls behind that were not seen.
    pub blinded: bool,
}

/// Calls `function` with two arguments, keeps its first result, and tells the watcher of all calls
/// meanwhile.
pub fn observe(
    vm: &mut Vm,
    function: Ref,
    args: [Ref; 2],
    watcher: &mut dyn Watcher,
    made: Creations<'_>,
) -> Observed {
    let mut observation = Observation {
        vm: null_mut(),
        watcher,
        made,
        threads: Vec::new(),
        failed: None,
        tells: false,
        seen: false,
    };
    match run(vm, function, args, &mut observation) {
        Ok((outcome, blinded)) => Observed {
            outcome: match observation.failed {
                Some(error) => Err(error),
                None => outcome,
            },
            blinded,
        },
        Err(error) => Observed {
            outcome: Err(error),
            blinded: false,
        },
    }
}

/// Runs the function with the observation in the registry, which the hook finds there: from here on
/// it is used by its address alone.
fn run(
    vm: &mut Vm,
    function: Ref,
    args: [Ref; 2],
    observation: &mut Observation<'_>,
) -> Result<(Result<Ref>, bool)> {
    let asking = vm.caller();
    observation.threads.try_reserve(4)?;
    let observation = &raw mut *observation;
    // SAFETY: the entry is made in a protected call, and taken out below whatever happens; to
    // overwrite it allocates nothing. The observation outlives the entry, and only one of this
    // function and the hook uses it at a time.
    unsafe {
        protected::run(asking, 0, |l| {
            ffi::lua_pushlightuserdata(l, observation.cast());
            ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, key());
        })?;
        // A panic must not get past the hooks.
        let outcome = caught("while the chunk ran", || {
            let l = match sees_calls(asking, observation)? {
                true => asking,
                false => vm.new_thread()?,
            };
            (*observation).tells = true;
            (*observation).threads.push(Hooked::on(l)); // there is room
            (*observation).vm = &raw mut *vm;
            let called = vm.push_call(l, function, &args).and_then(|()| {
                caught("while the chunk ran", || {
                    protected::call(l, args.len() as c_int, 1)
                })
            });
            Ok((l, called))
        });
        // What the watcher asks of Lua now is its own.
        (*observation).tells = false;
        if (*observation).failed.is_none() {
            let ended = caught("behind the chunk", || {
                (*(*observation).watcher).ended(vm, (*observation).made)
            });
            (*observation).failed = ended.err();
        }
        let mut blinded = false;
        for hooked in &(*observation).threads {
            blinded |= !hooked.off();
        }
        ffi::lua_pushnil(asking);
        ffi::lua_rawsetp(asking, ffi::LUA_REGISTRYINDEX, key());
        let (l, called) = outcome?;
        vm.after_call();
        Ok((called.and_then(|()| vm.keep_from(l)), blinded))
    }
}

/// Are there events on this coroutine? Not from within a hook.
unsafe fn sees_calls(l: *mut lua_State, observation: *mut Observation<'_>) -> Result<bool> {
    // SAFETY: the running coroutine, with room; the hook is off again in any case.
    unsafe {
        let hooked = Hooked::on(l);
        (*observation).threads.push(Hooked { mask: 0, ..hooked });
        let called = caught("before the chunk", || {
            protected::run(l, 0, |l| {
                ffi::lua_pushcfunction(l, nothing);
                ffi::lua_call(l, 0, 0);
            })
        });
        (*observation).threads.clear();
        hooked.off();
        called.map(|()| (*observation).seen)
    }
}

/// Puts the hook on a coroutine that the program had before, as long as the observation lasts. For
/// watchers.
///
/// # Errors
/// [`Error::Memory`].
pub fn follow(vm: &mut Vm, thread: Ref) -> Result<()> {
    let (holder, index) = vm.at(thread);
    // SAFETY: a held value; called within an event, so the registry has the observation.
    unsafe {
        let l = ffi::lua_tothread(holder, index);
        let asking = vm.caller();
        ffi::lua_rawgetp(asking, ffi::LUA_REGISTRYINDEX, key());
        let observation = ffi::lua_touserdata(asking, -1).cast::<Observation<'_>>();
        ffi::lua_settop(asking, -2);
        if l.is_null() || observation.is_null() {
            return Ok(());
        }
        let threads = &mut (*observation).threads;
        if threads.iter().any(|hooked| hooked.l == l) {
            return Ok(());
        }
        threads.try_reserve(1)?;
        let hooked = match is_hooked(l) {
            // It was made meanwhile: it gets what the one has that made it.
            true => threads.first().map(|first| Hooked { l, ..*first }),
            false => Some(Hooked::on(l)),
        };
        threads.extend(hooked);
        Ok(())
    }
}
