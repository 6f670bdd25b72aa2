//! Names of network interfaces in a policy.

use kube::core::Rule;

use super::invalid::Checker;
use super::schema::{literal, rule, says_with};

/// Interface names have at most 15 bytes (`IFNAMSIZ`) and no white space or slash. A final `+` would be a wildcard to iptables.
pub(super) fn check_interface_name(name: &str, c: &mut Checker) {
    let acceptable = |b: u8| {
        b.is_ascii_graphic()
            && !matches!(b, b'/' | b':' | b'+' | b'"' | b'\'' | b'!' | b'\\' | b'#')
    };
    if name.is_empty() || name.len() > 15 || !name.bytes().all(acceptable) {
        c.wrong(format!("{name:?} {NO_INTERFACE_NAME}"));
    }
}

const NO_INTERFACE_NAME: &str =
    "is not an interface name: use 1 to 15 letters, digits, dots, dashes or underscores";

/// The same as [`check_interface_name`].
pub(super) fn interface_name_rules() -> [Rule; 1] {
    let acceptable = literal(r"^[$-&(-*,-.0-9;-\[\]-~]{1,15}$");
    [rule(
        "",
        &format!("self.matches({acceptable})"),
        says_with(
            format_args!("%s {NO_INTERFACE_NAME}"),
            &["strings.quote(self)"],
        ),
    )]
}
