//! Copies of the manifest files as they were when all in them could be used: what an agent goes by that starts over a file that
//! is broken by then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::hash_of;

/// A copy that is being written. No manifest has such a name.
const UNFINISHED: &str = ".unfinished";

/// The copies, in a directory of the agent's own.
#[derive(Debug)]
pub(super) struct LastGood {
    directory: PathBuf,
    /// Files that are good and not copied yet, with the hash of the text that was read.
    waiting: BTreeMap<Arc<str>, u64>,
    /// A failure is told once.
    is_failing: bool,
}

impl LastGood {
    /// Copies in this directory, which is made when the first one is written.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            waiting: BTreeMap::new(),
            is_failing: false,
        }
    }

    /// The copy of a file.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(name)).ok()
    }

    /// All in this text of a file can be used: the next [`save`](Self::save) copies it.
    pub(super) fn is_good(&mut self, name: &Arc<str>, text: &str) {
        self.waiting.insert(name.clone(), hash_of(text));
    }

    /// The file is not as it was when it was good.
    pub(super) fn is_broken(&mut self, name: &str) {
        self.waiting.remove(name);
    }

    /// Copies what waits, and removes copies of files that `known` does not have. A failure hurts only an agent that starts over a
    /// broken file, so it is told and no more; what could not be copied waits on.
    pub(super) fn save(&mut self, manifests: &Path, known: &BTreeSet<&str>) {
        let mut outcome = self.remove_others(known);
        for (name, hash) in std::mem::take(&mut self.waiting) {
            let copied = self.copy(&manifests.join(&*name), &name, hash);
            if copied.is_err() {
                self.waiting.insert(name, hash);
            }
            outcome = outcome.and(copied);
        }
        let was_failing = std::mem::replace(&mut self.is_failing, outcome.is_err());
        if let Err(error) = outcome
            && !was_failing
        {
            tracing::warn!(
                directory = %self.directory.display(), %error,
                "the last good manifests cannot be kept: make the directory writable, or a restart over a broken file loses its objects"
            );
        }
    }

    fn remove_others(&self, known: &BTreeSet<&str>) -> io::Result<()> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_none_or(|name| !known.contains(name)) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Copies a file, unless it changed since it was read: then it is read again, and judged again.
    fn copy(&self, file: &Path, name: &str, hash: u64) -> io::Result<()> {
        let Ok(text) = fs::read_to_string(file) else {
            return Ok(());
        };
        if hash_of(text.as_str()) != hash || self.text(name).as_ref() == Some(&text) {
            return Ok(());
        }
        fs::create_dir_all(&self.directory)?;
        let unfinished = self.directory.join(UNFINISHED);
        let mut copy = File::create(&unfinished)?;
        copy.write_all(text.as_bytes())?;
        copy.sync_all()?;
        fs::rename(&unfinished, self.directory.join(name))
    }
}
