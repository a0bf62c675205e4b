//! `hotreload`: replaces the code of a running Lua server without losing its data.
//!
//! A native module for Lua 5.4. `require "hotreload"` calls [`luaopen_hotreload`]; the way of a
//! reload is in `src/reload.rs`. The rules (`R1.2`) that the comments cite are those of
//! `docs/semantics/`.
//!
//! The rooms, top first. A room may use the rooms below it and never one above it
//! (`scripts/arrows.lua` checks it):
//!
//! * `api`: what the façade may call;
//! * `reload`: the pipeline;
//! * `features`: what the façade may call besides a reload;
//! * `stages`: the steps of a reload;
//! * `model`: what the stages speak about;
//! * `lua`: all unsafe code, behind safe functions;
//! * `code`: the readers of bytecode;
//! * `support`: errors, memory, faults.

mod api;
mod code;
mod features;
mod lua;
mod model;
mod reload;
mod stages;
mod support;

#[cfg(feature = "vendored")]
#[doc(hidden)]
pub use code::probe as readers;
#[cfg(feature = "vendored")]
pub use lua::heap::probe::walk as walk_heap;
#[cfg(feature = "vendored")]
pub use support::fault;

lua::late::luaopen!(
    /// What `require "hotreload"` calls: installs `gg.reload` and returns the library's table.
    /// `[-0, +1, e]`
    luaopen_hotreload, lua::guard::enter::<api::Core>
);
lua::late::luaopen!(
    /// What `require "hotreload.watch"` calls where that is no file. `[-0, +1, e]`
    luaopen_hotreload_watch, lua::guard::module::<0>
);
lua::late::luaopen!(
    /// What `require "hotreload.hosts.common"` calls where that is no file. `[-0, +1, e]`
    luaopen_hotreload_hosts_common, lua::guard::module::<1>
);
lua::late::luaopen!(
    /// What `require "hotreload.hosts.agent"` calls where that is no file. `[-0, +1, e]`
    luaopen_hotreload_hosts_agent, lua::guard::module::<2>
);
lua::late::luaopen!(
    /// What `require "hotreload.hosts.coordinator"` calls where that is no file. `[-0, +1, e]`
    luaopen_hotreload_hosts_coordinator, lua::guard::module::<3>
);
lua::late::luaopen!(
    /// What `require "hotreload.hosts.skynet"` calls where that is no file. `[-0, +1, e]`
    luaopen_hotreload_hosts_skynet, lua::guard::module::<4>
);
lua::late::luaopen!(
    /// What `require "hotreload.hosts.moon"` calls where that is no file. `[-0, +1, e]`
    luaopen_hotreload_hosts_moon, lua::guard::module::<5>
);
lua::late::luaopen!(
    /// What `require "hotreload.hosts.silly"` calls where that is no file. `[-0, +1, e]`
    luaopen_hotreload_hosts_silly, lua::guard::module::<6>
);
lua::late::luaopen!(
    /// What `require "hotreload.dev"` calls where that is no file. `[-0, +1, e]`
    luaopen_hotreload_dev, lua::guard::module::<7>
);
lua::late::luaopen!(
    /// What `require "hotreload.console"` calls where that is no file. `[-0, +1, e]`
    luaopen_hotreload_console, lua::guard::module::<8>
);
