//! The network configuration that runtimes use: the first by name that is one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{InstallError, conflist};
use crate::cni::RawObject;

/// Of lists that the installer made beside a plain configuration.
pub(super) const OWN_ENDING: &str = "-sluice.conflist";
/// Of files that are read as lists; others are read as one plugin's, whatever is in them.
pub(super) const LIST: &str = "conflist";
const ENDINGS: [&str; 3] = ["conf", LIST, "json"];

/// A configuration that has a main plugin.
pub(super) struct Active {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    /// Who may read it is its owner's business, and stays so.
    pub(super) mode: u32,
    pub(super) object: RawObject,
    pub(super) shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// With a list of plugins.
    List,
    /// Of one plugin.
    Plain,
}

/// A list of the installer's own counts for the plain configuration that it was made of.
pub(super) fn find(directory: &Path) -> Result<Option<Active>, InstallError> {
    for path in all(directory)? {
        if path.to_string_lossy().ends_with(OWN_ENDING) {
            continue;
        }
        if let Some(active) = read(&path)? {
            return Ok(Some(active));
        }
    }
    Ok(None)
}

/// Files that a runtime looks at, in its order.
pub(super) fn all(directory: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let failed = |error| InstallError::io("list", directory, error);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
    }
    let looked_at = |path: &PathBuf| {
        path.extension()
            .is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
            && path.is_file()
    };
    paths.retain(looked_at);
    paths.sort_unstable();
    Ok(paths)
}

/// `None` for what no runtime can use: its owner may be writing it just now.
pub(super) fn read(path: &Path) -> Result<Option<Active>, InstallError> {
    let (bytes, mode) = match content(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| InstallError::io("read", path, error))?,
    };
    let Ok(object) = serde_json::from_slice::<RawObject>(&bytes) else {
        return Ok(None);
    };
    let is_list = path.extension().is_some_and(|ending| ending == LIST);
    let shape = if is_list && conflist::main_plugins(&object).is_some_and(|all| all > 0) {
        Shape::List
    } else if !is_list && object.get("type").is_some() {
        Shape::Plain
    } else {
        return Ok(None);
    };
    Ok(Some(Active {
        path: path.to_path_buf(),
        bytes,
        mode,
        object,
        shape,
    }))
}

/// A file's bytes and the bits of its permissions.
fn content(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let mut file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((bytes, mode))
}
