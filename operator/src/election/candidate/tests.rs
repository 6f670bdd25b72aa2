use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use sluice_api_access::Opened;

use super::*;
use crate::test_server;

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/sluice-system/leases/sluice-operator";

/// The lease of an API server on which a renewal arrives after the first answer.
#[derive(Debug)]
struct Stored {
    version: u32,
    holder: Value,
    renewal_is_on_its_way: bool,
}

impl Stored {
    fn get(&mut self) -> String {
        let lease = json!({
            "metadata": {"name": LEASE, "resourceVersion": self.version.to_string()},
            "spec": {"holderIdentity": self.holder},
        });
        self.version += u32::from(self.renewal_is_on_its_way);
        self.renewal_is_on_its_way = false;
        lease.to_string()
    }

    fn put(&mut self, lease: String) -> (StatusCode, String) {
        let sent: Value = serde_json::from_str(&lease).unwrap();
        let version = json!(self.version.to_string());
        if sent["metadata"]["resourceVersion"] != version {
            let status = json!({"kind": "Status", "status": "Failure", "code": 409});
            return (StatusCode::CONFLICT, status.to_string());
        }
        self.version += 1;
        self.holder = sent["spec"]["holderIdentity"].clone();
        (StatusCode::OK, lease)
    }
}

/// What becomes of a lease of `holder` that the replica `us` gives up.
async fn given_up(holder: &str) -> Value {
    let stored = Arc::new(Mutex::new(Stored {
        version: 1,
        holder: json!(holder),
        renewal_is_on_its_way: true,
    }));
    let (asked, told) = (Arc::clone(&stored), Arc::clone(&stored));
    let answers = get(move || async move { asked.lock().unwrap().get() })
        .put(move |lease: String| async move { told.lock().unwrap().put(lease) });
    let Opened { config, authority } = test_server::start(Router::new().route(PATH, answers)).await;
    let client = Client::try_from(config).unwrap();
    let us = Candidate::new(client, "sluice-system", "us".to_owned(), authority);
    us.give_up().await;
    stored.lock().unwrap().holder.clone()
}

#[tokio::test]
async fn a_lease_is_given_up_though_a_last_renewal_comes_between_unless_it_is_anothers() {
    assert_eq!(given_up("us").await, Value::Null);
    assert_eq!(given_up("another").await, "another");
}
