//! The client's view of the probed service.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sluice_service_plan::model::Protocol;

use super::objects::PROBED_ADDRESS;
use crate::bench::{BenchError, cluster};
use crate::lab::places::{CLIENT, Place};
use crate::lab::{Lab, Probe};

/// kube-proxy with iptables-nft takes minutes for a first program.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Between two connections.
const REST: Duration = Duration::from_millis(1);

pub(super) struct Probed<'a> {
    lab: &'a Lab,
}

impl<'a> Probed<'a> {
    pub(super) fn new(lab: &'a Lab) -> Self {
        Self { lab }
    }

    /// Connects again and again until this endpoint answers.
    pub(super) fn wait_for(&self, endpoint: &Place) -> Result<(), BenchError> {
        let name = endpoint.name;
        let to = SocketAddr::new(PROBED_ADDRESS.into(), cluster::PORT);
        let answered = self.lab.namespace(&CLIENT).run(move || {
            let start = Instant::now();
            let probe = Probe::new(Protocol::Tcp, None, to).expecting_silence();
            while start.elapsed() < PATIENCE {
                if probe.run().endpoint() == Some(name) {
                    return true;
                }
                std::thread::sleep(REST);
            }
            false
        })?;
        if answered {
            Ok(())
        } else {
            Err(BenchError::NotSo(format!("{name} was never reached")))
        }
    }
}
