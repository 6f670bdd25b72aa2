//! Debian packages that hold kernels: found and downloaded by apt, never installed.

use std::path::Path;
use std::process::Command;

use super::error::{VmError, failed};

/// A package file, as `apt-get download --print-uris` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    url: String,
    /// `NAME_VERSION_ARCHITECTURE.deb`
    pub(super) file: String,
    /// `SHA256:...`
    hash: String,
}

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

/// The packages that make the kernel of this name, the one with the kernel itself first.
pub(super) fn of_kernel(name: &str) -> Result<Vec<Package>, VmError> {
    if name == "ubuntu-5.4" {
        let pool = "http://archive.ubuntu.com/ubuntu/pool/main/l/linux";
        let package = |(file, hash): (&str, &str)| Package {
            url: format!("{pool}/{file}"),
            file: file.to_owned(),
            hash: hash.to_owned(),
        };
        return Ok(UBUNTU_5_4.map(package).to_vec());
    }
    // `linux-image-amd64` is an empty package that depends on the newest kernel's.
    let depends = output(Command::new("apt-cache").args(["depends", "--important", name]))?;
    let package = newest_kernel(&depends).unwrap_or(name);
    let uris = output(Command::new("apt-get").args(["download", "--print-uris", package]))?;
    let packages: Vec<Package> = uris.lines().filter_map(parse_uri).collect();
    if packages.is_empty() {
        return Err(VmError::NotAKernel {
            name: name.to_owned(),
            lacks: "package that apt can download".to_owned(),
        });
    }
    Ok(packages)
}

impl Package {
    /// Unpacks the package below a directory; the file itself is gone afterwards.
    pub(super) fn unpack(&self, into: &Path) -> Result<(), VmError> {
        let file = into.join(&self.file);
        output(
            Command::new("/usr/lib/apt/apt-helper")
                .args(["-oAPT::Sandbox::User=root", "download-file", &self.url])
                .arg(&file)
                .arg(&self.hash),
        )?;
        output(Command::new("dpkg-deb").arg("-x").arg(&file).arg(into))?;
        std::fs::remove_file(&file).map_err(failed(format!("remove {}", file.display())))
    }
}

/// What a program prints; an error with what it says where it fails.
pub(super) fn output(command: &mut Command) -> Result<String, VmError> {
    let result = command.env("LC_ALL", "C").output();
    let failed = |message| VmError::Program {
        program: format!("{command:?}"),
        message,
    };
    match result {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
        Err(error) => Err(failed(error.to_string())),
    }
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

/// `'URL' FILE SIZE HASH`
fn parse_uri(line: &str) -> Option<Package> {
    let mut words = line.split_whitespace();
    let url = words.next()?.strip_prefix('\'')?.strip_suffix('\'')?;
    let file = words.next()?;
    let hash = words.nth(1)?;
    Some(Package {
        url: url.to_owned(),
        file: file.to_owned(),
        hash: hash.to_owned(),
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

    #[test]
    fn an_address_that_apt_prints_is_understood() {
        let line =
            "'http://deb.debian.org/a/l_6.1-1_amd64.deb' l_6.1-1_amd64.deb 70305560 SHA256:7b55";
        let package = parse_uri(line).unwrap();
        assert_eq!(package.file, "l_6.1-1_amd64.deb");
        assert_eq!(package.hash, "SHA256:7b55");
        assert_eq!(parse_uri("E: Unable to locate package x"), None);
    }
}
