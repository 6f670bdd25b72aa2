//! The door to sysctls by `/proc/sys`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{SysctlError, Sysctls, same_value};

// Of errno.h.
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const EROFS: i32 = 30;

/// [`Sysctls`] by `/proc/sys`. Tunables of the network are those of the calling thread's namespace.
#[derive(Debug)]
pub struct ProcSysctls {
    root: PathBuf,
}

impl Default for ProcSysctls {
    fn default() -> Self {
        Self::new()
    }
}

impl ProcSysctls {
    /// Of this node.
    pub fn new() -> Self {
        Self::below(Path::new("/proc/sys"))
    }

    /// Of another mount of it: in a container `/proc/sys` is often read-only, and the node's comes by another path.
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf, SysctlError> {
        let not_found = || SysctlError::NotFound {
            name: name.to_owned(),
        };
        let mut path = self.root.clone();
        for part in name.split('.') {
            let part = part.replace('/', ".");
            if part.is_empty() || part.chars().all(|c| c == '.') || part.contains('\0') {
                return Err(not_found());
            }
            path.push(part);
        }
        if path.is_dir() {
            Err(not_found())
        } else {
            Ok(path)
        }
    }
}

impl Sysctls for ProcSysctls {
    fn read(&mut self, name: &str) -> Result<String, SysctlError> {
        let text = fs::read_to_string(self.path(name)?).map_err(|e| error(name, "", "read", e))?;
        Ok(text.trim_end().to_owned())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<Option<String>, SysctlError> {
        let old = self.read(name)?;
        if same_value(&old, value) {
            return Ok(None);
        }
        // With a line end, as sysctl(8) does it: nothing at all would not be written, and is a value too.
        fs::write(self.path(name)?, format!("{value}\n"))
            .map_err(|e| error(name, value, "write", e))?;
        Ok(Some(old))
    }
}

fn error(name: &str, value: &str, operation: &'static str, source: io::Error) -> SysctlError {
    let name = name.to_owned();
    match source.raw_os_error() {
        Some(ENOENT) => SysctlError::NotFound { name },
        Some(EROFS | EPERM | EACCES) => SysctlError::ReadOnly { name },
        Some(EINVAL) => SysctlError::InvalidValue {
            name,
            value: value.to_owned(),
        },
        _ => SysctlError::Io {
            name,
            operation,
            source,
        },
    }
}
