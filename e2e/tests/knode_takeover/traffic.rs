//! Steady load that no take-over may disturb.

use std::net::SocketAddr;
use std::time::Instant;

use sluice_e2e::lab::Lab;
use sluice_e2e::lab::load::{Load, Route};
use sluice_e2e::lab::pace::{patience, rate};
use sluice_e2e::lab::places::{A2, CLIENT, NODE, Place, ROUTER};

const CONNECTIONS_A_SECOND: u32 = 60;
/// What is enough load.
const ENOUGH: usize = 100;

/// All that a change could break.
pub(crate) struct Traffic {
    started: Instant,
    loads: Vec<(&'static str, Load)>,
}

impl Traffic {
    pub(crate) fn start(lab: &Lab, vip: SocketAddr) -> Self {
        let route = |from: Place, to| Route {
            from,
            to,
            patience: patience(),
        };
        let node_port = SocketAddr::new(NODE.v4.into(), 30080);
        let new = |from, to| {
            Load::new_connections(lab, route(from, to), rate(CONNECTIONS_A_SECOND)).unwrap()
        };
        let kept = |from| Load::long_lived(lab, route(from, vip), 8, rate(20)).unwrap();
        let loads = vec![
            ("a client outside to the cluster IP", new(CLIENT, vip)),
            ("a client outside to the node port", new(CLIENT, node_port)),
            ("a pod to the cluster IP", new(A2, vip)),
            ("the node to the cluster IP", new(NODE, vip)),
            ("kept connections", kept(CLIENT)),
            ("kept connections of the node's own", kept(NODE)),
        ];
        let started = Instant::now();
        Self { started, loads }
    }

    /// Prints what has been done by now, so that a failure can be told from its time.
    pub(crate) fn note(&self, done: &str) {
        eprintln!("  {:.1?} of load: {done}", self.started.elapsed());
    }

    pub(crate) fn assert_nothing_failed(self) {
        for (who, mut load) in self.loads {
            load.wait_until(|seen| seen.len() > ENOUGH);
            let report = load.stop().unwrap();
            eprintln!(
                "  {who}: {} attempts, {} SYNs sent again, slowest {:?}, {:?}",
                report.attempts.len(),
                report.syn_retransmits,
                report.slowest(),
                report.answers()
            );
            assert_eq!(report.failures(), [], "{who}");
            assert_eq!(report.syn_retransmits, 0, "{who}");
            assert!(report.attempts.len() > ENOUGH, "{who}: too little load");
            assert!(
                !report.answers().contains_key(ROUTER.name),
                "{who}: not translated"
            );
        }
    }
}
