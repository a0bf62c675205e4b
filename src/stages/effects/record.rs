//! The calls of a load: what a report says of them, and what is on record for the next reload.

use rustc_hash::{FxHashMap, FxHashSet};

use super::BUDGET;
use super::names::FunctionNames;
use crate::lua::heap::Place;
use crate::lua::vm::{KeyValue, Ref, Vm};
use crate::lua::write::{self, Permit};
use crate::support::error::Result;
use crate::support::limits;
use crate::support::mem::{TryInsert, TryPush, copied};

/// The calls of a load, for the report.
#[derive(Default)]
pub struct Calls {
    /// Taken back, since they were made before.
    pub repeated: Vec<String>,
    /// Made for the first time.
    pub new: Vec<String>,
    /// Made by the last load and not by this one.
    pub gone: Vec<String>,
    /// C functions that ran and cannot be taken back.
    pub irrevocable: Vec<String>,
    /// The lines of the first two, with the functions that were called.
    pub(super) made: Vec<(Ref, String)>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// Calls that can change more than is remembered.
    pub beyond: Vec<String>,
    /// Calls that raised, and whose function stands there already.
    pub(super) duplicates: Vec<String>,
    /// What ran and cannot be taken back, as it is told where the load fails.
    pub(super) ran: Vec<String>,
}

impl Calls {
    /// Adds to the message of a chunk that failed what speaks of its calls.
    pub fn explain(&self, mut text: Vec<u8>) -> Vec<u8> {
        for call in &self.duplicates {
            text.extend_from_slice(
                format!("\n{call}: registered already; see hotreload.reloading()").as_bytes(),
            );
        }
        for call in &self.beyond {
            let (beyond, number) = BEYOND;
            let line = format!("\n{call}: {}", limits::worded(beyond, number));
            text.extend_from_slice(line.as_bytes());
        }
        for ran in &self.ran {
            text.extend_from_slice(
                format!(
                    "\n{ran} ran and cannot be taken back; guard it with hotreload.reloading()"
                )
                .as_bytes(),
            );
        }
        text
    }

    /// The calls for the record of the module, a string with a line for each call, under each
    /// function that was called. The table is weak: where the other module is loaded anew,
    /// nothing is known of calls of its old functions.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn pack(&self, vm: &mut Vm, permit: Permit) -> Result<Ref> {
        let mut texts: FxHashMap<usize, (Ref, Vec<u8>)> = FxHashMap::default();
        for (function, line) in &self.made {
            texts.try_reserve(1)?;
            let (_, text) = texts
                .entry(vm.val(*function).addr)
                .or_insert((*function, Vec::new()));
            text.try_reserve(line.len() + 1)?;
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        let record = vm.weak_table()?;
        for (function, text) in texts.into_values() {
            let text = vm.string(&text)?;
            let place = Place::Value {
                table: record,
                key: function,
            };
            write::put_while_loading(vm, permit, place, text)?;
        }
        Ok(record)
    }
}

/// What is told of a call that can change more than is remembered, where its work is put back.
pub const BEYOND: (&str, usize) = (
    "it reaches more than {} table entries, and what it changed beyond them is not put back; guard \
     it with hotreload.reloading() (R2.10)",
    BUDGET,
);

/// The line of a call in the record: its text, and a digest of what it was given, since the text
/// leaves out the end of a long string and all of a table.
pub(super) fn line(label: &str, digest: u64) -> String {
    format!("{label}{END_OF_LABEL}{digest:x}")
}

/// What of a call's text tells it from others.
#[derive(Clone, Copy)]
pub(super) enum Telling<'a> {
    /// All but numbers and booleans that are no part of a string.
    Names,
    /// Strings, and those names of the module's own functions that both versions have: the file may
    /// call the others by new names.
    Strings(&'a FunctionNames, &'a str),
}

/// Whose call it is.
#[derive(Clone, Copy)]
enum CallOf {
    File,
    LastLoad,
}

