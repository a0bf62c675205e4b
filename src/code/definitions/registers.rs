//! What each register holds while a function is interpreted, and what it held where code has
//! jumped away from.

use super::super::reader::Read;
use super::Definitions;
use super::types::{MOST_MEANT, Symbol};
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// Jumps that have not arrived, at one time. Lua's parser nests no deeper.
const MOST_WAITING: usize = 220;

/// The registers at a jump, for where it arrives.
struct WaitingJump {
    target: usize,
    symbols: Vec<Symbol>,
}

/// The registers of one function.
pub(super) struct Registers {
    symbols: [Symbol; 256],
    /// Registers from here on hold nothing that is known.
    high: usize,
    /// The last register that was written: what stands above it is of no use any more.
    written: usize,
    waiting: Vec<WaitingJump>,
    /// Vectors to be used again.
    spare: Vec<Vec<Symbol>>,
    /// How many more symbols may wait.
    room: usize,
    /// Too many jumps: nothing is known of this function any more.
    is_lost: bool,
    /// The code that comes next can be reached.
    pub(super) is_reached: bool,
}

impl Registers {
    /// Registers for the functions of a dump of this length.
    pub(super) fn new(length: usize) -> Registers {
        Registers {
            symbols: [Symbol::Unknown; 256],
            high: 0,
            written: 0,
            waiting: Vec::new(),
            spare: Vec::new(),
            room: length.saturating_mul(2),
            is_lost: false,
            is_reached: true,
        }
    }

    /// A new function begins.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.forget_from(0);
        while let Some(waiting) = self.waiting.pop() {
            self.spare.try_push(waiting.symbols)?;
        }
        (self.written, self.is_lost, self.is_reached) = (0, false, true);
        Ok(())
    }

    fn forget_from(&mut self, first: usize) {
        if let Some(symbols) = self.symbols.get_mut(first..self.high) {
            symbols.fill(Symbol::Unknown);
        }
        self.high = self.high.min(first);
    }

    #[inline(always)]
    pub(super) fn get(&self, register: u32) -> Symbol {
        let symbol = self.symbols.get((register & 0xff) as usize);
        symbol.copied().unwrap_or(Symbol::Unknown)
    }

    #[inline(always)]
    pub(super) fn set(&mut self, register: u32, symbol: Symbol) {
        let register = (register & 0xff) as usize;
        if let Some(place) = self.symbols.get_mut(register) {
            *place = if self.is_lost {
                Symbol::Unknown
            } else {
                symbol
            };
        }
        self.high = self.high.max(register + 1);
        self.written = register;
    }

    /// Code may jump from here to an instruction further on. `active`: so many locals are in scope.
    pub(super) fn jump(&mut self, target: usize, active: usize, out: &mut Definitions) -> Read<()> {
        let count = active.max(self.written + 1).min(self.high);
        let same = self.waiting.iter().position(|one| one.target == target);
        if let Some(waiting) = same.and_then(|same| self.waiting.get_mut(same)) {
            waiting.symbols.truncate(count);
            for (old, new) in waiting.symbols.iter_mut().zip(&self.symbols) {
                *old = out.merged(*old, *new)?;
            }
            return Ok(());
        }
        let mut symbols = self.spare.pop().unwrap_or_default();
        symbols.clear();
        let more = count.saturating_sub(symbols.capacity());
        if self.waiting.len() >= MOST_WAITING || more > self.room {
            self.is_lost = true;
            self.forget_from(0);
            return Ok(());
        }
        if more > 0 {
            let before = symbols.capacity();
            symbols
                .try_reserve_exact(count)
                .map_err(crate::support::error::Error::from)?;
            self.room = self.room.saturating_sub(symbols.capacity() - before);
        }
        symbols.extend_from_slice(self.symbols.get(..count).unwrap_or_default());
        self.waiting.try_push(WaitingJump { target, symbols })?;
        Ok(())
    }

    /// The next instruction at which a jump arrives.
    pub(super) fn next_arrival(&self) -> usize {
        let targets = self.waiting.iter().map(|waiting| waiting.target);
        targets.min().unwrap_or(usize::MAX)
    }

    /// The jumps to this instruction, or to one before it, arrive.
    pub(super) fn arrive(&mut self, pc: usize, out: &mut Definitions) -> Read<()> {
        while let Some(i) = self.waiting.iter().position(|one| one.target <= pc) {
            let waiting = self.waiting.swap_remove(i);
            let count = waiting.symbols.len();
            if self.is_lost {
                self.is_reached = true;
            } else if self.is_reached {
                self.forget_from(count);
                for (own, other) in self.symbols.iter_mut().zip(&waiting.symbols) {
                    *own = out.merged(*own, *other)?;
                }
            } else {
                self.forget_from(count);
                if let Some(own) = self.symbols.get_mut(..count) {
                    own.copy_from_slice(&waiting.symbols);
                }
                (self.high, self.written) = (count, count.saturating_sub(1));
                self.is_reached = true;
            }
            self.spare.try_push(waiting.symbols)?;
        }
        Ok(())
    }
}

