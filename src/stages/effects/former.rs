//! Which calls of the main chunk the text of the last load has as well (R5.8): what a new call
//! finds may be the entry of one that is still to come.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::record::Recorded;
use super::{Effects, OpenCall};
use crate::code::Chunk;
use crate::code::call_sites::{CallSite, CallSites, Written};
use crate::code::compiled::Compiled;
use crate::lua::vm::Vm;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// Calls of one text.
#[derive(Default)]
struct InTexts {
    /// How many the former text has.
    former: u32,
    /// How many of these the last load has made for sure.
    certain: u32,
    /// How many the file has.
    file: u32,
    /// How many of these have been made.
    made: u32,
}

/// Calls of one function.
#[derive(Default)]
struct OfCallee {
    /// How many the former text has, and the file.
    former: u32,
    file: u32,
    /// How many of the former text the file lacks.
    lacking: u32,
    /// How many that only the file has were found to be repeats: they are taken for those.
    taken: u32,
    /// How many that both have are still to be made.
    to_come: u32,
    /// One of them has registered something.
    registers: bool,
}

/// The calls that stand in the main chunk of both texts.
pub struct BothTexts {
    are_one: bool,
    file: CallSites,
    by_line: FxHashMap<i32, SmallVec<[u32; 2]>>,
    former: CallSites,
    former_dump: Arc<Vec<u8>>,
    alike: FxHashMap<u64, InTexts>,
    callees: FxHashMap<u64, OfCallee>,
    /// Calls of the former text that the file lacks, of functions that it does not call at all.
    lacking_elsewhere: u32,
}

impl BothTexts {
    /// None where one of the dumps cannot be read.
    fn of(chunk: &Chunk, former_dump: Arc<Vec<u8>>) -> Result<Option<BothTexts>> {
        let (Some(file), Some(former)) = (chunk.call_sites()?, CallSites::read(&former_dump)?)
        else {
            return Ok(None);
        };
        let mut by_line: FxHashMap<i32, SmallVec<[u32; 2]>> = FxHashMap::default();
        let mut alike: FxHashMap<u64, InTexts> = FxHashMap::default();
        let mut callees: FxHashMap<u64, OfCallee> = FxHashMap::default();
        for (site, number) in file.sites.iter().zip(0..) {
            by_line.try_reserve(1)?;
            by_line.entry(site.line).or_default().try_push(number)?;
            alike.try_reserve(1)?;
            alike.entry(site.key).or_default().file += 1;
            callees.try_reserve(1)?;
            callees.entry(site.callee).or_default().file += 1;
        }
        for site in &former.sites {
            alike.try_reserve(1)?;
            let known = alike.entry(site.key).or_default();
            known.former += 1;
            known.certain += u32::from(site.is_certain);
            callees.try_reserve(1)?;
            callees.entry(site.callee).or_default().former += 1;
        }
        let mut lacking_elsewhere = 0;
        let mut told: FxHashSet<u64> = FxHashSet::default();
        for site in former.sites.iter().chain(&file.sites) {
            let (Some(alike), Some(callee)) = (alike.get(&site.key), callees.get_mut(&site.callee))
            else {
                continue;
            };
            if told.try_insert_value(site.key, ())?.is_some() {
                continue;
            }
            let lacking = alike.former.saturating_sub(alike.file);
            callee.lacking += lacking;
            if callee.file == 0 {
                lacking_elsewhere += lacking;
            }
            if alike.former > 0 {
                callee.to_come += alike.file;
            }
        }
        Ok(Some(BothTexts {
            are_one: chunk.is_of(&former_dump),
            file,
            by_line,
            former,
            former_dump,
            alike,
            callees,
            lacking_elsewhere,
        }))
    }

    /// The call of the file that was made, if its line and what it was given tell it from others.
    fn site(&self, vm: &Vm, chunk: &Chunk, call: &OpenCall) -> Option<&CallSite> {
        let sites = self.by_line.get(&call.place.1)?.iter();
        let is_it = |site: &&CallSite| {
            let mut both = site.arguments.iter().zip(call.args.iter());
            both.all(|(written, given)| match *written {
                Written::Other => true,
                Written::Text(text) => vm.is_string(given, chunk.text(text)),
                Written::Integer(value) => vm.integer(given) == Some(value),
                Written::Float(bits) => {
                    vm.float(given).is_some_and(|float| float.to_bits() == bits)
                }
            })
        };
        let mut fitting = sites
            .filter_map(|number| self.file.sites.get(*number as usize))
            .filter(is_it);
        let first = fitting.next()?;
        fitting.all(|other| other.key == first.key).then_some(first)
    }

    /// The calls that a load of the former text has made for sure, that were given something that
    /// is not written out, and that the file lacks: of functions to which the file's calls
    /// register. Where some of the file's may be taken for them, nobody knows which.
    fn gone(&self) -> Result<Vec<String>> {
        let mut lacking: FxHashMap<u64, u32> = FxHashMap::default();
        let mut gone = Vec::new();
        for site in &self.former.sites {
            let (Some(alike), Some(callee)) =
                (self.alike.get(&site.key), self.callees.get(&site.callee))
            else {
                continue;
            };
            let given = site.arguments.contains(&Written::Other);
            if !(given && site.is_certain && callee.registers && callee.taken == 0) {
                continue;
            }
            lacking.try_reserve(1)?;
            let told = lacking.entry(site.key).or_default();
            if *told < alike.former.saturating_sub(alike.file) {
                *told += 1;
                gone.try_push(self.former.describe(&self.former_dump, site)?)?;
            }
        }
        Ok(gone)
    }
}

