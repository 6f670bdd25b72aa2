//! The version of the running kernel, by which some settings differ.

use std::fmt;
use std::str::FromStr;

const FILE: &str = "/proc/sys/kernel/osrelease";

/// Major and minor version of a Linux kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// The 6 of 6.1.0.
    pub major: u32,
    /// The 1 of 6.1.0.
    pub minor: u32,
}

/// Why the version of the kernel is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelVersionError {
    /// The kernel does not tell it.
    #[error("{FILE} cannot be read, mount /proc: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It does not start with two numbers.
    #[error("{0:?} is not a kernel release such as 6.1.0-25-amd64")]
    Syntax(String),
}

impl KernelVersion {
    /// A version by its two numbers.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// The version of the running kernel.
    pub fn running() -> Result<Self, KernelVersionError> {
        std::fs::read_to_string(FILE)?.trim_end().parse()
    }
}

impl FromStr for KernelVersion {
    type Err = KernelVersionError;

    /// Reads a release as `uname -r` prints it.
    fn from_str(release: &str) -> Result<Self, KernelVersionError> {
        let read = || {
            let (major, rest) = release.split_once('.')?;
            let end = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            Some(Self::new(major.parse().ok()?, rest[..end].parse().ok()?))
        };
        read().ok_or_else(|| KernelVersionError::Syntax(release.to_owned()))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_are_read() {
        for (release, expected) in [
            ("6.1.0-56-amd64", (6, 1)),
            ("4.19.0", (4, 19)),
            ("5.15.0-1034-aws", (5, 15)),
            ("6.18.33", (6, 18)),
            ("3.10.0-1160.el7.x86_64", (3, 10)),
            ("6.12-rc1", (6, 12)),
            ("7.0", (7, 0)),
        ] {
            let (major, minor) = expected;
            let version: KernelVersion = release.parse().unwrap();
            assert_eq!(version, KernelVersion::new(major, minor), "{release}");
        }
        assert!(KernelVersion::new(5, 10) > KernelVersion::new(5, 9));
        assert!(KernelVersion::new(5, 9) > KernelVersion::new(4, 19));
    }

    #[test]
    fn what_is_no_release_is_named() {
        for release in ["", "6", "6.", "x.1", "6.x", "-1.2", ".1"] {
            let error = release.parse::<KernelVersion>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("{release:?} is not a kernel release such as 6.1.0-25-amd64")
            );
        }
    }

    #[test]
    fn the_running_kernel_says_its_version() {
        assert!(KernelVersion::running().unwrap() >= KernelVersion::new(3, 10));
    }
}