impl Definitions {
    /// What a register holds where branches meet, of which one leaves this and the other one that.
    #[inline(always)]
    fn merged(&mut self, a: Symbol, b: Symbol) -> Read<Symbol> {
        if a == b {
            return Ok(a);
        }
        // Only what may be an object is worth a list.
        let is_object = |symbol| {
            matches!(
                symbol,
                Symbol::Definition(_)
                    | Symbol::Variable(_)
                    | Symbol::Global(_)
                    | Symbol::Field(_)
                    | Symbol::OneOf(_)
            )
        };
        match (is_object(a), is_object(b)) {
            (false, false) => Ok(Symbol::Unknown),
            (true, true) if self.is_same(a, b) => Ok(a),
            _ => self.one_of(a, b),
        }
    }

    /// Are the two the same symbol? Fields are compared to some depth.
    pub(super) fn is_same(&self, mut a: Symbol, mut b: Symbol) -> bool {
        for _ in 0..4 {
            if a == b {
                return true;
            }
            let (Symbol::Field(left), Symbol::Field(right)) = (a, b) else {
                return false;
            };
            match (self.field(left), self.field(right)) {
                (Some((base, key)), Some((other, other_key))) if key == other_key => {
                    (a, b) = (base, other);
                }
                _ => return false,
            }
        }
        false
    }

    fn one_of(&mut self, a: Symbol, b: Symbol) -> Read<Symbol> {
        let mut members: smallvec::SmallVec<[Symbol; 2 * MOST_MEANT]> = smallvec::SmallVec::new();
        for symbol in [a, b] {
            let list = match symbol {
                // (a list that has the other one, as after each of many branches)
                Symbol::OneOf(list) if self.list(list).contains(&b) => return Ok(symbol),
                Symbol::OneOf(list) => self.list(list),
                _ => std::slice::from_ref(&symbol),
            };
            for member in list {
                if !members.iter().any(|known| self.is_same(*known, *member)) {
                    members.try_push(*member)?;
                }
            }
        }
        if members.len() > MOST_MEANT {
            members.truncate(MOST_MEANT - 1);
            members.try_push(Symbol::Unknown)?;
        }
        let list = self.new_list(&members)?;
        Ok(list.map_or(Symbol::Unknown, Symbol::OneOf))
    }

    /// Keeps a list; none where a dump that no compiler wrote has too many of them.
    pub(super) fn new_list(&mut self, symbols: &[Symbol]) -> Result<Option<super::ListId>> {
        let start = self.lists.len();
        if start + symbols.len() > self.most {
            return Ok(None);
        }
        let lists = self.lists.own()?;
        lists.try_reserve(symbols.len())?;
        lists.extend_from_slice(symbols);
        Ok(Some(super::ListId {
            start: start as u32,
            length: symbols.len() as u32,
        }))
    }
}
