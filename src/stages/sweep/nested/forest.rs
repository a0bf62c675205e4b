//! The functions of one side: trees of dumped functions, found by what they are, and the scopes of
//! the variables they capture.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::code::tree::{Captured, Tree, TreeFunction};
use crate::support::error::{Error, Result};
use crate::support::mem::{TryInsert, TryPush};

/// A function of a forest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Id {
    /// Which tree.
    pub tree: u32,
    /// Which function of it; 0 is the outermost.
    pub function: u32,
}

/// Where a captured variable belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// It is a local of the function so many levels up.
    Local {
        /// 1 for the function directly around.
        level: u32,
        /// That function.
        owner: Id,
        /// Which of its locals, in order of declaration.
        local: u32,
    },
    /// It is an upvalue of the outermost function of the tree.
    Outside {
        /// Which, counted from 0.
        index: u8,
    },
    /// There is no debug information to tell.
    Unknown,
}

/// Trees of functions.
#[derive(Default)]
pub struct Forest {
    trees: Vec<Tree>,
    by_exact: FxHashMap<u64, SmallVec<[Id; 1]>>,
}

impl Forest {
    /// Adds a tree; returns its outermost function.
    pub fn plant(&mut self, tree: Tree) -> Result<Id> {
        let number = self.trees.len() as u32;
        self.by_exact.try_reserve(tree.len() as usize)?;
        // First: an index of a tree that is not there would be that of the next one.
        self.trees.try_push(tree)?;
        let Some(tree) = self.trees.last() else {
            return Err(Error::Memory);
        };
        for function in 0..tree.len() {
            let id = Id {
                tree: number,
                function,
            };
            let exact = tree.get(function).map_or(0, |function| function.exact);
            match self.by_exact.get_mut(&exact) {
                Some(ids) => ids.try_push(id)?,
                None => {
                    self.by_exact
                        .try_insert_value(exact, SmallVec::from_buf([id]))?;
                }
            }
        }
        Ok(Id {
            tree: number,
            function: 0,
        })
    }

    /// How many trees there are.
    pub fn len(&self) -> u32 {
        self.trees.len() as u32
    }

    /// The functions that are exactly this one, lines included, in the order in which they were
    /// added.
    pub fn find(&self, exact: u64) -> &[Id] {
        self.by_exact.get(&exact).map_or(&[], SmallVec::as_slice)
    }

    /// A tree.
    pub fn tree(&self, tree: u32) -> Option<&Tree> {
        self.trees.get(tree as usize)
    }

    /// A function.
    pub fn get(&self, id: Id) -> Option<&TreeFunction> {
        self.tree(id.tree)?.get(id.function)
    }

    /// What a function is, exactly; 0 for none.
    pub fn exact(&self, id: Id) -> u64 {
        self.get(id).map_or(0, |function| function.exact)
    }

    /// The function around it.
    pub fn parent(&self, id: Id) -> Option<Id> {
        let function = self.get(id)?.parent?;
        Some(Id { function, ..id })
    }

    /// How many functions there are around it.
    pub fn depth(&self, id: Id) -> u32 {
        std::iter::successors(self.parent(id), |id| self.parent(*id)).count() as u32
    }

    /// The functions directly in it.
    pub fn children(&self, id: Id) -> Result<Vec<Id>> {
        let mut children = Vec::new();
        if let Some(tree) = self.tree(id.tree) {
            for function in tree.children(id.function) {
                children.try_push(Id { function, ..id })?;
            }
        }
        Ok(children)
    }

    /// What it captures.
    pub fn captured(&self, id: Id) -> &[Captured] {
        self.tree(id.tree)
            .map_or(&[], |tree| tree.captured(id.function))
    }

    /// Where its `i`-th upvalue, counted from 0, belongs.
    pub fn scope(&self, mut id: Id, mut i: u8) -> Scope {
        let mut level = 0;
        loop {
            let Some(captured) = self.captured(id).get(usize::from(i)) else {
                return Scope::Unknown;
            };
            let Some(parent) = self.parent(id) else {
                return Scope::Outside { index: i };
            };
            level += 1;
            if captured.in_stack {
                return match captured.local {
                    Some(local) => Scope::Local {
                        level,
                        owner: parent,
                        local,
                    },
                    None => Scope::Unknown,
                };
            }
            (id, i) = (parent, captured.index);
        }
    }

    /// Which upvalue of the function so many levels up its `i`-th upvalue is; none where it is a
    /// local on the way.
    pub fn upvalue_above(&self, mut id: Id, mut i: u8, levels: u32) -> Option<u8> {
        for _ in 0..levels {
            let captured = self.captured(id).get(usize::from(i))?;
            if captured.in_stack {
                return None;
            }
            (id, i) = (self.parent(id)?, captured.index);
        }
        Some(i)
    }
}
