//! Entries of the incoming version under keys that are fresh tables or functions: the running
//! version has them under what answers to the key.
//!
//! Functions and coroutines that are nothing but keys (a set of listeners) have no names in the
//! running program. Those of one table are a sequence, as the elements of a list are (`elements`).

use std::ops::Range;

use super::elements::{FUNCTION, TAKEN1};
use super::{Action, Edge, Keyed, Pairer, Pairing, Pass, QueuedChild, Side, SlotDecision};
use crate::code::Digest;
use crate::code::align::sequence::{Element, align, by_content};
use crate::lua::vm::{Kind, Ref};
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::limits::Where;
use crate::support::mem::{TryPush, copied};

/// Entries of a running table that are looked at for functions as keys.
const MOST_ENTRIES: usize = 10_000;

/// Where the code of a running function that is a key stands, and a digest of it.
type KeyedCode = (i32, i32, Option<Digest>);

fn element(code: Option<Digest>) -> Element {
    Element {
        kind: FUNCTION,
        code: code.map(|code| code.key()),
        ..Element::default()
    }
}

impl Pairer<'_> {
    /// Is it an object that the load has made: a table, a function or a coroutine?
    pub(super) fn is_fresh_key(&self, key: Ref) -> bool {
        let val = self.vm.val(key);
        self.is_fresh(val)
            || val.kind == Kind::Thread && self.loaded.left.threads.contains_key(&val.addr)
    }

    /// Coroutines of the file that are keys (`threads[coroutine.create(f)] = true`). The one that
    /// runs goes on, and the file's is not added. True when there was such a pair.
    pub(super) fn match_coroutines(&mut self) -> Result<bool> {
        let mut tables: Vec<Ref> = Vec::new();
        for keyed in &self.keyed {
            let is_known = tables
                .iter()
                .any(|table| self.vm.val(*table) == self.vm.val(keyed.table));
            if self.vm.kind(keyed.key) == Kind::Thread && !is_known {
                tables.try_push(keyed.table)?;
            }
        }
        let mut found = false;
        for table in tables {
            found |= self.match_coroutines_of(table)?;
        }
        Ok(found)
    }

    fn match_coroutines_of(&mut self, table: Ref) -> Result<bool> {
        let (mut new, mut left, mut right) = (Vec::new(), Vec::new(), Vec::new());
        let mut running = Vec::new();
        let at = self.vm.val(table);
        for keyed in copied(&self.keyed)? {
            let threads = &self.loaded.left.threads;
            let body = threads.get(&self.vm.val(keyed.key).addr).copied();
            if let Some(body) = body.filter(|_| self.vm.val(keyed.table) == at)
                && let Some(number) = self.function2(body, keyed.parent)?
                && let Some(function) = self.out.new.get(number as usize)
                && function.own
            {
                right.try_push(element(Some(function.profile.digest)))?;
                new.try_push((keyed.key, keyed.parent))?;
            }
        }
        let entries = self.vm.keep_some(table, MOST_ENTRIES)?;
        if entries.len() as usize == MOST_ENTRIES {
            self.vm.limits.meet(
                "only the first {} of its keys were compared with the file's coroutines, and \
                 others may stand there twice; give the coroutines a table of their own (R3.13)",
                MOST_ENTRIES,
                Where::Table(at.addr),
            )?;
        }
        for key in entries.keys() {
            if self.vm.kind(key) != Kind::Thread || self.is_fresh_key(key) {
                continue;
            }
            let Some((body, _)) = self.vm.body_of(key)? else {
                left.try_push(element(None))?; // it has ended: what it did is done
                running.try_push(key)?;
                continue;
            };
            let Some(number) = self.function1(body, SiteId::MODULE)? else {
                continue;
            };
            self.know_code(number)?;
            let function = self.out.old.get(number as usize);
            if let Some(function) = function.filter(|function| function.own) {
                left.try_push(element(function.profile.map(|profile| profile.digest)))?;
                running.try_push(key)?;
            }
        }
        for one in left.iter_mut().chain(&mut right) {
            one.is_code = true; // which of several goes on is all the same
        }
        by_content(&mut left, &mut right)?;
        // What runs goes on, so its order need not be known.
        let rest = |side: &[Element]| side.iter().filter(|one| one.partner.is_none()).count();
        let all = rest(&left) == rest(&right);
        // One alone is edited.
        let only = left.iter().position(|one| one.partner.is_none());
        let only = only.filter(|_| all && rest(&left) == 1);
        let mut answered = Vec::new();
        for ((key, site), one) in new.iter().zip(&right) {
            if all || one.partner.is_some() {
                answered.try_push(*key)?;
            }
            if let Some(old) = one.partner.or(only).and_then(|i| running.get(i)) {
                self.pair_coroutines(*old, *key, *site)?;
            }
        }
        let vm = &*self.vm;
        self.keyed
            .retain(|keyed| !answered.iter().any(|key| vm.val(*key) == vm.val(keyed.key)));
        Ok(!answered.is_empty())
    }

    /// Takes the entries under fresh keys: those whose key answers to one of the running version,
    /// in the final pass all that are left. True when there was one.
    pub(super) fn resolve_keyed(&mut self, pass: Pass) -> Result<bool> {
        let mut children = Vec::new();
        let mut left = Vec::new();
        let waiting = std::mem::take(&mut self.keyed);
        let count = waiting.len();
        for keyed in waiting {
            match self.answer_to_key(keyed.key) {
                Some(old_key) => self.take_under(keyed, old_key, &mut children)?,
                None if pass == Pass::Final => self.take_under(keyed, keyed.key, &mut children)?,
                None => left.try_push(keyed)?,
            }
        }
        let found = left.len() < count;
        self.keyed = left;
        self.take_children(&mut children)?;
        Ok(found)
    }

    /// The running table or function that a key of the incoming version answers to.
    pub(super) fn answer_to_key(&self, key: Ref) -> Option<Ref> {
        let val = self.vm.val(key);
        match val.kind {
            Kind::Table => return self.out.tables.get(&val.addr).copied(),
            Kind::Function => {}
            _ => return None,
        }
        let function = self.out.new.get(self.number2(val.addr)? as usize)?;
        self.out
            .old
            .get(*function.partners.first()? as usize)
            .map(|old| old.at)
    }

    pub(super) fn take_under(
        &mut self,
        keyed: Keyed,
        old_key: Ref,
        children: &mut Vec<QueuedChild>,
    ) -> Result<()> {
        let Keyed {
            table,
            parent,
            key,
            new,
            change,
            ..
        } = keyed;
        let old = self.vm.get(table, old_key)?;
        let entry = self.entry_pair(key, new, old);
        let action = self.classify_slot(&entry)?;
        let is_function = self.vm.kind(key) == Kind::Function;
        let mut slot = SlotDecision {
            table,
            parent,
            key: if is_function { key } else { old_key },
            new,
            old,
            action,
            change,
        };
        if is_function {
            self.function2(key, parent)?;
        } else if old_key == key && self.vm.val(key).is_table() {
            self.scan_queue.try_push((key, parent))?;
        }
        if !is_function || old_key == key || entry.old_val.is_nil() {
            slot.action = self.three_way(action, &slot, &entry)?;
            self.out.slots.try_push(slot)?;
            return self.child(slot, None, &entry, children);
        }
        // A function as a key: the entry goes on under the function that takes its place.
        let stays = matches!(action, Action::Keep | Action::Merge | Action::Conflict);
        self.out.slots.try_push(SlotDecision {
            key: old_key,
            new: Ref::NIL,
            action: Action::ReplaceFunction,
            ..slot
        })?;
        self.out.slots.try_push(SlotDecision {
            new: if stays { old } else { new },
            old: Ref::NIL,
            action: if stays {
                Action::ReplaceFunction
            } else {
                action
            },
            ..slot
        })?;
        self.child(slot, None, &entry, children)
    }

    /// Functions of the file that are nothing but keys, when names have told what they can. True
    /// when there was such a pair.
    pub(super) fn resolve_function_keys(&mut self) -> Result<bool> {
        let (mut start, mut found) = (0, false);
        while let Some(first) = self.keyed.get(start).copied() {
            let same =
                |keyed: &&Keyed| keyed.table == first.table && keyed.compared == first.compared;
            let end = start + self.keyed.iter().skip(start).take_while(same).count();
            if !first.compared {
                found |= self.compare_keys(start..end)?;
            }
            start = end;
        }
        self.keyed.retain(|keyed| keyed.new != Ref::NIL);
        Ok(found)
    }

    /// The same for the entries of one table.
    fn compare_keys(&mut self, range: Range<usize>) -> Result<bool> {
        let (mut nameless, mut place) = (Vec::new(), None);
        for i in range {
            let Some(keyed) = self.keyed.get_mut(i) else {
                break;
            };
            keyed.compared = true;
            let keyed = *keyed;
            if self.vm.kind(keyed.key) == Kind::Function
                && let Some(f2) = self.function2(keyed.key, keyed.parent)?
                && let Some(new) = self.out.new.get(f2 as usize)
                && new.own
                && new.partners.is_empty()
            {
                let lines = (new.info.line, new.info.last);
                let code = (lines.0, lines.1, Some(new.profile.digest));
                nameless.try_push((new.order, f2, code, i))?;
                place = Some((keyed.table, keyed.parent));
            }
        }
        let Some((table, parent)) = place.filter(|_| !self.replace_data) else {
            return Ok(false);
        };
        let known = self.function_keys(table)?;
        let are_all = known.is_some();
        let free = known.unwrap_or_default();
        nameless.sort_unstable_by_key(|(order, ..)| *order);
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for (_, _, code, _) in &nameless {
            right.try_push(self.key_element(*code, Side::Incoming))?;
        }
        for same in free.chunk_by(|(a, _), (b, _)| a == b) {
            for (code, _) in same {
                let kind = if same.len() > 1 { TAKEN1 } else { FUNCTION }; // a loop made them
                left.try_push(Element {
                    kind,
                    ..self.key_element(*code, Side::Running)
                })?;
            }
        }
        align(&mut left, &mut right)?;
        let is_free = !are_all || left.iter().any(|one| one.partner.is_none());
        let (mut left, mut some) = (Vec::new(), false);
        for ((_, f2, _, i), one) in nameless.into_iter().zip(right) {
            let Some((_, key)) = one.partner.and_then(|at| free.get(at)).copied() else {
                left.try_push(i)?;
                continue;
            };
            some = true;
            let site = self.out.sites.key(parent, key)?;
            if let Some(f1) = self.function1(key, site)? {
                self.edge(Edge { f1, f2 })?;
            }
        }
        // Which of them the running version has already nobody knows.
        if is_free && !left.is_empty() {
            for i in left {
                if let Some(keyed) = self.keyed.get_mut(i) {
                    keyed.new = Ref::NIL;
                }
            }
            let path = self.out.sites.path(self.vm, &self.context.title, parent);
            if !are_all && !self.identity.is_text_edited() {
                self.vm.limits.meet(
                    "only the first {} of its keys were compared with the file's functions, and \
                     none of these was added; give the functions a table of their own (R3.13)",
                    MOST_ENTRIES,
                    Where::Named(path),
                )?;
                return Ok(some);
            }
            self.out.warnings.try_push(format!(
                "{path}: function keys of the file that look like others there were not added; \
                 give these functions names (R3.13)"
            ))?;
        }
        Ok(some)
    }

    /// A function that is a key: its definition tells it from others, then its code.
    fn key_element(&self, (line, last, code): KeyedCode, side: Side) -> Element {
        let made_from = |code| self.identity.made_from((line, last), code, side);
        Element {
            exact: code.and_then(made_from).map(|id| u64::from(id.0)),
            ..element(code)
        }
    }

    /// The functions of the module's own that are keys of the running table, that no function of
    /// the module has made, and to which nothing answers, in the order of their lines. None where
    /// the table has too many entries.
    fn function_keys(&mut self, table: Ref) -> Result<Option<Vec<(KeyedCode, Ref)>>> {
        let mut keys = Vec::new();
        let mut cursor = self.vm.walk(table, Ref::NIL)?;
        for looked_at in 0.. {
            let Some(entry) = cursor.next(self.vm) else {
                break;
            };
            if looked_at == MOST_ENTRIES {
                cursor.end(self.vm);
                return Ok(None);
            }
            if entry.key.is_function() {
                keys.try_push(cursor.keep_pair(self.vm)?.key)?;
            }
        }
        let mut free: Vec<(KeyedCode, Ref)> = Vec::new();
        for key in keys {
            let Some(info) = self.vm.info(key)?.filter(|info| info.lua) else {
                continue;
            };
            let answered = self
                .out
                .old_at(self.vm.val(key).addr)
                .is_some_and(|old| !old.answers.is_empty());
            if answered || !self.loaded.ownership.owns(self.vm, key, &info)? {
                continue;
            }
            let Pairing { old, nesting, .. } = &mut self.out;
            if nesting.is_nested(self.vm, old, (key, &info), None)? {
                continue;
            }
            let profile = self.vm.profile(key)?;
            free.try_push((
                (info.line, info.last, profile.map(|profile| profile.digest)),
                key,
            ))?;
        }
        let mut free = self
            .loaded
            .ownership
            .certain(self.vm, free, |(_, key)| Some(*key))?;
        free.sort_unstable_by_key(|(code, _)| *code);
        Ok(Some(free))
    }
}
