//! The client's view of the probed service.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sluice_service_plan::model::Protocol;

use super::objects::PROBED_ADDRESS;
use crate::bench::{BenchError, cluster};
use crate::lab::places::{CLIENT, Place};
use crate::lab::{Lab, Probe};

/// A change may take this long: minutes for one that writes all services again, in an emulated machine.
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
        if self.is_reached(endpoint, PATIENCE)? {
            Ok(())
        } else {
            let name = endpoint.name;
            Err(BenchError::NotSo(format!("{name} was never reached")))
        }
    }

    /// Connects again and again, but not longer than `patience`: whether this endpoint answered.
    pub(super) fn is_reached(
        &self,
        endpoint: &Place,
        patience: Duration,
    ) -> Result<bool, BenchError> {
        let name = endpoint.name;
        let to = SocketAddr::new(PROBED_ADDRESS.into(), cluster::PORT);
        Ok(self.lab.namespace(&CLIENT).run(move || {
            let start = Instant::now();
            let probe = Probe::new(Protocol::Tcp, None, to).expecting_silence();
            while start.elapsed() < patience {
                if probe.run().endpoint() == Some(name) {
                    return true;
                }
                std::thread::sleep(REST);
            }
            false
        })?)
    }
}
