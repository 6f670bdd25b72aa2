//! The installer as the long-lived process of a container.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Process 1 of a container does not end by a signal that it does not ask for, and its pod would stay for the kubelet's patience.
#[test]
fn an_installer_that_watches_ends_by_itself_when_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let inside = |name: &str| directory.path().join(name);
    for name in ["programs", "configurations"] {
        std::fs::create_dir(inside(name)).unwrap();
    }
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluice-cni"))
            .args(["install", "--watch", "--programs"])
            .arg(inside("programs"))
            .arg("--configurations")
            .arg(inside("configurations"))
            .arg("--originals")
            .arg(inside("originals"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        // The second line comes after the first look, so it watches.
        assert!(said.next().unwrap().unwrap().contains("in place"));
        assert!(
            said.next()
                .unwrap()
                .unwrap()
                .contains("no network configuration")
        );
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "{signal}: {status}");
    }
}
