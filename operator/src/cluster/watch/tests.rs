use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::json;
use sluice_api_access::Opened;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::*;

/// When lists were asked for at an API server that streams none, and has none.
type Asked = Arc<Mutex<Vec<Instant>>>;

async fn lists_fail() -> (Opened, Asked) {
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    let answers = Router::new().fallback(move |request: Request| async move {
        let query = request.uri().query().unwrap_or_default();
        let code = if query.contains("sendInitialEvents") {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            noted.lock().unwrap().push(Instant::now());
            StatusCode::INTERNAL_SERVER_ERROR
        };
        let status = json!({"kind": "Status", "status": "Failure", "code": code.as_u16()});
        (code, status.to_string())
    });
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
    let access = sluice_api_access::Access {
        kubeconfig: Some(path.clone()),
        server: None,
    };
    let opened = access.open().await.unwrap();
    std::fs::remove_file(path).unwrap();
    (opened, asked)
}

#[tokio::test]
async fn lists_that_fail_are_asked_for_ever_more_seldom() {
    let (Opened { config, authority }, asked) = lists_fail().await;
    let (cluster, metrics) = (Cluster::default(), Metrics::new());
    let api = Api::all(Client::try_from(config).unwrap());
    cluster.change(|held| held.listed.extend(Kind::ALL));
    assert!(cluster.is_known());
    let follows = follow::<StoredPolicy>(api, &authority, &cluster, &metrics);
    let ends = timeout(Duration::from_secs(3), follows).await;
    assert!(ends.is_err(), "it goes on for ever");
    assert!(!cluster.is_known(), "what was listed before may be old");
    let asked = asked.lock().unwrap();
    let rests: Vec<Duration> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(
        rests.len() >= 2 && rests[1] >= rest::doubled(rest::FIRST),
        "{rests:?}"
    );
}
