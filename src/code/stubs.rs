//! Compiles what was edited of a text, wherever that is, without the functions that are as before.
//!
//! In the new text each outermost function that the old text has as well gets a *stub* in place of
//! its body: it has as many lines, and mentions the variables that the function captures. The
//! compiler makes of the stub what the main function has to know of it, and which registers it
//! captures. Then the old function takes the stub's place in the dump.
//!
//! Where a function captures locals of the outermost block alone, nothing in the main function
//! depends on that, unless no other function captures any. Then the stub is *bare*: it mentions
//! nothing, and the names of the locals in the dump tell which registers the function captures.
//!
//! The result is what the compiler makes of the whole text, but for the order of the main
//! function's constants. (The compiler forgets where it has put one when a function that comes in
//! between has it as well, and then puts it there again.)

use rustc_hash::FxHashMap;

use super::reader::{Read, Reader, Stop, known};
use super::splice::{DumpFunction, DumpLocal, Main, captured, constants, put};
use super::text::{Difference, Outermost, functions, has_word};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// The new text with stubs.
pub struct Stubs<'a> {
    /// It.
    pub text: Vec<u8>,
    /// The outermost functions of the new text.
    pub functions: Vec<Outermost>,
    old: &'a Main<'a>,
    /// For each outermost function of the new text.
    places: Vec<OuterFunction>,
}

/// An outermost function of the new text.
struct OuterFunction {
    first: i32,
    last: i32,
    is_named: bool,
    /// The function that takes its place.
    old: Option<Old>,
}

#[derive(Clone, Copy)]
struct Old {
    /// Its number among the children of the old main function.
    child: usize,
    is_named: bool,
    is_bare: bool,
}

