//! Where things stand, for reports and messages: `TestReload.data6.func1`,
//! `TestReload.dump@helper`.
//!
//! A [`SiteId`] is a step from another one; the text is made only when somebody reads it.

use crate::lua::vm::{Ref, Vm};
use crate::support::error::{Result, shown};
use crate::support::mem::TryPush;

/// The number of a site.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct SiteId(u32);

impl SiteId {
    /// The module itself.
    pub const MODULE: SiteId = SiteId(0);
    /// The globals table.
    pub const GLOBALS: SiteId = SiteId(1);
    /// `package.loaded`.
    pub const LOADED: SiteId = SiteId(2);

    /// The site's number: sites are numbered from 0, each behind its parent.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A step.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A root.
    Root(Root),
    /// The slot under a key.
    Key(Ref),
    /// The metatable.
    Metatable,
    /// The upvalue with this number of this function.
    Upvalue(Ref, u8),
    /// An object that only another module holds.
    Elsewhere(Ref),
}

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// At the module itself.
    Module,
    /// At the globals table.
    Globals,
    /// At `package.loaded`.
    Loaded,
}

impl Root {
    /// Its name; the module itself has none.
    pub fn name(self) -> &'static str {
        match self {
            Root::Module => "",
            Root::Globals => "_G",
            Root::Loaded => "package.loaded",
        }
    }
}

/// Where a remembered table was found, to name it in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The globals table.
    Globals,
    /// `package.loaded`.
    Loaded,
    /// The module's own object.
    Module,
    /// Under this key of the remembered table with this number.
    Key(u32, Ref),
    /// The metatable of the remembered table with this number.
    Metatable(u32),
    /// In the upvalue with this number of a function of the module.
    Upvalue(Ref, u8),
    /// In another module, where the code cannot name it: the table itself.
    Elsewhere(Ref),
}

/// All sites of a reload.
pub struct Sites {
    steps: Vec<(SiteId, Step)>,
    /// For each site its depth, and itself or its ancestor at [`HEAD`].
    heads: Vec<(u32, SiteId)>,
}

/// A longer path is shortened in the middle, to so many steps at its end…
const TAIL: usize = 20;
/// …and so many at its beginning.
const HEAD: u32 = 3;
/// A longer key is shortened.
const MOST_BYTES: usize = 60;

impl Sites {
    /// The three roots.
    pub fn new() -> Result<Sites> {
        let (mut steps, mut heads) = (Vec::new(), Vec::new());
        for (root, i) in [Root::Module, Root::Globals, Root::Loaded]
            .into_iter()
            .zip(0..)
        {
            steps.try_push((SiteId::MODULE, Step::Root(root)))?;
            heads.try_push((0, SiteId(i)))?;
        }
        Ok(Sites { steps, heads })
    }

    /// Makes room for so many more.
    pub fn reserve(&mut self, count: usize) -> Result<()> {
        self.steps.try_reserve(count)?;
        self.heads.try_reserve(count)?;
        Ok(())
    }

    /// The last step to a site, and where it begins.
    pub fn step(&self, site: SiteId) -> Option<(SiteId, Step)> {
        self.steps.get(site.index()).copied()
    }

    fn add(&mut self, parent: SiteId, step: Step) -> Result<SiteId> {
        let site = SiteId(self.steps.len() as u32);
        let (depth, head) = self
            .heads
            .get(parent.0 as usize)
            .copied()
            .unwrap_or_default();
        self.steps.try_push((parent, step))?;
        self.heads
            .try_push((depth + 1, if depth < HEAD { site } else { head }))?;
        Ok(site)
    }

    /// The slot under a key.
    pub fn key(&mut self, parent: SiteId, key: Ref) -> Result<SiteId> {
        self.add(parent, Step::Key(key))
    }

    /// The metatable.
    pub fn metatable(&mut self, parent: SiteId) -> Result<SiteId> {
        self.add(parent, Step::Metatable)
    }