/// What both texts say of a call.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum ByText {
    /// Nothing.
    #[default]
    Unknown,
    /// Both have it.
    Kept,
    /// Both have it, and the last load has made it. What stands in tables that it is given may be
    /// edited.
    Made,
    /// The last load has made it, of the same text.
    MadeAlike,
    /// Only the file has it; it may be another one of the former text, edited.
    Edited,
    /// Only the file has it, and a call that both have is still to come that may find its own entry
    /// taken.
    New,
}

impl Effects<'_> {
    /// The version of the last load, if its main function is known.
    pub(super) fn former_version(&mut self, vm: &mut Vm) -> Result<Option<Arc<Compiled>>> {
        if !vm.val(self.last_main).is_function() {
            return Ok(None);
        }
        let known = self.last_version.or(self.read_version.as_ref());
        if let Some(known) = known.filter(|known| vm.same(known.main, self.last_main)) {
            return Ok(Some(known.compiled.clone()));
        }
        let version = vm.version_of(self.last_main)?;
        let compiled = version.compiled.clone();
        self.last_version = None;
        self.read_version = Some(version);
        Ok(Some(compiled))
    }

    fn read_texts(&mut self, vm: &mut Vm) -> Result<Option<Box<BothTexts>>> {
        let Some(chunk) = self.chunk else {
            return Ok(None);
        };
        let former = self.former_version(vm)?;
        let texts = former.map(|former| BothTexts::of(chunk, former.dump.clone()));
        Ok(texts.transpose()?.flatten().map(Box::new))
    }

    /// Has the file more calls of this text than the former one? True as well where that is not
    /// known.
    pub(super) fn has_more(&mut self, vm: &mut Vm, call: &OpenCall) -> Result<bool> {
        self.prepare_texts(vm)?;
        let (Some(Some(texts)), Some(chunk), true) = (&self.texts, self.chunk, call.by_main) else {
            return Ok(true);
        };
        let site = texts.site(vm, chunk, call);
        let alike = site.and_then(|site| texts.alike.get(&site.key));
        Ok(alike.is_none_or(|alike| alike.file > alike.former))
    }

    fn prepare_texts(&mut self, vm: &mut Vm) -> Result<()> {
        if self.texts.is_none() {
            self.texts = Some(self.read_texts(vm)?);
        }
        Ok(())
    }

    /// A call that registers has ended: what do the texts say of it?
    pub(super) fn by_text(&mut self, vm: &mut Vm, call: &OpenCall) -> Result<ByText> {
        if !call.by_main {
            return Ok(ByText::Unknown);
        }
        self.prepare_texts(vm)?;
        let (Some(Some(texts)), Some(chunk)) = (&mut self.texts, self.chunk) else {
            return Ok(ByText::Unknown);
        };
        let Some(site) = texts.site(vm, chunk, call) else {
            return Ok(ByText::Unknown);
        };
        let (key, callee) = (site.key, site.callee);
        let lacking_elsewhere = texts.lacking_elsewhere;
        let (Some(alike), Some(callee)) =
            (texts.alike.get_mut(&key), texts.callees.get_mut(&callee))
        else {
            return Ok(ByText::Unknown);
        };
        callee.registers = true;
        if alike.former > 0 {
            if alike.made < alike.file {
                alike.made += 1;
                callee.to_come -= 1;
            }
            return Ok(match alike.made <= alike.certain {
                true if texts.are_one => ByText::MadeAlike,
                true => ByText::Made,
                false => ByText::Kept,
            });
        }
        Ok(match callee {
            OfCallee { former: 0, .. } => ByText::Unknown,
            callee if callee.taken < callee.lacking + lacking_elsewhere => ByText::Edited,
            OfCallee { to_come: 0, .. } => ByText::Unknown,
            _ => ByText::New,
        })
    }

    /// A call that only the file has is taken for one that only the former text has.
    pub(super) fn take_former(&mut self, vm: &Vm, call: &OpenCall) {
        if let (Some(Some(texts)), Some(chunk)) = (&mut self.texts, self.chunk)
            && let Some(callee) = texts.site(vm, chunk, call).map(|site| site.callee)
            && let Some(callee) = texts.callees.get_mut(&callee)
        {
            callee.taken += 1;
        }
    }
}

/// The calls that the load no longer makes: as the record has them, or else as the texts tell.
pub fn gone(
    recorded: Option<Recorded>,
    texts: Option<Option<Box<BothTexts>>>,
) -> Result<Vec<String>> {
    match (recorded, texts.flatten()) {
        (Some(recorded), _) => recorded.rest(),
        (None, Some(texts)) => texts.gone(),
        (None, None) => Ok(Vec::new()),
    }
}
