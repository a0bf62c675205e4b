//! On which cells a new closure works: the old closure's own, wherever it has the variable; the
//! module's, where the variable belongs to the module; else there is none.

use super::forest::{Forest, Id, Scope};
use super::{Nested, StaleReason, Values};
use crate::code::tree::Captured;
use crate::lua::vm::{Ref, Vm};
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// Where a new closure's upvalue gets its cell from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// The old closure's upvalue with this number, counted from 1.
    Own(u8),
    /// An incoming upvalue main function.
    Chunk(u8),
    /// An upvalue of a function among the [`Values`].
    Function { slot: u32, index: u8 },
    /// An upvalue of the incoming function that takes the place of the one which made the closure;
    /// the name is for a message.
    Factory { node: Id, index: u8, name: u32 },
}

/// The sources of one function's upvalues, among all.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceRange {
    start: u32,
    count: u8,
}

/// Why an upvalue gets no cell.
enum Lack {
    NotCaptured,
    NoCell,
    /// Nothing tells where the variable belongs.
    Scope,
}

impl Nested {
    /// Where the upvalues of an incoming function get their cells from, when it takes the place of
    /// closures of this one of the running version.
    pub(super) fn sources(
        &mut self,
        old: Id,
        new: Id,
    ) -> Result<std::result::Result<SourceRange, StaleReason>> {
        let nameless = |forest: &Forest, id| {
            forest
                .captured(id)
                .iter()
                .any(|captured| captured.name == 0)
        };
        if nameless(&self.old, old) || nameless(&self.new, new) {
            return Ok(Err(StaleReason::Stripped));
        }
        let start = self.sources.len() as u32;
        let count = self.new.captured(new).len() as u8;
        for i in 0..count {
            let source = self.source(old, new, i);
            let name = match source {
                Ok(Source::Factory { .. }) | Err(_) => self.name_of(new, i)?,
                Ok(_) => 0,
            };
            self.sources.try_push(match source {
                Ok(Source::Factory { node, index, .. }) => Source::Factory { node, index, name },
                Ok(source) => source,
                Err(Lack::NotCaptured) => return Ok(Err(StaleReason::NotCaptured(name))),
                Err(Lack::NoCell) => return Ok(Err(StaleReason::NoCell(name))),
                Err(Lack::Scope) => return Ok(Err(StaleReason::Stripped)),
            })?;
        }
        Ok(Ok(SourceRange { start, count }))
    }

    /// The sources of one function, in the order of its upvalues.
    pub(super) fn sources_of(&self, sources: SourceRange) -> &[Source] {
        let start = sources.start as usize;
        self.sources
            .get(start..start + usize::from(sources.count))
            .unwrap_or_default()
    }

    /// The number of an upvalue's name.
    fn name_of(&mut self, new: Id, i: u8) -> Result<u32> {
        let captured = self.new.captured(new).get(usize::from(i));
        let name = self
            .new
            .tree(new.tree)
            .zip(captured)
            .map_or(&[][..], |(tree, captured)| tree.name(captured));
        if let Some(known) = self.names.iter().position(|known| known == name) {
            return Ok(known as u32);
        }
        let mut copy = Vec::new();
        copy.try_reserve_exact(name.len())?;
        copy.extend_from_slice(name);
        self.names.try_push(copy)?;
        Ok(self.names.len() as u32 - 1)
    }

