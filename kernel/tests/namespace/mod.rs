//! Network namespaces for tests.

#![allow(dead_code)] // Each suite uses its part.
#![allow(clippy::expect_used)] // Helpers of tests fail as tests do.

use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, unshare};

/// Runs `test` on a thread of its own, in a network namespace of its own with `lo` up. Both are gone afterwards.
pub(crate) fn in_new_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let outcome = thread::scope(|scope| {
        scope
            .spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace needs root");
                sh("ip link set lo up");
                test()
            })
            .join()
    });
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs a shell command in this thread's namespace and gives what it prints; it must succeed.
pub(crate) fn sh(script: &str) -> String {
    let output = Command::new("/bin/sh")
        .args(["-ec", script])
        .stdin(Stdio::null())
        .output()
        .expect("sh starts");
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("output is text")
}

/// Runs `test` without `CAP_NET_ADMIN`, in a network namespace of its own: the test named `name`, which calls this, is run once more by
/// a process without it.
pub(crate) fn without_net_admin(name: &str, test: impl FnOnce()) {
    const CHILD: &str = "SLUICE_TEST_WITHOUT_NET_ADMIN";
    if std::env::var_os(CHILD).is_some() {
        return test();
    }
    in_new_namespace(|| {
        let child = Command::new("setpriv")
            .args(["--inh-caps=-net_admin", "--bounding-set=-net_admin"])
            .arg(std::env::current_exe().expect("a test has a program"))
            .args(["--exact", name])
            .env(CHILD, "1")
            .output()
            .expect("setpriv starts");
        let told = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && told.contains("1 passed"),
            "{told}"
        );
    });
}

/// Says that a test could not run here. Where CI runs everything must run.
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|v| v != "true"),
        "skipped in CI: {reason}"
    );
    eprintln!("SKIP: {reason}");
}
