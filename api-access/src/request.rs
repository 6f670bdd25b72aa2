//! What a request asks, by its method and address.

use http::{Method, Uri};

/// A verb and a resource, as roles name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) verb: &'static str,
    /// With its subresource; empty for what is no resource, such as the version.
    pub(crate) resource: String,
}

impl Asked {
    pub(crate) fn of(method: &Method, uri: &Uri) -> Self {
        let mut parts = uri.path().split('/').filter(|part| !part.is_empty());
        // `/api/VERSION` or `/apis/GROUP/VERSION`.
        let before = match parts.next() {
            Some("api") => 1,
            Some("apis") => 2,
            _ => usize::MAX,
        };
        let mut parts: Vec<&str> = parts.skip(before).collect();
        if parts.len() > 2 && parts[0] == "namespaces" {
            parts.drain(..2);
        }
        let (name, subresource) = (parts.get(1), parts.get(2));
        let resource = match (parts.first(), subresource) {
            (Some(resource), Some(sub)) => format!("{resource}/{sub}"),
            (Some(resource), None) => (*resource).to_owned(),
            (None, _) => String::new(),
        };
        Self {
            verb: verb(method, name.is_some(), is_watch(uri)),
            resource,
        }
    }
}

fn is_watch(uri: &Uri) -> bool {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

fn verb(method: &Method, is_named: bool, is_watch: bool) -> &'static str {
    match *method {
        Method::GET if is_watch => "watch",
        Method::GET if is_named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_as_roles_name_it() {
        let asked = |method, path: &str| {
            let Asked { verb, resource } = Asked::of(&method, &path.parse().unwrap());
            format!("{verb} {resource}")
        };
        for (method, path, expected) in [
            (Method::GET, "/api/v1/nodes?limit=500", "list nodes"),
            (
                Method::GET,
                "/api/v1/services?&watch=true&timeoutSeconds=290",
                "watch services",
            ),
            (Method::GET, "/api/v1/nodes/node-1", "get nodes"),
            (
                Method::GET,
                "/api/v1/namespaces/default/services/kubernetes",
                "get services",
            ),
            (Method::GET, "/api/v1/namespaces/default", "get namespaces"),
            (
                Method::PATCH,
                "/apis/sluice.dev/v1alpha1/nodeserviceproxies/n/status?force=true",
                "patch nodeserviceproxies/status",
            ),
            (
                Method::PUT,
                "/apis/coordination.k8s.io/v1/namespaces/s/leases/l",
                "update leases",
            ),
            (Method::GET, "/version", "list "),
        ] {
            assert_eq!(asked(method, path), expected, "{path}");
        }
    }
}
