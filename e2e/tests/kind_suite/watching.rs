//! Every state that the nodes' proxies come to, one after the other: none is between two looks.

use std::io::BufReader;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use anyhow::Context;
use serde_json::{Deserializer, Value};
use sluice_e2e::lab::pace::stretched;

use super::lab::{Lab, PATIENCE};

/// Begins with their present states; it ends with the value.
pub(crate) struct Watch {
    kubectl: Child,
    proxies: Receiver<Value>,
    until: Instant,
}

impl Watch {
    pub(crate) fn begin(lab: &Lab) -> anyhow::Result<Self> {
        let watch = ["get", "nodeserviceproxies", "--watch", "--output=json"];
        let command = lab.cluster.daemon().command("kubectl", &watch);
        let mut kubectl = lab.cluster.outside().start(command)??;
        let printed = kubectl.stdout.take().context("kubectl prints nothing")?;
        let (states, proxies) = channel();
        std::thread::spawn(move || {
            let printed = Deserializer::from_reader(BufReader::new(printed)).into_iter();
            // Nobody listens after the end.
            let _ = printed
                .map_while(Result::ok)
                .try_for_each(|state| states.send(state));
        });
        Ok(Self {
            kubectl,
            proxies,
            until: Instant::now() + stretched(PATIENCE * 2),
        })
    }

    /// The next state of one of them; an error some time after the beginning.
    pub(crate) fn next(&self) -> anyhow::Result<Value> {
        let left = self.until.saturating_duration_since(Instant::now());
        let next = self.proxies.recv_timeout(left);
        next.context("what was awaited did not come")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}