impl Telling<'_> {
    /// Does a word outside of strings tell something?
    fn tells(self, side: CallOf, word: &str) -> bool {
        match (self, side) {
            (Telling::Names, _) => {
                word.parse::<f64>().is_err() && !matches!(word, "true" | "false")
            }
            (Telling::Strings(names, title), side) => {
                let name = word
                    .strip_prefix(title)
                    .and_then(|name| name.strip_prefix('.'));
                name.is_some_and(|name| match side {
                    CallOf::File => names.is_running(name.as_bytes()),
                    CallOf::LastLoad => names.is_in_file(name.as_bytes()),
                })
            }
        }
    }

    /// What of the text of a line tells.
    fn shape(self, side: CallOf, line: &[u8]) -> String {
        let line = String::from_utf8_lossy(line);
        let label = line.split(END_OF_LABEL).next().unwrap_or_default();
        let (mut shape, mut in_string) = (String::new(), false);
        for piece in label.split_inclusive([QUOTE, '(', ')', ' ', ',']) {
            let word = piece.trim_end_matches([QUOTE, '(', ')', ' ', ',']);
            let kept = match in_string || self.tells(side, word) {
                true => piece,
                false => piece.get(word.len()..).unwrap_or(""),
            };
            shape.push_str(kept);
            in_string ^= piece.ends_with(QUOTE);
        }
        shape
    }
}

const QUOTE: char = '\u{22}';

/// The function that the call of a line is of, and its arguments, as far as these are strings,
/// numbers and names.
fn parts(line: &str) -> (String, Vec<String>) {
    let label = line.split(END_OF_LABEL).next().unwrap_or_default();
    let (callee, rest) = label.split_once('(').unwrap_or((label, ""));
    let mut arguments = Vec::new();
    for (number, piece) in rest.split(QUOTE).enumerate() {
        match number % 2 {
            1 => arguments.push(format!("{QUOTE}{piece}{QUOTE}")),
            _ => arguments.extend(piece.split([',', ')']).map(|one| one.trim().to_owned())),
        }
    }
    arguments.retain(|one| !one.is_empty());
    (callee.to_owned(), arguments)
}

/// No text of a call has it.
const END_OF_LABEL: char = '\u{1f}';

/// Lines by the function and one argument.
type ByArgument = FxHashMap<(String, String), Vec<Vec<u8>>>;

/// The calls of the module's last load.
#[derive(Default)]
pub struct Recorded {
    /// How often each was made, by its line.
    pub(super) calls: FxHashMap<Vec<u8>, Times>,
    /// The functions that were called, by address.
    pub(super) functions: FxHashSet<usize>,
    /// The lines by their shapes, for each way to tell them; made when they are first needed.
    alike: [Option<FxHashMap<String, Alike>>; 2],
    /// The lines by the function and each argument, likewise.
    by_argument: Option<ByArgument>,
}

/// How often a call was made, and how many of these nobody has taken off.
#[derive(Clone, Copy, Default)]
pub(super) struct Times {
    made: u32,
    left: u32,
}

/// Calls of one text, numbers apart.
#[derive(Default)]
struct Alike {
    /// How many there were.
    made: u32,
    /// The lines, from the last one in the order of their texts to the first. Those at the end that
    /// have been taken off go.
    left: Vec<Vec<u8>>,
}

impl Recorded {
    /// The inverse of [`Calls::pack`].
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn read(vm: &mut Vm, record: Ref) -> Result<Recorded> {
        let mut recorded = Recorded::default();
        for KeyValue { key, value } in vm.keep_entries(record)?.iter() {
            recorded.functions.try_insert_value(vm.val(key).addr, ())?;
            let text = vm.bytes(value)?.unwrap_or_default();
            for call in text
                .split(|byte| *byte == b'\n')
                .filter(|call| !call.is_empty())
            {
                let Times { made, left } = recorded.calls.get(call).copied().unwrap_or_default();
                let count = Times {
                    made: made + 1,
                    left: left + 1,
                };
                recorded.calls.try_insert_value(copied(call)?, count)?;
            }
        }
        Ok(recorded)
    }

    /// Is there such a call that nobody has taken off?
    pub(super) fn has(&self, line: &str) -> bool {
        self.calls
            .get(line.as_bytes())
            .is_some_and(|count| count.left > 0)
    }

    /// Takes one call off, if there is one like it.
    pub(super) fn take(&mut self, line: &str) {
        if let Some(count) = self.calls.get_mut(line.as_bytes()) {
            count.left = count.left.saturating_sub(1);
        }
    }