impl<'a> Stubs<'a> {
    /// Puts stubs into the new one of two texts, of the older of which the compiler made `old`.
    /// None where the texts have little in common, or that is not sure. The outermost functions of
    /// the older text may be known.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn of(
        difference: &Difference,
        texts: [&[u8]; 2],
        old: &'a Main<'a>,
        old_functions: Option<&[Outermost]>,
    ) -> Result<Option<Stubs<'a>>> {
        let Some([before, after]) = functions(texts, difference, old_functions)? else {
            return Ok(None);
        };
        let is_it = |(found, child): (&Outermost, &DumpFunction)| {
            (found.first, found.last) == (child.first, child.last)
        };
        let children = old.children.iter().map(|child| &child.function);
        let has_env = old.locals.iter().any(|local| local.name == b"_ENV");
        if before.len() != old.children.len() || !before.iter().zip(children).all(is_it) || has_env
        {
            return Ok(None);
        }
        let answers = answers(texts, [&before, &after])?;
        let stubbed = after
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_some());
        let stubbed: usize = stubbed.map(|(place, _)| place.end - place.begin).sum();
        if stubbed < texts[1].len() / 4 {
            return Ok(None);
        }
        let mut stubs = Stubs {
            text: Vec::new(),
            functions: Vec::new(),
            old,
            places: Vec::new(),
        };
        stubs.text.try_reserve(texts[1].len())?;
        let Some(mut scopes) = known(Scopes::of(old))? else {
            return Ok(None);
        };
        let (mut locals, mut has_capture, mut behind) = (VisibleLocals::default(), false, 0);
        for (place, answer) in after.iter().zip(answers) {
            let found = answer.and_then(|child| Some((child, before.get(child)?)));
            let mut stub = None;
            if let Some((child, was)) = found {
                let is_named = was.head.is_named;
                let captured = stubs.captures(child, is_named, &mut scopes, &mut locals);
                let Some(captured) = known(captured)? else {
                    return Ok(None);
                };
                let is_bare = match captured {
                    CapturedLocals::Nothing => true,
                    CapturedLocals::Outermost => has_capture,
                    CapturedLocals::Others => false,
                };
                has_capture |= captured != CapturedLocals::Nothing;
                let head = place.begin + place.head.paren;
                let kept = texts[1].get(behind..head).unwrap_or_default();
                let names = (!is_bare).then_some(child);
                if known(stubs.put_stub(kept, names, place))?.is_none() {
                    return Ok(None);
                }
                behind = place.end;
                stub = Some(Old {
                    child,
                    is_named,
                    is_bare,
                });
            }
            stubs.places.try_push(OuterFunction {
                first: place.first,
                last: place.last,
                is_named: place.head.is_named,
                old: stub,
            })?;
        }
        let rest = texts[1].get(behind..).unwrap_or_default();
        let is_put = known(put(&mut stubs.text, rest))?.is_some();
        stubs.functions = after;
        Ok(is_put.then_some(stubs))
    }

    /// Adds a stub that mentions what the child captures, if there is one.
    fn put_stub(&mut self, before: &[u8], child: Option<usize>, place: &Outermost) -> Read<()> {
        put(&mut self.text, before)?;
        put(&mut self.text, b"()")?;
        let mut separator = &b"return "[..];
        for name in child
            .map(|child| self.names(child))
            .transpose()?
            .into_iter()
            .flatten()
        {
            put(&mut self.text, separator)?;
            put(&mut self.text, name?)?;
            separator = b",";
        }
        let feeds = usize::try_from(place.last - place.first).map_err(|_| Stop::Format)?;
        self.text.try_reserve(feeds).map_err(|_| Stop::Memory)?;
        self.text.resize(self.text.len() + feeds, b'\n');
        put(&mut self.text, b" end")
    }

    /// Which locals of the old main function one of its functions captures.
    fn captures(
        &self,
        child: usize,
        is_named: bool,
        scopes: &mut Scopes<'a>,
        locals: &mut VisibleLocals<'a>,
    ) -> Read<CapturedLocals> {
        let function = &self.old.children.get(child).ok_or(Stop::Format)?.function;
        let mut registers = captured(function.upvalues).peekable();
        if registers.peek().is_none() {
            return Ok(CapturedLocals::Nothing);
        }
        let scope = scopes.at(child, is_named)?;
        locals.enter(&scope)?;
        let are_outermost = registers.all(|register| locals.is_outermost(register, &scope));
        Ok(match are_outermost {
            true => CapturedLocals::Outermost,
            false => CapturedLocals::Others,
        })
    }

    /// The descriptions of the upvalues of a function of the old main function, where it captures
    /// locals of the outermost block alone.
    fn described(
        &self,
        child: usize,
        scope: &FunctionScope<'a>,
        locals: &VisibleLocals<'a>,
        out: &mut Vec<u8>,
    ) -> Read<()> {
        let function = &self.old.children.get(child).ok_or(Stop::Format)?.function;
        out.clear();
        let was = function.upvalues.as_chunks().0;
        for ([in_stack, index, kind], name) in was.iter().zip(self.names(child)?) {
            let name = name?;
            let register = locals.named(name, scope);
            let description = match (*in_stack, register) {
                (0, None) if name == b"_ENV" => [0, *index, *kind],
                (1, Some(register)) if locals.is_outermost(register, scope) => [1, register, *kind],
                _ => return Err(Stop::Format),
            };
            put(out, &description)?;
        }
        Ok(())
    }

    /// The names of what a function of the old main function captures.
    fn names(&self, child: usize) -> Read<impl Iterator<Item = Read<&'a [u8]>> + use<'a>> {
        let (dump, child) = (
            self.old.dump,
            self.old.children.get(child).ok_or(Stop::Format)?,
        );
        let mut reader = Reader::at(dump, child.function.names).ok_or(Stop::Format)?;
        let count = reader.count()?;
        if count != child.function.upvalues.len() / 3 {
            return Err(Stop::Format);
        }
        Ok((0..count).map(move |_| reader.string()?.ok_or(Stop::Format)))
    }

    /// The dump of the text with stubs, with the functions in place of them. None where it is not
    /// sure that the compiler would make these functions of the whole text.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn filled(&self, dump: &[u8]) -> Result<Option<Vec<u8>>> {
        known(self.fill(dump))
    }

    fn fill(&self, dump: &[u8]) -> Read<Vec<u8>> {
        let main = Main::read(dump)?;
        let has_env = main.locals.iter().any(|local| local.name == b"_ENV");
        if main.children.len() != self.places.len() || has_env {
            return Err(Stop::Format);
        }
        let mut out = Vec::new();
        let room = self.old.dump.len() + dump.len() / 4;
        out.try_reserve(room).map_err(|_| Stop::Memory)?;
        let first = main
            .children
            .first()
            .map_or(dump.len(), |child| child.bytes.start);
        let end = main
            .children
            .last()
            .map_or(dump.len(), |child| child.bytes.end);
        put(&mut out, dump.get(..first).ok_or(Stop::Format)?)?;
        let mut scopes = [Scopes::of(self.old)?, Scopes::of(&main)?];
        let (mut visible, mut locals) = (Visible::default(), VisibleLocals::default());
        let mut bare = Vec::new();
        for (number, (child, place)) in main.children.iter().zip(&self.places).enumerate() {
            let stub = &child.function;
            if (stub.first, stub.last) != (place.first, place.last) {
                return Err(Stop::Format);
            }
            let Some(old) = place.old else {
                put(&mut out, dump.get(child.bytes.clone()).ok_or(Stop::Format)?)?;
                continue;
            };
            let was = self.old.children.get(old.child).ok_or(Stop::Format)?;
            let function = &was.function;
            let [before, after] = &mut scopes;
            let before = before.at(old.child, old.is_named)?;
            let after = after.at(number, place.is_named)?;
            let upvalues = match old.is_bare {
                true => {
                    locals.enter(&after)?;
                    self.described(old.child, &after, &locals, &mut bare)?;
                    &bare[..]
                }
                false => stub.upvalues,
            };
            let pairs = function.upvalues.chunks(3).zip(upvalues.chunks(3));
            let is_alike = |(a, b): (&[u8], &[u8])| a.first() == b.first() && a.last() == b.last();
            if function.upvalues.len() != upvalues.len() || !pairs.into_iter().all(is_alike) {
                return Err(Stop::Format);
            }
            let new = visible.added(before, after)?;
            let bytes = self.old.dump.get(was.bytes.clone()).ok_or(Stop::Format)?;
            if !new.is_empty() && mentions(bytes, new)? {
                return Err(Stop::Format);
            }
            let by = stub.first - function.first;
            if by == 0 && function.upvalues == upvalues {
                put(&mut out, bytes)?;
            } else {
                let mut reader = Reader::at(bytes, 0).ok_or(Stop::Format)?;
                reader.relocate(by, 1, Some(upvalues), &mut out)?;
            }
        }
        put(&mut out, dump.get(end..).ok_or(Stop::Format)?)?;
        Ok(out)
    }
}

