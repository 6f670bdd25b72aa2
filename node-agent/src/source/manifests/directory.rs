//! The files of a directory, and whether they changed.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::ManifestError;

/// A file that was written less than this before it was read may change again without a trace: file times have the resolution of the kernel's tick.
const TIME_RESOLUTION: Duration = Duration::from_millis(50);

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    settled: bool,
}

impl Stamp {
    /// Of a file whose state cannot be told: it is read again at each look.
    pub(super) const UNKNOWN: Self = Self {
        device: 0,
        inode: 0,
        size: 0,
        modified: (0, 0),
        changed: (0, 0),
        settled: false,
    };

    fn of(metadata: &Metadata, now: SystemTime) -> Self {
        let age = metadata
            .modified()
            .ok()
            .and_then(|time| now.duration_since(time).ok());
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            settled: age.is_some_and(|age| age > TIME_RESOLUTION),
        }
    }

    /// A file that had the stamp `self` when it was read, and has `now`, need not be read again.
    pub(super) fn is_unchanged(&self, now: &Self) -> bool {
        self.settled && self == now
    }
}

/// The manifest files of a directory by name: those that end in `.yaml`, `.yml` or `.json` and do not start with a dot. Links are followed.
pub(super) fn list(directory: &Path) -> Result<BTreeMap<Arc<str>, Stamp>, ManifestError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ManifestError::Missing {
            directory: directory.to_owned(),
        },
        _ => ManifestError::Unreadable {
            directory: directory.to_owned(),
            source,
        },
    };
    let now = SystemTime::now();
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let Some(name) = path
            .file_name()
            .and_then(|name| name.to_str())
            .filter(|name| is_manifest(name))
        else {
            continue;
        };
        let stamp = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Stamp::of(&metadata, now),
            Ok(_) => continue,
            // It is gone again, or a link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // It may be a file all the same, such as one of a server that is away: whoever reads it will see.
            Err(_) => Stamp::UNKNOWN,
        };
        files.insert(Arc::from(name), stamp);
    }
    Ok(files)
}

fn is_manifest(name: &str) -> bool {
    let extension = Path::new(name)
        .extension()
        .and_then(|extension| extension.to_str());
    !name.starts_with('.') && matches!(extension, Some("yaml" | "yml" | "json"))
}
