//! Whether the legacy variant of iptables is in use.

/// The kernel lists the legacy tables that were set up. Asking the legacy programs would set up all of them.
pub(super) fn are_in_use() -> bool {
    ["ip_tables_names", "ip6_tables_names"].iter().any(|file| {
        std::fs::read_to_string(format!("/proc/thread-self/net/{file}"))
            .is_ok_and(|names| !names.trim().is_empty())
    })
}
