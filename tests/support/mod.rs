//! A program to reload modules in: a Lua state with an allocator of its own, a folder for its
//! files, and the Lua side of `program.lua`.
//!
//! The state is driven through the C API, so that nothing but Lua and the library asks the
//! allocator for memory.

// Each test file uses its own part of this.
#![allow(dead_code)]

pub mod dump;
pub mod effort;
pub mod ledger;
pub mod memory;
pub mod story;

use std::ffi::{CStr, CString, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

use mlua::ffi::{self, lua_State};

#[allow(unused_imports)] // not every test program samples
pub use effort::{is_stress, pick};
pub use memory::{Fault, Memory};

/// The registry's field with the Lua side.
const SUPPORT: &CStr = c"hotreload.tests";

/// The Lua side, compiled once.
static LUA_SIDE: OnceLock<Vec<u8>> = OnceLock::new();

/// A running Lua program.
pub struct Program {
    l: *mut lua_State,
    pub memory: Box<Memory>,
    pub folder: Folder,
}

/// How a protected call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned a true value.
    Done,
    /// It returned false or nil and, maybe, a string.
    Refused(Option<String>),
    /// It raised.
    Raised(String),
}

impl Outcome {
    /// It failed, and says that some of the program could not be put back.
    pub fn admits_damage(&self) -> bool {
        let (Outcome::Refused(Some(text)) | Outcome::Raised(text)) = self else {
            return false;
        };
        text.contains("could not be put back") || text.contains("could not be undone")
    }
}

impl Program {
    /// A new state with the standard libraries and `hotreload`, which finds modules in a folder of
    /// its own.
    pub fn new() -> Program {
        Program::with(Memory::new())
    }

    /// The same, with an allocator that is prepared already.
    pub fn with(memory: Memory) -> Program {
        let program = Program::bare(memory);
        program.must("require 'hotreload'");
        program
    }

    /// A new state in which `hotreload` can be required and is not yet.
    pub fn bare(memory: Memory) -> Program {
        let memory = Box::new(memory);
        let folder = Folder::new();
        let path = format!("package.path = [[{}]]", folder.path.join("?.lua").display());
        // SAFETY: the allocator keeps its contract and outlives the state, which the program
        // closes. Opening the libraries raises only for want of memory, which there is.
        let l = unsafe {
            let l = ffi::lua_newstate(memory::allocate, ptr::from_ref(&*memory).cast_mut().cast());
            assert!(!l.is_null(), "no memory for a Lua state");
            ffi::luaL_openlibs(l);
            l
        };
        let program = Program { l, memory, folder };
        // SAFETY: a fresh state with room on its stack.
        unsafe {
            ffi::luaL_getsubtable(l, ffi::LUA_REGISTRYINDEX, c"_PRELOAD".as_ptr());
            ffi::lua_pushcfunction(l, hotreload::luaopen_hotreload);
            ffi::lua_setfield(l, -2, c"hotreload".as_ptr());
            ffi::lua_pop(l, 1);
            let code = LUA_SIDE.get_or_init(|| program.compile(include_str!("program.lua")));
            let status = ffi::luaL_loadbufferx(
                l,
                code.as_ptr().cast(),
                code.len(),
                c"program.lua".as_ptr(),
                c"b".as_ptr(),
            );
            assert_eq!(status, ffi::LUA_OK, "{}", program.text_at(-1));
            assert_eq!(
                ffi::lua_pcall(l, 0, 1, 0),
                ffi::LUA_OK,
                "{}",
                program.text_at(-1)
            );
            ffi::lua_setfield(l, ffi::LUA_REGISTRYINDEX, SUPPORT.as_ptr());
        }
        program.must(&path);
        program
    }

