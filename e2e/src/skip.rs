//! What cannot run on a kernel that lacks something: reported, and a failure where `CI=true` promises such a kernel.

/// Reports that something cannot run here.
///
/// # Panics
///
/// With `CI=true` in the environment.
pub fn skip(what: &str, reason: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "CI must run this, but cannot: {what}: {reason}"
    );
    eprintln!("SKIP: {what}: {reason}");
}
