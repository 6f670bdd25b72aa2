use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::json;
use sluice_api_access::Opened;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::test_server;

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
    (test_server::start(answers).await, asked)
}

#[tokio::test]
async fn lists_that_fail_are_asked_for_ever_more_seldom() {
    let (Opened { config, authority }, asked) = lists_fail().await;
    let (cluster, metrics) = (Cluster::default(), Metrics::new());
    let api = Api::all(Client::try_from(config).unwrap());
    cluster.change(|held| held.listed.extend(Kind::ALL));
    assert!(cluster.is_known());
    let asked_thrice = async {
        while asked.lock().unwrap().len() < 3 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = follow::<StoredPolicy>(api, &authority, &cluster, &metrics) => panic!("it goes on for ever"),
        in_time = timeout(Duration::from_secs(60), asked_thrice) => in_time.unwrap(),
    }
    assert!(!cluster.is_known(), "what was listed before may be old");
    let asked = asked.lock().unwrap();
    let rests: Vec<Duration> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(rests[1] >= rest::doubled(rest::FIRST), "{rests:?}");
}
