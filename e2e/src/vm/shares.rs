//! Which directories of the host a guest sees where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::{VmError, failed};

/// The guest has these to itself.
const OWN: [&str; 3] = ["/tmp", "/run", "/dev/shm"];

/// A directory of the host, in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The host's directory.
    pub host: PathBuf,
    /// Where the guest sees it.
    pub guest: PathBuf,
    /// Whether the guest's writes reach the host. Where not, they are forgotten.
    pub writable: bool,
}

impl FromStr for Share {
    type Err = VmError;

    /// `HOST[:GUEST][:rw]`
    fn from_str(text: &str) -> Result<Self, VmError> {
        let refused = |reason| VmError::Share {
            share: text.to_owned(),
            reason,
        };
        let (paths, writable) = match text.strip_suffix(":rw") {
            Some(paths) => (paths, true),
            None => (text, false),
        };
        let (host, guest) = paths.split_once(':').unwrap_or((paths, paths));
        if guest.contains([':', ',', '\n', '\t']) {
            return Err(refused(
                "want HOST[:GUEST][:rw], paths without comma or colon",
            ));
        }
        let host = std::fs::canonicalize(host)
            .map_err(failed(format!("find the directory {host} to share")))?;
        if !host.is_dir() {
            return Err(refused("it is not a directory"));
        }
        let guest = std::path::absolute(guest)
            .map_err(failed(format!("find the directory {guest} in the guest")))?;
        Ok(Self {
            host,
            guest,
            writable,
        })
    }
}

/// Of the given paths those that the guest's own directories would hide, each at every path that leads to it.
pub(super) fn of_hidden(paths: impl IntoIterator<Item = PathBuf>) -> Vec<Share> {
    let mut shares = BTreeMap::new();
    for path in paths {
        let (Ok(path), Ok(host)) = (std::path::absolute(&path), path.canonicalize()) else {
            continue;
        };
        for guest in [path, host.clone()] {
            if OWN.iter().any(|own| is_below(&guest, Path::new(own))) {
                shares.insert(guest, host.clone());
            }
        }
    }
    let share = |(guest, host)| Share {
        host,
        guest,
        writable: false,
    };
    shares.into_iter().map(share).collect()
}

fn is_below(path: &Path, ancestor: &Path) -> bool {
    path.starts_with(ancestor) && path != ancestor
}

/// The outermost directory around `directory` that cargo knows, or itself.
pub(super) fn work_tree(directory: &Path) -> PathBuf {
    directory
        .ancestors()
        .filter(|ancestor| ancestor.join("Cargo.toml").is_file())
        .last()
        .unwrap_or(directory)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_seen_at_the_same_path_unless_told_otherwise() {
        let share: Share = "/etc".parse().unwrap();
        assert_eq!(
            (share.guest.as_path(), share.writable),
            (Path::new("/etc"), false)
        );
        let share: Share = "/etc:/mnt/etc:rw".parse().unwrap();
        assert_eq!(
            (share.guest.as_path(), share.writable),
            (Path::new("/mnt/etc"), true)
        );
    }

    #[test]
    fn a_share_of_what_is_not_a_directory_is_refused() {
        for share in ["/etc/passwd", "/no/such/directory", "/etc:/mnt:ro"] {
            assert!(share.parse::<Share>().is_err(), "{share}");
        }
    }

    #[test]
    fn only_what_the_guest_hides_is_shared_by_itself() {
        let hidden = tempfile::tempdir_in("/tmp").unwrap();
        let shares = of_hidden([hidden.path().to_owned(), "/etc".into(), "/tmp".into()]);
        assert_eq!(shares.len(), 1);
        assert_eq!(shares[0].guest, hidden.path());
    }

    #[test]
    fn a_package_lies_in_the_work_tree_of_its_workspace() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(Some(work_tree(package).as_path()), package.parent());
    }
}