    /// An upvalue of the function that stands at `parent`.
    pub fn upvalue(&mut self, parent: SiteId, function: Ref, index: u8) -> Result<SiteId> {
        self.add(parent, Step::Upvalue(function, index))
    }

    /// An object of the module's that another module holds.
    pub fn elsewhere(&mut self, object: Ref) -> Result<SiteId> {
        self.add(SiteId::MODULE, Step::Elsewhere(object))
    }

    /// Is it an object that only another module holds?
    pub fn is_elsewhere(&self, site: SiteId) -> bool {
        matches!(self.step(site), Some((_, Step::Elsewhere(_))))
    }

    /// The site of the remembered table with this number; `origin` has where each one was found.
    pub fn remembered(
        &mut self,
        number: u32,
        origin: impl Fn(u32) -> Option<Origin>,
    ) -> Result<SiteId> {
        let mut trail = Vec::new();
        let mut at = number;
        let mut site = loop {
            match origin(at) {
                Some(Origin::Globals) => break SiteId::GLOBALS,
                Some(Origin::Loaded) => break SiteId::LOADED,
                Some(Origin::Module) | None => break SiteId::MODULE,
                Some(Origin::Key(parent, key)) => {
                    trail.try_push(Step::Key(key))?;
                    at = parent;
                }
                Some(Origin::Metatable(parent)) => {
                    trail.try_push(Step::Metatable)?;
                    at = parent;
                }
                Some(Origin::Upvalue(function, index)) => {
                    trail.try_push(Step::Upvalue(function, index))?;
                    break SiteId::MODULE;
                }
                Some(Origin::Elsewhere(table)) => {
                    trail.try_push(Step::Elsewhere(table))?;
                    break SiteId::MODULE;
                }
            }
        };
        while let Some(step) = trail.pop() {
            site = self.add(site, step)?;
        }
        Ok(site)
    }

    /// The path as text; `module` is the module's name.
    pub fn path(&self, vm: &Vm, module: &str, site: SiteId) -> String {
        let (depth, head) = self.heads.get(site.0 as usize).copied().unwrap_or_default();
        let mut trail = Vec::new();
        let mut at = site;
        while let Some((parent, step)) = self.steps.get(at.0 as usize) {
            trail.push(*step);
            if matches!(step, Step::Root(_)) {
                break;
            }
            at = *parent;
            if trail.len() == TAIL && depth > HEAD + TAIL as u32 {
                break;
            }
        }
        let mut text = String::new();
        if !matches!(trail.last(), Some(Step::Root(_))) {
            text = self.path(vm, module, head);
            text.push_str("...");
        }
        for step in trail.into_iter().rev() {
            match step {
                Step::Root(Root::Module) => text.push_str(module),
                Step::Root(root) => text.push_str(root.name()),
                Step::Key(key) => text.push_str(&key_text(vm, key)),
                Step::Metatable => text.push_str("<metatable>"),
                Step::Elsewhere(object) => match vm.line(object) {
                    Some(line) => text.push_str(&format!("<function at line {line}>")),
                    None => text.push_str("<registered>"),
                },
                Step::Upvalue(function, index) => {
                    text.push('@');
                    text.push_str(&shown(&vm.upvalue_name(function, index)));
                }
            }
        }
        text
    }
}

fn key_text(vm: &Vm, key: Ref) -> String {
    let start = vm.with_bytes(key, |bytes| {
        let short = bytes.get(..MOST_BYTES).unwrap_or(bytes);
        let mut text = String::from_utf8_lossy(short).into_owned();
        if short.len() < bytes.len() {
            text.push_str("...");
        }
        text
    });
    if let Some(text) = start {
        let mut letters = text.chars();
        let is_name = letters
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
        return if is_name {
            format!(".{text}")
        } else {
            format!("[{text:?}]")
        };
    }
    if let Some(integer) = vm.integer(key) {
        return format!("[{integer}]");
    }
    let val = vm.val(key);
    match vm.number_text(key) {
        Some(text) => format!("[{text}]"),
        None if val.addr == 0 => format!("[{}]", vm.truthy(key)),
        None => format!("[{}]", val.kind.name()),
    }
}
