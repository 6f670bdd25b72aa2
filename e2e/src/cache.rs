//! Where what is dear to make is kept: outside the target directory, so that `cargo clean` leaves it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The directory of this name below the user's cache directory; `None` where the user has no home.
pub fn directory(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))?;
    Some(cache.join("sluice").join(name))
}

/// Makes the directory, and has it to itself until the file is dropped: one process at a time makes what is kept there.
pub(crate) fn lock(directory: &Path) -> io::Result<File> {
    std::fs::create_dir_all(directory)?;
    let file = File::create(directory.join("lock"))?;
    file.lock()?;
    Ok(file)
}
