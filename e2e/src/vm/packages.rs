//! Debian packages that hold kernels: found and downloaded by apt, never installed.

use std::process::Command;

use super::error::VmError;
use crate::debian_package::{DebianPackage, output};

/// The last kernel before 5.9, in which IPVS began to treat reused ports otherwise (`conn_reuse_mode`), that a
/// distribution still serves: Ubuntu 20.04 as released. It is not in Debian's lists, so the hashes stand here.
const UBUNTU_5_4: [(&str, &str); 3] = [
    (
        "linux-image-unsigned-5.4.0-26-generic_5.4.0-26.30_amd64.deb",
        "SHA256:ce10287973c2ec9925a11c6cc5f86e9faa28591962f34e94a8c586f8df01e821",
    ),
    (
        "linux-modules-5.4.0-26-generic_5.4.0-26.30_amd64.deb",
        "SHA256:82cf8aa4ab5d8b4bb78f452c7069ffc7429fe1d0e2eef13f4b35ebe0b848b1a4",
    ),
    (
        "linux-modules-extra-5.4.0-26-generic_5.4.0-26.30_amd64.deb",
        "SHA256:870f630346424ef4127e5943c590f82ab575d407a0581c53c8ca61ee66eeb384",
    ),
];

const UBUNTU_5_4_NAME: &str = "ubuntu-5.4";

/// Whether apt's lists tell where this kernel is.
pub(super) fn is_in_lists(name: &str) -> bool {
    name != UBUNTU_5_4_NAME
}

/// The packages that make the kernel of this name, the one with the kernel itself first.
pub(super) fn of_kernel(name: &str) -> Result<Vec<DebianPackage>, VmError> {
    if !is_in_lists(name) {
        let pool = "http://archive.ubuntu.com/ubuntu/pool/main/l/linux";
        let package = |(file, hash): (&str, &str)| DebianPackage {
            url: format!("{pool}/{file}"),
            file: file.to_owned(),
            hash: hash.to_owned(),
        };
        return Ok(UBUNTU_5_4.map(package).to_vec());
    }
    // `linux-image-amd64` is an empty package that depends on the newest kernel's.
    let depends = output(Command::new("apt-cache").args(["depends", "--important", name]))?;
    let package = newest_kernel(&depends).unwrap_or(name);
    let packages = DebianPackage::find(package)?;
    if packages.is_empty() {
        return Err(VmError::NotAKernel {
            name: name.to_owned(),
            lacks: "package that apt can download".to_owned(),
        });
    }
    Ok(packages)
}

fn newest_kernel(depends: &str) -> Option<&str> {
    let mut dependencies = depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    dependencies.find(|package| {
        package
            .strip_prefix("linux-image-")
            .is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_package_is_followed_to_the_newest_kernel() {
        let depends = "linux-image-amd64\n  Depends: kmod\n  Depends: linux-image-6.1.0-56-amd64\n";
        assert_eq!(newest_kernel(depends), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(
            newest_kernel("linux-image-6.1.0-56-amd64\n  Depends: kmod\n"),
            None
        );
    }
}