/// For each function of the new text one of the old text that is written alike, first in the same
/// order from both ends.
fn answers(texts: [&[u8]; 2], found: [&[Outermost]; 2]) -> Result<Vec<Option<usize>>> {
    let of = |which: usize, function: &Outermost| -> Option<(&[u8], bool)> {
        let text = texts.get(which)?;
        let body = text.get(function.begin + function.head.paren..function.end)?;
        Some((body, function.head.is_method))
    };
    let [old, new] = found;
    let mut answers = Vec::new();
    answers.try_reserve_exact(new.len())?;
    let alike = |(a, b): &(&Outermost, &Outermost)| a.depth >= b.depth && of(0, a) == of(1, b);
    let start = old.iter().zip(new).take_while(alike).count();
    let most = old.len().min(new.len()) - start;
    let ends = old.iter().rev().zip(new.iter().rev()).take(most);
    let same = ends.take_while(alike).count();
    answers.extend((0..start).map(Some));
    let mut others: FxHashMap<(&[u8], bool), usize> = FxHashMap::default();
    let middle = old.iter().enumerate().take(old.len() - same).skip(start);
    for (number, function) in middle {
        if let Some(text) = of(0, function) {
            others.try_insert_value(text, number)?;
        }
    }
    for function in new.iter().take(new.len() - same).skip(start) {
        let other = of(1, function).and_then(|text| others.get(&text).copied());
        let is_as_deep = |child: &usize| {
            let old = old.get(*child);
            old.is_some_and(|old| old.depth >= function.depth)
        };
        answers.push(other.filter(is_as_deep));
    }
    answers.extend((old.len() - same..old.len()).map(Some));
    Ok(answers)
}

/// Which locals of its main function a function captures.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CapturedLocals {
    Nothing,
    /// Those of the outermost block alone.
    Outermost,
    Others,
}

/// Which locals of a main function its functions see.
struct Scopes<'a> {
    main: &'a Main<'a>,
    /// For each function where it is made, and in which register.
    closures: Vec<(usize, usize)>,
    /// Where locals begin, and where they end, in order.
    bounds: [Vec<usize>; 2],
    /// Where it was looked last, and how many bounds that is behind.
    last: (usize, [usize; 2]),
}

/// What a function sees.
struct FunctionScope<'a> {
    main: &'a Main<'a>,
    at: usize,
    /// How many locals have begun before, and how many have ended: so long as both stay the same,
    /// so do the locals.
    scope: [usize; 2],
    /// Its own name, if it is a local function, which stands behind all others.
    own: Option<&'a DumpLocal<'a>>,
}

impl FunctionScope<'_> {
    /// How many locals it sees besides itself.
    fn count(&self) -> usize {
        self.scope[0].saturating_sub(self.scope[1])
    }
}