    /// Loads those of the library's own Lua files that a plain reload uses: where each request for
    /// memory fails once, most of a reload's are else for the text of these.
    pub fn load_parts(&self) {
        static NAMES: OnceLock<String> = OnceLock::new();
        let names = NAMES.get_or_init(|| {
            let program = story::FUNCTIONS.begin();
            let without = program.parts();
            story::FUNCTIONS.push(&program);
            assert_eq!(program.call(2, Fault::None), Outcome::Done);
            let is_new = |name: &&str| !without.split(' ').any(|known| known == *name);
            let parts = program.parts();
            let new: Vec<_> = parts.split(' ').filter(is_new).collect();
            assert!(new.contains(&"facade"), "{new:?}");
            new.join(" ")
        });
        self.must(&format!(
            "local test = ...
            local core = test.core()
            for name in ('facade {names}'):gmatch '%S+' do local _ = core[name] end"
        ));
    }

    /// What the library has loaded of its own Lua files, and its other fields.
    fn parts(&self) -> String {
        self.must(
            "local test = ...
            local names = {}
            for name in next, test.core() do names[#names + 1] = name end
            return table.concat(names, ' ')",
        )
    }

    /// The state, for what only the C API can do.
    pub fn state(&self) -> *mut lua_State {
        self.l
    }

    /// Writes the file of a module.
    pub fn write(&self, module: &str, text: impl AsRef<[u8]>) {
        self.folder.write(module, text);
    }

    /// The binary form of a text.
    fn compile(&self, text: &str) -> Vec<u8> {
        unsafe extern "C-unwind" fn write(
            _: *mut lua_State,
            from: *const c_void,
            size: usize,
            to: *mut c_void,
        ) -> c_int {
            // SAFETY: the bytes are read within their length; `to` is the vector below.
            unsafe {
                (*to.cast::<Vec<u8>>())
                    .extend_from_slice(std::slice::from_raw_parts(from.cast(), size))
            };
            0
        }
        let mut code: Vec<u8> = Vec::new();
        self.load(text);
        // SAFETY: the function is on top; the writer does not raise.
        unsafe {
            ffi::lua_dump(self.l, write, (&raw mut code).cast(), 0);
            ffi::lua_pop(self.l, 1);
        }
        code
    }

    /// Compiles a text onto the stack.
    fn load(&self, text: &str) {
        let name = CString::new(format!("={}", text.lines().next().unwrap_or_default()));
        let name = name.expect("a test's text has no zero bytes");
        // SAFETY: the text is read within its length.
        unsafe {
            let size = text.len();
            let status = ffi::luaL_loadbufferx(
                self.l,
                text.as_ptr().cast(),
                size,
                name.as_ptr(),
                c"t".as_ptr(),
            );
            assert_eq!(status, ffi::LUA_OK, "{}", self.text_at(-1));
        }
    }

    /// Runs a text, which gets the table of `program.lua` as its argument, and returns its first
    /// result as a string.
    pub fn run(&self, text: &str) -> Result<String, String> {
        // SAFETY: what is pushed is popped; the call is protected.
        unsafe {
            let top = ffi::lua_gettop(self.l);
            self.load(text);
            ffi::lua_getfield(self.l, ffi::LUA_REGISTRYINDEX, SUPPORT.as_ptr());
            let status = ffi::lua_pcall(self.l, 1, 1, 0);
            let result = self.text_at(-1);
            ffi::lua_settop(self.l, top);
            if status == ffi::LUA_OK {
                Ok(result)
            } else {
                Err(result)
            }
        }
    }

    /// Runs a text that must not raise.
    #[track_caller]
    pub fn must(&self, text: &str) -> String {
        match self.run(text) {
            Ok(result) => result,
            Err(message) => panic!("{message}\nin the text:\n{text}"),
        }
    }

    /// Pushes the value of a text that must not raise, for [`Program::call`].
    pub fn push(&self, text: &str) {
        // SAFETY: there is room on the stack of a state that nothing runs in.
        unsafe {
            self.load(text);
            ffi::lua_getfield(self.l, ffi::LUA_REGISTRYINDEX, SUPPORT.as_ptr());
            let status = ffi::lua_pcall(self.l, 1, 1, 0);
            assert_eq!(status, ffi::LUA_OK, "{}", self.text_at(-1));
        }
    }

    /// Calls the function below `arguments` values, pushed before, while the allocator fails as
    /// `fault` says.
    pub fn call(&self, arguments: c_int, fault: Fault) -> Outcome {
        // SAFETY: the call is protected; the stack is as before it was prepared.
        unsafe {
            let below = ffi::lua_gettop(self.l) - arguments - 1;
            self.memory.arm(fault);
            let status = ffi::lua_pcall(self.l, arguments, 2, 0);
            self.memory.disarm();
            let outcome = if status != ffi::LUA_OK {
                Outcome::Raised(self.text_at(-1))
            } else if ffi::lua_toboolean(self.l, -2) != 0 {
                Outcome::Done
            } else {
                let is_text = ffi::lua_type(self.l, -1) == ffi::LUA_TSTRING;
                Outcome::Refused(is_text.then(|| self.text_at(-1)))
            };
            let left = ffi::lua_gettop(self.l) - below;
            assert_eq!(
                left,
                if status == ffi::LUA_OK { 2 } else { 1 },
                "stack height"
            );
            ffi::lua_settop(self.l, below);
            outcome
        }
    }

    /// The allocator in place: whether it is the program's own.
    pub fn has_own_allocator(&self) -> bool {
        let mut ud: *mut c_void = ptr::null_mut();
        // SAFETY: reading the allocator changes nothing.
        let found = unsafe { ffi::lua_getallocf(self.l, &raw mut ud) };
        ptr::fn_addr_eq(found, memory::allocate as ffi::lua_Alloc)
            && ptr::eq(ud.cast_const().cast(), &*self.memory)
    }

    /// Is the collector running?
    pub fn is_collecting(&self) -> bool {
        // SAFETY: asking changes nothing.
        unsafe { ffi::lua_gc(self.l, ffi::LUA_GCISRUNNING) == 1 }
    }

    /// Collects all garbage; returns the bytes that Lua holds then.
    pub fn collect(&self) -> usize {
        // SAFETY: nothing runs in the state; finalizers cannot raise through a collection.
        unsafe {
            for _ in 0..3 {
                ffi::lua_gc(self.l, ffi::LUA_GCCOLLECT);
            }
        }
        self.memory.held()
    }

    /// The value at a stack index, for a message.
    pub fn text_at(&self, index: c_int) -> String {
        // SAFETY: a valid index; `luaL_tolstring` may run a `__tostring`, of the tests' own objects
        // only.
        unsafe {
            let mut size = 0;
            let start = ffi::luaL_tolstring(self.l, index, &raw mut size);
            let text = std::slice::from_raw_parts(start.cast::<u8>(), size);
            let text = String::from_utf8_lossy(text).into_owned();
            ffi::lua_pop(self.l, 1);
            text
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the state is open and nothing runs in it.
        unsafe { ffi::lua_close(self.l) };
        if !std::thread::panicking() {
            assert_eq!(
                self.memory.held(),
                0,
                "bytes that a closed state still holds"
            );
        }
    }
}

/// A new folder, deleted when it is dropped. Its name is long, as on a server: the modules' chunk
/// names have more than 40 bytes, and Lua makes such a string anew for each chunk.
pub struct Folder {
    root: PathBuf,
    path: PathBuf,
}

impl Folder {
    pub fn new() -> Folder {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let root = env::temp_dir().join(format!("hotreload-test-{}-{number}", process::id()));
        let path = root.join("server_modules");
        fs::create_dir_all(&path).expect("a folder for the test");
        Folder { root, path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&self, module: &str, text: impl AsRef<[u8]>) {
        let path = self
            .path
            .join(module.replace('.', "/"))
            .with_extension("lua");
        fs::create_dir_all(path.parent().unwrap_or(&self.path)).expect("a folder for the module");
        fs::write(path, text).expect("the module's file");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}
