//! Which Services are for Sluice.

use std::collections::BTreeMap;

/// The label of a Service that names the proxy that serves it,
pub const SERVICE_PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// and the value that means Sluice, as does no such label.
pub const OUR_PROXY_NAME: &str = "sluice.dev";

/// Whether a Service with these labels is Sluice's to serve.
#[must_use]
pub fn is_ours_to_serve(labels: &BTreeMap<String, String>) -> bool {
    labels
        .get(SERVICE_PROXY_NAME)
        .is_none_or(|name| name == OUR_PROXY_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ours_unless_it_names_another_proxy() {
        let named = |name: &str| {
            is_ours_to_serve(&[(SERVICE_PROXY_NAME.to_owned(), name.to_owned())].into())
        };
        assert!(is_ours_to_serve(&BTreeMap::new()));
        assert!(named("sluice.dev"));
        assert!(!named("somebody-else"));
        assert!(!named(""));
    }
}
