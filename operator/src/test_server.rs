//! API servers of tests.

use axum::Router;
use serde_json::json;
use sluice_api_access::{Access, Opened};
use tokio::net::TcpListener;

/// Lets one answer, as long as the test runs; how it is reached.
pub(crate) async fn start(answers: Router) -> Opened {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, answers).await });
    let kubeconfig = json!({
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "test", "user": {}}],
    });
    let path = std::env::temp_dir().join(format!("sluice-operator-{}.json", address.port()));
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let access = Access {
        kubeconfig: Some(path.clone()),
        server: None,
    };
    let opened = access.open().await.unwrap();
    std::fs::remove_file(path).unwrap();
    opened
}