    /// Where one upvalue, counted from 0, gets its cell from.
    fn source(&self, old: Id, new: Id, i: u8) -> std::result::Result<Source, Lack> {
        let captured = self
            .new
            .captured(new)
            .get(usize::from(i))
            .ok_or(Lack::Scope)?;
        let own = self.own(old, captured)?;
        let scope = own.map(|i| self.old.scope(old, i));
        // Both functions stand as deep below two that answer to each other.
        let depth = self.old.depth(old);
        match (self.new.scope(new, i), own, scope) {
            (Scope::Unknown, ..) | (_, _, Some(Scope::Unknown)) => Err(Lack::Scope),
            // R4.4
            (Scope::Outside { index }, ..) if new.tree == 0 => Ok(Source::Chunk(index + 1)),
            (Scope::Outside { .. }, ..) if captured.name == self.environment => {
                self.of_factory(old, new, i, depth)
            }
            (Scope::Outside { .. }, Some(own), _) => Ok(Source::Own(own + 1)),
            (Scope::Outside { .. }, None, _) => self.of_factory(old, new, i, depth),
            (Scope::Local { level, .. }, own, scope) if level <= depth => match (own, scope) {
                (Some(own), Some(Scope::Local { level: same, .. })) if same == level => {
                    Ok(Source::Own(own + 1))
                }
                _ => Err(Lack::NotCaptured),
            },
            (Scope::Local { .. }, Some(own), Some(Scope::Outside { .. }))
                if self.may_be(old, own, captured) =>
            {
                Ok(Source::Own(own + 1))
            }
            (Scope::Local { owner, local, .. }, ..) => {
                match self.module.get(&local).copied().flatten() {
                    Some((slot, index)) if owner == self.main() => {
                        Ok(Source::Function { slot, index })
                    }
                    _ if self.roots.contains_key(&old.tree) => self.of_factory(old, new, i, depth),
                    _ if owner == self.main() => Err(Lack::NoCell),
                    _ => Err(Lack::NotCaptured),
                }
            }
        }
    }

    /// The number of the upvalue of a running function that has the same name; names of upvalues
    /// are different in a function.
    fn own(&self, old: Id, captured: &Captured) -> std::result::Result<Option<u8>, Lack> {
        let mut same = (0..)
            .zip(self.old.captured(old))
            .filter(|(_, own)| own.name == captured.name);
        match (same.next(), same.next()) {
            (own, None) => Ok(own.map(|(i, _)| i)),
            _ => Err(Lack::Scope),
        }
    }

    /// May a variable from outside of what is known of the running version be this one? Of a
    /// closure whose factory is gone, all that is known is whether it was a local of the factory,
    /// and not even that when the closure was made for one of an earlier generation.
    fn may_be(&self, old: Id, own: u8, captured: &Captured) -> bool {
        let all = self.old.captured(old);
        let is_cut = all.iter().all(|own| !own.in_stack && own.index == 0);
        let own = all.get(usize::from(own));
        self.roots.contains_key(&old.tree)
            || old.function != 0
            || is_cut
            || own.is_some_and(|own| own.in_stack == captured.in_stack)
    }

    fn of_factory(&self, old: Id, new: Id, i: u8, depth: u32) -> std::result::Result<Source, Lack> {
        let index = self.new.upvalue_above(new, i, depth).ok_or(Lack::NoCell)?;
        let node = std::iter::successors(Some(new), |id| self.new.parent(*id)).nth(depth as usize);
        match node {
            Some(node) if self.roots.contains_key(&old.tree) => Ok(Source::Factory {
                node,
                index: index + 1,
                name: 0,
            }),
            _ => Err(Lack::NoCell),
        }
    }

    /// The incoming function that takes the place of the one which made the closure, for an upvalue
    /// of it; none where several might, and their cells differ.
    pub(super) fn factory_cell(
        &self,
        vm: &mut Vm,
        values: Values,
        closure: Ref,
        old: Id,
        node: Id,
        index: u8,
    ) -> Result<Option<Ref>> {
        let roots = self.roots.get(&old.tree).map_or(&[][..], Vec::as_slice);
        let mut fitting: Option<(Ref, usize)> = None;
        for made_it in [true, false] {
            for root in roots.iter().filter(|root| root.node == node) {
                let factory = vm.element(values.functions, root.old)?;
                if made_it && roots.len() > 1 && !self.shares(vm, closure, old, factory) {
                    continue;
                }
                let new = vm.element(values.functions, root.new)?;
                let cell = vm.cell(new, index);
                match fitting {
                    Some((_, other)) if other != cell => return Ok(None),
                    Some(_) => {}
                    None => fitting = Some((new, cell)),
                }
            }
            if fitting.is_some() {
                break;
            }
        }
        Ok(fitting.map(|(new, _)| new))
    }

    /// Has the closure the cells that it would have if this function had made it?
    fn shares(&self, vm: &Vm, closure: Ref, old: Id, factory: Ref) -> bool {
        (0..self.old.captured(old).len() as u8).all(|i| match self.old.scope(old, i) {
            Scope::Outside { index } => vm.cell(closure, i + 1) == vm.cell(factory, index + 1),
            _ => true,
        })
    }
}
