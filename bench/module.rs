//! The module's file, a new version of it for each round.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use crate::Outcome;
use crate::cases::{Edit, Subject};
use crate::host::Host;

/// The name by which the states require it.
pub const NAME: &str = "bench_module";

/// The file, in a folder that goes with it.
pub struct Module {
    folder: PathBuf,
    path: PathBuf,
    text: String,
    edit: Edit,
    version: u32,
}

/// Stands for the version in a text.
const VERSION: &str = "@VERSION@";
/// What stands there in functions that no version changes.
const BASE: u32 = 1_000_000;

impl Module {
    /// Writes the first version of a module of that many functions.
    pub fn new(subject: Subject, functions: u32, edit: Edit) -> Outcome<Self> {
        let folder = env::temp_dir().join(format!("hotreload-bench-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let host = Host::new(&folder)?;
        let text: String = match subject {
            Subject::File(path) => with_a_version(&fs::read_to_string(path)?)?,
            _ => host
                .run("module", include_str!("module.lua"))?
                .call((functions, subject == Subject::Factories))?,
        };
        let text = match edit {
            Edit::All => text,
            _ => with_one_edit(&text, edit)?,
        };
        let path = folder.join(NAME).with_extension("lua");
        let mut module = Self {
            folder,
            path,
            text,
            edit,
            version: BASE,
        };
        module.change()?;
        Ok(module)
    }

    /// Writes the next version. Unless lines are what is edited, all are of one length.
    pub fn change(&mut self) -> Outcome<()> {
        self.version += 1;
        let mut version = self.version.to_string();
        if self.edit == Edit::Lines {
            version.insert_str(0, &"\n".repeat(self.version as usize % 5));
        }
        fs::write(&self.path, self.text.replace(VERSION, &version))?;
        Ok(())
    }

    /// What functions return that no version changes; none where every version changes all.
    pub fn base(&self) -> Option<u32> {
        (self.edit != Edit::All).then_some(BASE)
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

/// The text with a version in one function alone, in the middle.
fn with_one_edit(text: &str, edit: Edit) -> Outcome<String> {
    let places: Vec<usize> = text.match_indices(VERSION).map(|(at, _)| at).collect();
    // (Of the groups' functions every other one is a factory, whose closures show their version.)
    let middle = ((places.len() / 2) | 1).min(places.len().saturating_sub(1));
    let place = *places.get(middle).ok_or("no version in the text")?;
    let (before, rest) = text.split_at(place);
    let rest = rest.strip_prefix(VERSION).unwrap_or(rest);
    let base = BASE.to_string();
    let (before, rest) = (before.replace(VERSION, &base), rest.replace(VERSION, &base));
    let first = match edit {
        Edit::Local => format!("local added_{VERSION} = {VERSION} "),
        _ => String::new(),
    };
    Ok(format!("{first}{before}{VERSION}{rest}"))
}

/// The text of a real file with a version in the first line of the function that stands in the
/// middle.
fn with_a_version(text: &str) -> Outcome<String> {
    let begins = |line: &str| line.starts_with("function ") || line.starts_with("local function ");
    let lines: Vec<&str> = text.lines().collect();
    let heads = lines.iter().enumerate();
    let heads: Vec<usize> = heads
        .filter(|(_, line)| begins(line) && line.ends_with(')'))
        .map(|(i, _)| i)
        .collect();
    let place = *heads
        .get(heads.len() / 2)
        .ok_or("no function in the file")?;
    let (before, rest) = lines.split_at(place + 1);
    let edited = format!(" local _ = {VERSION}");
    Ok(before.join("\n") + &edited + "\n" + &rest.join("\n") + "\n")
}
