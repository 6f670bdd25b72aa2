//! Agents that say what agents say, without a data plane.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_e2e::control_plane::{Api, Kubectl};

const LOOKS_EVERY: Duration = Duration::from_millis(100);
const LONG_AGO: &str = "2026-11-01T00:00:00Z";

/// What the agents shall do, and what they saw.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Nodes that cannot run IPVS.
    without_ipvs: Mutex<BTreeSet<String>>,
    /// Nodes whose agent says nothing.
    pub(crate) silent: Mutex<BTreeSet<String>>,
    /// Most nodes that had a revision which they had not taken, though they had taken an earlier one.
    pub(crate) most_moving: AtomicUsize,
    ends: AtomicBool,
}

impl Orders {
    /// A node cannot run IPVS.
    pub(crate) fn no_ipvs_on(&self, node: &str) {
        self.without_ipvs.lock().unwrap().insert(node.to_owned());
    }
}

/// Agents of all nodes. They end with the value.
pub(crate) struct Agents {
    pub(crate) orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

impl Agents {
    pub(crate) fn start(api: Api, kubectl: Kubectl) -> Self {
        let orders = Arc::new(Orders::default());
        let theirs = Arc::clone(&orders);
        let thread = std::thread::spawn(move || {
            while !theirs.ends.load(Ordering::Relaxed) {
                look(&api, &kubectl, &theirs);
                std::thread::sleep(LOOKS_EVERY);
            }
        });
        Self {
            orders,
            thread: Some(thread),
        }
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.orders.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look(api: &Api, kubectl: &Kubectl, orders: &Orders) {
    // The definitions may be missing, or the API server.
    let Ok(list) = api.get("/apis/sluice.dev/v1alpha1/nodeserviceproxies") else {
        return;
    };
    let silent = orders.silent.lock().unwrap().clone();
    let without = orders.without_ipvs.lock().unwrap().clone();
    let mut moving = 0;
    let mut answers = Vec::new();
    for object in list.body["items"].as_array().into_iter().flatten() {
        let observed = &object["status"]["observedRevision"];
        if !observed.is_null() && *observed != object["spec"]["revision"] {
            moving += 1;
        }
        let name = object["metadata"]["name"].as_str().unwrap();
        if !silent.contains(name) && !has_answered(object) {
            answers.push(answer(object, !without.contains(name)));
        }
    }
    orders.most_moving.fetch_max(moving, Ordering::Relaxed);
    if answers.is_empty() {
        return;
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": answers}).to_string();
    let apply = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=sluice-agent",
        "--subresource=status",
        // A status alone is no whole object.
        "--validate=false",
        "-f",
        "-",
    ];
    // An object may be gone meanwhile.
    let _ = kubectl.answer(&apply, &list);
}

fn has_answered(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| {
        c["type"] == "Healthy" && c["observedGeneration"] == object["metadata"]["generation"]
    })
}

/// What an agent says of what its node shall run.
fn answer(object: &Value, can_run_ipvs: bool) -> Value {
    let spec = &object["spec"];
    let cannot = spec["mode"] == "IPVS" && !can_run_ipvs;
    let condition = |kind: &str, is_so: bool, reason: &str, message: &str| {
        json!({
            "type": kind, "status": if is_so { "True" } else { "False" }, "reason": reason, "message": message,
            "observedGeneration": object["metadata"]["generation"], "lastTransitionTime": LONG_AGO,
        })
    };
    let why = if cannot { "the kernel has no IPVS" } else { "" };
    let reason = |good: &'static str| if cannot { "ModeNotAvailable" } else { good };
    json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "NodeServiceProxy",
        "metadata": {"name": object["metadata"]["name"]},
        "status": {
            "observedRevision": spec["revision"],
            "activeMode": if cannot { json!("IPTables") } else { spec["mode"].clone() },
            "capabilities": {"kernel": "6.1.0", "iptables": ["NFT"], "ipvs": can_run_ipvs, "ipset": true, "nftables": true},
            "conditions": [
                condition("Supported", !cannot, reason("Supported"), why),
                condition("Programmed", !cannot, reason("Programmed"), why),
                condition("Healthy", true, "Healthy", ""),
            ],
        },
    })
}
