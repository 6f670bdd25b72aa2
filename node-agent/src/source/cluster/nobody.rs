//! An API server where nobody is, for tests.

use sluice_api_access::Access;
use tempfile::TempDir;

/// How to reach it; the directory has the kubeconfig, and what else the user's fields in it name.
pub(super) fn access(directory: &TempDir, user: &str) -> Access {
    let text = format!(
        "
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:1'}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {user}}}]
current-context: c"
    );
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, text).unwrap();
    Access {
        kubeconfig: Some(kubeconfig),
        server: None,
    }
}
