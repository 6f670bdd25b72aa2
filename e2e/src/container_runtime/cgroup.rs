//! The control group below which containers have theirs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

const MOUNTED: &str = "/sys/fs/cgroup";
/// The kernel may need a moment to see that the last process is gone.
const TRIES: usize = 50;

/// A name at the top of every hierarchy. The runtime makes the groups; they are removed with the value.
#[derive(Debug)]
pub(super) struct Cgroup {
    name: String,
}

impl Cgroup {
    pub(super) fn new(name: &str) -> Self {
        let name = name.to_owned();
        Self { name }
    }

    /// `cgroup_parent` of a pod.
    pub(super) fn of_pod(&self, pod: &str) -> String {
        format!("/{}/{pod}", self.name)
    }

    /// In the only hierarchy of version 2, or in each of version 1.
    fn paths(&self) -> Vec<PathBuf> {
        let top = Path::new(MOUNTED);
        let mounted = fs::read_dir(top).into_iter().flatten().flatten();
        let hierarchies = mounted.map(|entry| entry.path()).chain([top.to_owned()]);
        hierarchies
            .map(|hierarchy| hierarchy.join(&self.name))
            .filter(|path| path.is_dir())
            .collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for path in self.paths() {
            for _ in 0..TRIES {
                if remove(&path).is_ok() {
                    break;
                }
                sleep(Duration::from_millis(20));
            }
        }
    }
}

/// From the leaves up.
fn remove(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}
