//! The bytes of a binary chunk, as a reader keeps them.

use std::ops::Deref;
use std::sync::Arc;

/// The bytes of a dump.
pub enum Dump {
    /// The reader's own.
    Own(Vec<u8>),
    /// Those that other readers have as well.
    Shared(Arc<Vec<u8>>),
}

impl Default for Dump {
    fn default() -> Dump {
        Dump::Own(Vec::new())
    }
}

impl Deref for Dump {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Dump::Own(bytes) => bytes,
            Dump::Shared(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Dump {
    fn from(bytes: Vec<u8>) -> Dump {
        Dump::Own(bytes)
    }
}

impl From<Arc<Vec<u8>>> for Dump {
    fn from(bytes: Arc<Vec<u8>>) -> Dump {
        Dump::Shared(bytes)
    }
}
