//! The binary form of a function (manual: `lua_dump`).

use std::ffi::{c_int, c_void};

use mlua::ffi::{self, lua_State};

/// What a dump does with a function's lines, names of variables and source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DebugInfo {
    /// It has them.
    Keep,
    /// It leaves them out.
    Strip,
    /// It ends where the function's own code does.
    Code,
}

/// The binary form of the function on top; false when there is no memory for it. `[-0, +0, -]`
///
/// # Safety
/// A Lua function that is whole is on top.
pub unsafe fn dump_top(l: *mut lua_State, buffer: &mut Vec<u8>, debug_info: DebugInfo) -> bool {
    let mut out = Output::to(buffer);
    let strip = c_int::from(debug_info != DebugInfo::Keep);
    out.ends_early = debug_info == DebugInfo::Code;
    // SAFETY: as promised; the writer cannot raise.
    let failed = unsafe { ffi::lua_dump(l, Output::write, (&raw mut out).cast(), strip) };
    out.finish();
    failed == 0 || failed == ENOUGH
}

/// The most bytes of a piece for which no call is made.
const PIECE: usize = 16;
/// What a writer answers that wants no more.
const ENOUGH: c_int = 2;

/// Where `lua_dump` writes to. A dump comes in many small pieces, most of them a byte: no call is
/// made for them, and no more looked at than where the next one goes.
struct Output<'a> {
    buffer: &'a mut Vec<u8>,
    /// Behind the last piece, and behind the buffer's room.
    next: *mut u8,
    end: *mut u8,
    /// The first piece that is no small one is the last: without debug information the code.
    ends_early: bool,
}

impl<'a> Output<'a> {
    /// Writes from the buffer's beginning.
    fn to(buffer: &'a mut Vec<u8>) -> Output<'a> {
        buffer.clear();
        let room = buffer.spare_capacity_mut().as_mut_ptr_range();
        Output {
            next: room.start.cast(),
            end: room.end.cast(),
            buffer,
            ends_early: false,
        }
    }

    /// A `lua_Writer`. [-0, +0, -]
    unsafe extern "C-unwind" fn write(
        l: *mut lua_State,
        data: *const c_void,
        len: usize,
        out: *mut c_void,
    ) -> c_int {
        // SAFETY: `out` is the output that `dump` passes, `data` has `len` bytes; `next` to `end`
        // is room.
        unsafe {
            let (output, from) = (&mut *out.cast::<Output>(), data.cast::<u8>());
            let to = output.next;
            if len == 1 && to != output.end {
                output.next = to.add(1);
                to.write(from.read());
                return 0;
            }
            if !(2..=PIECE).contains(&len) || len > output.end.addr() - to.addr() {
                return Self::write_any(l, data, len, out);
            }
            output.next = to.add(len);
            match len {
                8.. => copy_ends::<8>(from, to, len),
                4.. => copy_ends::<4>(from, to, len),
                _ => copy_ends::<2>(from, to, len),
            }
        }
        0
    }

    /// A piece of any length, for which there may be no room yet. [-0, +0, -]
    #[inline(never)]
    unsafe extern "C-unwind" fn write_any(
        _: *mut lua_State,
        data: *const c_void,
        len: usize,
        out: *mut c_void,
    ) -> c_int {
        // SAFETY: `out` is the output that `dump` passes, `data` has `len` bytes, and `grow` has
        // made room for them behind `next`.
        unsafe {
            let output = &mut *out.cast::<Output>();
            if len > output.end.addr() - output.next.addr() && !output.grow(len) {
                return 1;
            }
            let to = output.next;
            output.next = to.add(len);
            to.copy_from_nonoverlapping(data.cast::<u8>(), len);
            c_int::from(output.ends_early && len > PIECE) * ENOUGH
        }
    }

    /// Makes room for a piece; false when there is no memory.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, len: usize) -> bool {
        self.finish();
        let grown = self.buffer.try_reserve(len).is_ok();
        let room = self.buffer.spare_capacity_mut().as_mut_ptr_range();
        (self.next, self.end) = (room.start.cast(), room.end.cast());
        grown
    }

    /// What was written is the buffer's.
    fn finish(&mut self) {
        let len = self.next.addr() - self.buffer.as_ptr().addr();
        // SAFETY: every byte before `next` was written.
        unsafe { self.buffer.set_len(len) };
    }
}

/// Copies N to 2 N bytes without a call: the first N and the last N, which may overlap.
///
/// # Safety
/// `len` is in that range, and so many bytes can be read and written; they are not the same ones.
#[inline(always)]
unsafe fn copy_ends<const N: usize>(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: as promised.
    unsafe {
        let (head, tail) = (from.cast::<[u8; N]>(), from.add(len - N).cast::<[u8; N]>());
        let (head, tail) = (head.read(), tail.read());
        to.cast::<[u8; N]>().write(head);
        to.add(len - N).cast::<[u8; N]>().write(tail);
    }
}
