//! Many states on many threads: each tells a story, one part of it on whichever thread is free, is
//! closed on yet another one, some of them in the middle; the process then holds what it held
//! before.
//!
//! `tests/hosts.c` is the same for the built library: a host that loads and unloads it.

// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;

use support::story::{self, End, Story};
use support::{Fault, Memory, Outcome, Program, pick};

/// Counts the bytes that the process holds outside the states' own allocators.
struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came; the counter hands out no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(block, layout) }
    }
}

const THREADS: usize = 8;

/// How far a state has come.
enum Part {
    Begun(Program),
    /// The story's call has returned; was it done?
    Called(Program, bool),
    /// Nothing is left but to close it.
    Over(Program),
}

/// A state on its way to the next thread.
struct Moving(usize, Part);

// SAFETY: one thread at a time uses the state: it goes with the value; the library keeps nothing
// that belongs to a thread.
unsafe impl Send for Moving {}

fn story_of(number: usize) -> &'static Story {
    let all = story::ALL;
    all.get(number % all.len()).expect("a story")
}

/// Takes a state one part further; none when it is closed. Every seventh one is closed in the
/// middle.
fn go_on(Moving(number, part): Moving) -> Option<Moving> {
    let story = story_of(number);
    let next = match part {
        Part::Begun(_) if number % 7 == 3 => return None,
        Part::Begun(program) => {
            story.push(&program);
            let outcome = program.call(2, Fault::None);
            let fits = match story.ends {
                End::Done | End::Dry | End::Part => outcome == Outcome::Done,
                End::Refused(part) => {
                    matches!(&outcome, Outcome::Refused(Some(text)) if text.contains(part))
                }
            };
            assert!(fits, "{}, state {number}: {outcome:?}", story.name);
            assert!(
                program.has_own_allocator() && program.is_collecting(),
                "{}",
                story.name
            );
            Part::Called(program, outcome == Outcome::Done)
        }
        Part::Called(_, _) if number % 7 == 5 => return None,
        Part::Called(program, done) => {
            story.settle(&program, done);
            Part::Over(program)
        }
        Part::Over(program) => {
            drop(program); // closes it
            return None;
        }
    };
    Some(Moving(number, next))
}

/// A thread that fails ends the others.
struct EndAll<'a>(&'a AtomicUsize, usize);

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(self.1, Ordering::Relaxed);
        }
    }
}

/// Tells so many stories, each in a state of its own, on all threads; returns how often a state
/// went from one to another.
fn tell(states: usize) -> usize {
    let (opened, closed, moves) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let (sender, receiver) = mpsc::channel::<Moving>();
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let sender = sender.clone();
            let (opened, closed, moves, receiver) = (&opened, &closed, &moves, &receiver);
            scope.spawn(move || {
                let _end = EndAll(closed, states);
                let mut last = usize::MAX;
                while closed.load(Ordering::Relaxed) < states {
                    let alive = opened
                        .load(Ordering::Relaxed)
                        .saturating_sub(closed.load(Ordering::Relaxed));
                    let waiting = if alive < 4 * THREADS && opened.load(Ordering::Relaxed) < states
                    {
                        None
                    } else {
                        receiver.lock().expect("no thread panicked").try_recv().ok()
                    };
                    let moving = match waiting {
                        Some(moving) => {
                            moves.fetch_add(usize::from(moving.0 != last), Ordering::Relaxed);
                            last = moving.0;
                            go_on(moving)
                        }
                        None => {
                            let number = opened.fetch_add(1, Ordering::Relaxed);
                            if number >= states {
                                thread::yield_now();
                                continue;
                            }
                            let program = Program::with(Memory::scattered(number as u64));
                            story_of(number).prepare(&program);
                            Some(Moving(number, Part::Begun(program)))
                        }
                    };
                    match moving {
                        Some(moving) => sender.send(moving).expect("somebody receives"),
                        None => {
                            closed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    moves.into_inner()
}

/// (One test alone in its process: what another one allocates meanwhile would count.)
#[test]
fn states_move_between_threads_and_leave_nothing_behind() {
    let usual = 8 * story::ALL.len();
    let states = pick(usual, usual, 2000);
    tell(2 * story::ALL.len()); // what is made once in a process
    let before = HELD.load(Ordering::Relaxed);
    let moves = tell(states);
    let left = HELD.load(Ordering::Relaxed) - before;
    assert!(
        moves > states,
        "{states} states went to another thread {moves} times only"
    );
    // What the standard library keeps for a thread or a channel may come a little later, or go.
    assert!(
        left < 1024,
        "{left} bytes are left behind by {states} states"
    );
    println!("{states} states, {moves} moves, {left} bytes left");
}