impl<'a> Scopes<'a> {
    fn of(main: &'a Main<'a>) -> Read<Scopes<'a>> {
        let mut bounds = [Vec::new(), Vec::new()];
        let [starts, ends] = &mut bounds;
        for local in &main.locals {
            starts.try_push(local.start)?;
            ends.try_push(local.end)?;
        }
        bounds.iter_mut().for_each(|bounds| bounds.sort_unstable());
        Ok(Scopes {
            main,
            closures: main.closures()?,
            bounds,
            last: (0, [0; 2]),
        })
    }

    fn at(&mut self, child: usize, is_named: bool) -> Read<FunctionScope<'a>> {
        let (at, register) = *self.closures.get(child).ok_or(Stop::Format)?;
        if at < self.last.0 {
            self.last = (0, [0; 2]);
        }
        let (last, scope) = &mut self.last;
        *last = at;
        // (Most functions come in their order.)
        for (passed, bounds) in scope.iter_mut().zip(&self.bounds) {
            let rest = bounds.get(*passed..).unwrap_or_default();
            *passed += rest.iter().take_while(|bound| **bound <= at).count();
        }
        let scope = *scope;
        // A local function sees itself, though the debugger does not see it yet.
        let is_own = |local: &&DumpLocal| local.start == at + 1;
        let active = scope[0].checked_sub(scope[1]);
        let own = match is_named && active == Some(register) {
            true => self.main.locals.iter().find(is_own),
            false => None,
        };
        Ok(FunctionScope {
            main: self.main,
            at,
            scope,
            own,
        })
    }
}

/// The locals that a function sees, besides itself.
#[derive(Default)]
struct VisibleLocals<'a> {
    /// By name, the last one of each.
    by_name: FxHashMap<&'a [u8], u8>,
    /// For each register: it is one of the outermost block.
    outermost: Vec<bool>,
    /// Of which locals they are.
    scope: Option<[usize; 2]>,
}

impl<'a> VisibleLocals<'a> {
    fn enter(&mut self, scope: &FunctionScope<'a>) -> Read<()> {
        if self.scope == Some(scope.scope) {
            return Ok(());
        }
        self.by_name.clear();
        self.outermost.clear();
        for (local, register) in scope.main.active(scope.at).zip(0..=u8::MAX) {
            self.by_name.try_insert_value(local.name, register)?;
            self.outermost.try_push(is_outermost(local, scope.main))?;
        }
        self.scope = Some(scope.scope);
        Ok(())
    }

    /// The register of the local that has this name for a function.
    fn named(&self, name: &[u8], scope: &FunctionScope<'a>) -> Option<u8> {
        match scope.own {
            Some(own) if own.name == name => u8::try_from(scope.count()).ok(),
            _ => self.by_name.get(name).copied(),
        }
    }

    fn is_outermost(&self, register: u8, scope: &FunctionScope<'a>) -> bool {
        match self.outermost.get(usize::from(register)) {
            Some(is_outermost) => *is_outermost,
            None => {
                let own = scope.own.filter(|_| usize::from(register) == scope.count());
                own.is_some_and(|own| is_outermost(own, scope.main))
            }
        }
    }
}

/// Is it a local of the outermost block?
fn is_outermost(local: &DumpLocal<'_>, main: &Main<'_>) -> bool {
    local.end == main.code.len() / 4
}

/// The names that a function sees in the new text and did not see in the old one, which has them
/// somewhere.
#[derive(Default)]
struct Visible<'a> {
    names: Vec<&'a [u8]>,
    /// Of which locals they are.
    scopes: Option<[[usize; 2]; 2]>,
    /// With the function's own name.
    all: Vec<&'a [u8]>,
}

impl<'a> Visible<'a> {
    fn added(&mut self, old: FunctionScope<'a>, new: FunctionScope<'a>) -> Read<&[&'a [u8]]> {
        let scopes = Some([old.scope, new.scope]);
        if self.scopes != scopes {
            self.names.clear();
            for local in new.main.active(new.at) {
                let is_it = |other: &DumpLocal| other.name == local.name;
                if old.main.may_have(local.name) && !old.main.active(old.at).any(is_it) {
                    self.names.try_push(local.name)?;
                }
            }
            self.scopes = scopes;
        }
        let name = |of: &FunctionScope<'a>| of.own.map(|own| own.name);
        let is_new = |own: &&[u8]| name(&old) != Some(own) && old.main.may_have(own);
        let Some(own) = name(&new).filter(is_new) else {
            return Ok(&self.names);
        };
        self.all.clear();
        for name in self.names.iter().chain([&own]) {
            self.all.try_push(name)?;
        }
        Ok(&self.all)
    }
}

/// Has a function, or one in it, one of these names as a string? It may be a global's.
fn mentions(function: &[u8], names: &[&[u8]]) -> Read<bool> {
    if !names.iter().any(|name| has_word(function, name)) {
        return Ok(false);
    }
    for (_, constant) in constants(function)? {
        let mut reader = Reader::at(constant, 0).ok_or(Stop::Format)?;
        if matches!(reader.byte()?, 0x04 | 0x14)
            && reader.string()?.is_some_and(|text| names.contains(&text))
        {
            return Ok(true);
        }
    }
    Ok(false)
}