    /// A repeat that was given something else than in the last load, such as another number, counts
    /// as the call that was made then; of several as the first in the order of their texts. False
    /// if there is none. `keys`: under these arguments it has put something.
    pub(super) fn rename(
        &mut self,
        line: &str,
        (names, title): (&FunctionNames, &str),
        keys: impl FnOnce() -> Result<Vec<String>>,
    ) -> Result<bool> {
        if self.has(line) {
            return Ok(true);
        }
        let mut other = None;
        for telling in [Telling::Names, Telling::Strings(names, title)] {
            if other.is_none() {
                let alike = self.alike(line, telling)?;
                let last = alike.and_then(|alike| alike.left.last());
                other = last.map(|line| copied(line)).transpose()?;
            }
        }
        if other.is_none() {
            other = self.under_keys(line, &keys()?)?;
        }
        let Some(other) = other else {
            return Ok(false);
        };
        if let Some(count) = self.calls.get_mut(&other) {
            count.left -= 1;
        }
        self.calls.try_reserve(1)?;
        let renamed = self.calls.entry(copied(line.as_bytes())?);
        renamed.or_default().left += 1;
        Ok(true)
    }

    /// A call of the same function that nobody has taken off, and that was given these keys.
    fn under_keys(&mut self, line: &str, keys: &[String]) -> Result<Option<Vec<u8>>> {
        let Some(first) = keys.first() else {
            return Ok(None);
        };
        if self.by_argument.is_none() {
            let mut by_argument = ByArgument::default();
            for line in self.calls.keys() {
                let (callee, arguments) = parts(&String::from_utf8_lossy(line));
                for argument in arguments {
                    by_argument.try_reserve(1)?;
                    let lines = by_argument.entry((callee.clone(), argument)).or_default();
                    lines.try_push(copied(line)?)?;
                }
            }
            self.by_argument = Some(by_argument);
        }
        let (callee, _) = parts(line);
        let lines = self.by_argument.as_mut();
        let lines = lines.and_then(|lines| lines.get_mut(&(callee, first.clone())));
        let Some(lines) = lines else { return Ok(None) };
        lines.retain(|line| self.calls.get(line).is_some_and(|count| count.left > 0));
        let has_all = |line: &&Vec<u8>| {
            let (_, arguments) = parts(&String::from_utf8_lossy(line));
            keys.iter().all(|key| arguments.contains(key))
        };
        let found = lines.iter().filter(has_all).min();
        found.map(|line| copied(line)).transpose()
    }

    /// How many calls of this text, numbers apart, the load made; none if each of them has been
    /// taken off.
    pub(super) fn made_alike(&mut self, label: &str) -> Result<u32> {
        let alike = self.alike(label, Telling::Names)?;
        Ok(alike.map_or(0, |alike| match alike.left.is_empty() {
            true => 0,
            false => alike.made,
        }))
    }

    fn alike(&mut self, line: &str, telling: Telling<'_>) -> Result<Option<&Alike>> {
        let at = matches!(telling, Telling::Strings(..)) as usize;
        if let Some(None) = self.alike.get(at) {
            let by_shape = self.by_shape(telling)?;
            if let Some(alike) = self.alike.get_mut(at) {
                *alike = Some(by_shape);
            }
        }
        let by_shape = self.alike.get_mut(at).and_then(Option::as_mut);
        let shape = telling.shape(CallOf::File, line.as_bytes());
        let alike = by_shape.and_then(|by_shape| by_shape.get_mut(&shape));
        Ok(alike.map(|alike| {
            let is_taken =
                |line: &Vec<u8>| self.calls.get(line).is_none_or(|count| count.left == 0);
            while alike.left.last().is_some_and(is_taken) {
                alike.left.pop();
            }
            &*alike
        }))
    }

    fn by_shape(&self, telling: Telling<'_>) -> Result<FxHashMap<String, Alike>> {
        let mut lines = Vec::new();
        for (line, count) in &self.calls {
            lines.try_push((copied(line)?, count.made))?;
        }
        lines.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        let mut by_shape: FxHashMap<String, Alike> = FxHashMap::default();
        for (line, made) in lines {
            by_shape.try_reserve(1)?;
            let alike = by_shape
                .entry(telling.shape(CallOf::LastLoad, &line))
                .or_default();
            alike.made += made;
            alike.left.try_push(line)?;
        }
        Ok(by_shape)
    }

    /// The calls that nobody has taken off.
    pub(super) fn rest(self) -> Result<Vec<String>> {
        let mut rest = Vec::new();
        for (line, count) in self.calls {
            for _ in 0..count.left {
                let line = String::from_utf8_lossy(&line);
                let label = line.split(END_OF_LABEL).next().unwrap_or_default();
                rest.try_push(label.to_string())?;
            }
        }
        rest.sort_unstable();
        Ok(rest)
    }
}
