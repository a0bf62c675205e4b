//! Failures that a test asks for, wherever a stage can fail: at its bounds, between two operations,
//! at every call of Lua's that may raise.
//!
//! In the library that programs load, [`point`] is empty and there is nothing else. Only the tests'
//! own build, with a Lua built in, counts the points that a thread comes to, and lets some of them
//! fail.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::error::{Error, Result};

#[cfg(feature = "vendored")]
pub use armed::{Fault, FaultCounts, alone, arm, collect, collects, disarm};

/// How often is tried what must not fail.
const TRIES: usize = 3;

/// A place where a test may let the library fail.
///
/// # Errors
/// In the tests' build, what `arm` asked for; it may also panic.
#[inline(always)]
pub fn point() -> Result<()> {
    #[cfg(feature = "vendored")]
    armed::point()?;
    Ok(())
}

/// Has a test asked that this thread's states share nothing?
pub fn is_alone() -> bool {
    #[cfg(feature = "vendored")]
    return armed::is_alone();
    #[cfg(not(feature = "vendored"))]
    false
}

/// Runs `body`; a panic in it becomes an error that says where.
///
/// # Errors
/// Those of `body`, and [`Error::Panic`].
pub fn caught<T>(place: &str, body: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| Err(Error::Panic(place.into())))
}

/// Tries again what puts the program back and fails, be it for want of memory (each try collects
/// garbage) or by a panic.
///
/// # Errors
/// The last try's.
pub fn insist<T>(place: &str, mut body: impl FnMut() -> Result<T>) -> Result<T> {
    let mut outcome = caught(place, &mut body);
    for _ in 1..TRIES {
        if outcome.is_ok() {
            break;
        }
        outcome = caught(place, &mut body);
    }
    outcome
}

#[cfg(feature = "vendored")]
mod armed {
    use std::cell::Cell;
    use std::panic::resume_unwind;

    use crate::support::error::{Error, Result};

    /// How a point fails.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Fault {
        /// It panics (without the message on stderr).
        Panic,
        /// It returns an error that is not about memory.
        Error,
    }

    /// What became of the points since [`arm`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct FaultCounts {
        /// How many were come to.
        pub points: u64,
        /// How many failed.
        pub failed: u64,
    }

    #[derive(Clone, Copy)]
    struct FaultPlan {
        fault: Option<Fault>,
        first: u64,
        count: u64,
        met: FaultCounts,
    }

    const NOTHING: FaultPlan = FaultPlan {
        fault: None,
        first: 0,
        count: 0,
        met: FaultCounts {
            points: 0,
            failed: 0,
        },
    };

    thread_local! {
        static PLAN: Cell<FaultPlan> = const { Cell::new(NOTHING) };
        static COLLECTS: Cell<bool> = const { Cell::new(false) };
        static ALONE: Cell<bool> = const { Cell::new(false) };
    }

    /// From now on, or no longer, the states in which this thread opens the library share nothing:
    /// for those who count a thread's memory while others work.
    pub fn alone(on: bool) {
        ALONE.set(on);
    }

    /// Do they?
    pub fn is_alone() -> bool {
        ALONE.get()
    }

    /// From now on, or no longer, each call of this thread's that may raise begins with a full
    /// collection, finalizers included.
    pub fn collect(on: bool) {
        COLLECTS.set(on);
    }

    /// Does it?
    pub fn collects() -> bool {
        COLLECTS.get()
    }

    /// From now on `count` points of this thread fail, from the one with the number `first` on
    /// (counted from 1).
    pub fn arm(fault: Fault, first: u64, count: u64) {
        PLAN.set(FaultPlan {
            fault: Some(fault),
            first,
            count,
            ..NOTHING
        });
    }

    /// Ends that, and says what was met.
    pub fn disarm() -> FaultCounts {
        PLAN.replace(NOTHING).met
    }

    #[inline]
    pub fn point() -> Result<()> {
        let plan = PLAN.get();
        match plan.fault {
            None => Ok(()),
            Some(fault) => count(plan, fault),
        }
    }

    #[cold]
    fn count(mut plan: FaultPlan, fault: Fault) -> Result<()> {
        plan.met.points += 1;
        let number = plan.met.points;
        let fails = number >= plan.first && number - plan.first < plan.count;
        plan.met.failed += u64::from(fails);
        PLAN.set(plan);
        match fault {
            _ if !fails => Ok(()),
            Fault::Error => Err(Error::Lua(b"a failure that a test asked for".to_vec())),
            Fault::Panic => resume_unwind(Box::new("a panic that a test asked for")),
        }
    }
}
