//! The module's file, a new version of it for each round.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use crate::Outcome;
use crate::host::Host;

/// The name by which the states require it.
pub const NAME: &str = "bench_module";

/// The file, in a folder that goes with it.
pub struct Module {
    folder: PathBuf,
    path: PathBuf,
    text: String,
    version: u32,
}

impl Module {
    /// Writes the first version of a module of that many functions.
    pub fn new(functions: u32) -> Outcome<Self> {
        let folder = env::temp_dir().join(format!("hotreload-bench-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let host = Host::new(&folder)?;
        let text = host
            .run("module", include_str!("module.lua"))?
            .call(functions)?;
        let path = folder.join(NAME).with_extension("lua");
        let mut module = Self {
            folder,
            path,
            text,
            version: 1_000_000,
        };
        module.change()?;
        Ok(module)
    }

    /// Writes the next version. All versions are of one length.
    pub fn change(&mut self) -> Outcome<()> {
        self.version += 1;
        fs::write(
            &self.path,
            self.text.replace("@VERSION@", &self.version.to_string()),
        )?;
        Ok(())
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the functions of the version that the file holds now return.
    pub fn version(&self) -> u32 {
        self.version
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // What cannot be removed is a temporary file and stays one.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
