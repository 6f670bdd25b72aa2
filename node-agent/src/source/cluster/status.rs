//! The status of this node's object: what it says (pure), and who writes it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use sluice_api_access::with_causes;
use sluice_crds::v1alpha1::conditions::{HEALTHY, PROGRAMMED, SUPPORTED};
use sluice_crds::v1alpha1::{
    API_VERSION, ActiveMode, Capabilities, NODE_SERVICE_PROXY, NodeServiceProxy,
    NodeServiceProxyStatus,
};
use tokio::sync::watch;

use super::super::AgentState;
use super::guarded::Guarded;
use super::rest::Failures;
use super::trouble::UNAUTHORIZED;
use super::view::Own;
use crate::agent::Report;
use crate::capabilities::{Known, try_out};
use crate::settings::{NodeNetworks, NodeSettings};

const FIELD_MANAGER: &str = "sluice-agent";
/// Between two writes, and two looks at health.
const REST: Duration = Duration::from_secs(1);
/// A write that is refused is tried again at the latest after about so long.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// What does not last this long is not told: a sync that fails once, a new revision that is programmed soon.
const SETTLED: Duration = Duration::from_secs(2);
/// What the node can run is tried again after so long: somebody may have installed or loaded what was missing.
const TRY_AGAIN: Duration = Duration::from_secs(60 * 60);
/// An API server takes conditions with messages of at most so many bytes.
const LONGEST_MESSAGE: usize = 32_768;

/// What the status is made of.
struct Facts<'a> {
    own: &'a Own,
    report: &'a Report,
    /// Why the agent is not healthy.
    reasons: &'a [String],
    capabilities: &'a Capabilities,
}

/// What a condition says.
struct Said {
    kind: &'static str,
    is_so: bool,
    reason: &'static str,
    message: String,
}

impl Facts<'_> {
    /// The status; what stays the same as in `own.status` keeps its time.
    fn status(&self, now: Timestamp) -> NodeServiceProxyStatus {
        let conditions = [self.supported(), self.programmed(), self.healthy()];
        NodeServiceProxyStatus {
            observed_revision: self
                .report
                .revision
                .as_ref()
                .map(|revision| revision.name.to_string()),
            active_mode: self.report.mode,
            service_ports: Some(self.report.service_ports),
            capabilities: Some(self.capabilities.clone()),
            conditions: conditions
                .into_iter()
                .map(|said| self.condition(said, now))
                .collect(),
        }
    }

    fn asked_mode(&self) -> Option<ActiveMode> {
        self.own.asked.as_ref().map(|(_, mode)| *mode)
    }

    /// Why the mode that is asked for is not taken.
    fn lack(&self) -> Option<String> {
        let refused = self.report.refused.as_ref();
        let refused = refused.filter(|refused| Some(refused.mode) == self.asked_mode())?;
        let serving = self
            .report
            .mode
            .map_or("nothing".to_owned(), |m| m.to_string());
        Some(format!(
            "the node cannot run mode {}, {serving} serves: {}; install what is missing, or choose another mode for this node",
            refused.mode, refused.reason
        ))
    }

    fn supported(&self) -> Said {
        let (is_so, reason, message) = if let Some(problem) = &self.own.problem {
            let message = format!("{problem}; the last settings stay in force");
            (false, "Invalid", message)
        } else if let Some(lack) = self.lack() {
            (false, "ModeNotAvailable", lack)
        } else if self.report.conditions.is_empty() {
            let message = "the node can run these settings".to_owned();
            (true, "Supported", message)
        } else {
            (
                true,
                "SettingsNotInForce",
                self.report.conditions.join("; "),
            )
        };
        Said {
            kind: SUPPORTED,
            is_so,
            reason,
            message,
        }
    }

    fn programmed(&self) -> Said {
        let asked = self.own.asked.as_ref().map(|(revision, _)| revision);
        let has_it = asked.is_some() && asked == self.report.revision.as_ref();
        let (is_so, reason, message) = if let Some(problem) = &self.own.problem {
            (false, "Invalid", problem.clone())
        } else if let Some(lack) = self.lack() {
            (false, "ModeNotAvailable", lack)
        } else if let Some(failure) = &self.report.failure {
            (false, "SyncFailed", format!("{failure}; it is tried again"))
        } else if has_it && self.report.programmed && self.report.mode == self.asked_mode() {
            let message = "the kernel holds what the revision asks for".to_owned();
            (true, "Programmed", message)
        } else {
            let message = "the kernel is being programmed".to_owned();
            (false, "Pending", message)
        };
        Said {
            kind: PROGRAMMED,
            is_so,
            reason,
            message,
        }
    }

    fn healthy(&self) -> Said {
        let is_so = self.reasons.is_empty();
        Said {
            kind: HEALTHY,
            is_so,
            reason: if is_so { "Healthy" } else { "Unhealthy" },
            message: if is_so {
                "the agent keeps up with changes".to_owned()
            } else {
                self.reasons.join("; ")
            },
        }
    }

    fn condition(&self, said: Said, now: Timestamp) -> Condition {
        let status = if said.is_so { "True" } else { "False" };
        let mut written = self.own.status.conditions.iter();
        let before = written.find(|c| c.type_ == said.kind && c.status == status);
        Condition {
            type_: said.kind.to_owned(),
            status: status.to_owned(),
            reason: said.reason.to_owned(),
            message: shortened(said.message),
            observed_generation: Some(self.own.generation),
            last_transition_time: before.map_or(Time(now), |c| c.last_transition_time.clone()),
        }
    }
}

fn shortened(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        let mut end = LONGEST_MESSAGE - 3;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push_str("...");
    }
    message
}

/// The new status says something else, not only another number: how long changes have waited is another one every second.
fn is_news(new: &NodeServiceProxyStatus, old: &NodeServiceProxyStatus) -> bool {
    let without_numbers = |status: &NodeServiceProxyStatus| {
        let mut status = NodeServiceProxyStatus {
            service_ports: None,
            ..status.clone()
        };
        let mut conditions = status.conditions.iter_mut();
        if let Some(healthy) = conditions.find(|c| c.type_ == HEALTHY) {
            healthy.message.retain(|c| !c.is_ascii_digit());
        }
        status
    };
    without_numbers(new) != without_numbers(old)
}

/// What was written, until the watch tells it too.
#[derive(Debug, Default)]
struct Written(Option<(Option<String>, NodeServiceProxyStatus)>);

impl Written {
    fn set(&mut self, own: &Own, status: NodeServiceProxyStatus) {
        self.0 = Some((own.uid.clone(), status));
    }

    /// The object with the status that it has by now.
    fn correct(&mut self, own: &mut Own) {
        let Some((uid, status)) = &self.0 else {
            return;
        };
        if *uid != own.uid || !is_news(status, &own.status) {
            // Another object, or it came back. From here on what is there counts, whoever wrote it.
            self.0 = None;
        } else {
            own.status.clone_from(status);
        }
    }
}

/// Something is not as it should be, and that may pass.
fn may_pass(status: &NodeServiceProxyStatus) -> bool {
    let is_passing = |c: &Condition| {
        c.status == "False" && matches!(c.reason.as_str(), "Pending" | "SyncFailed" | "Unhealthy")
    };
    status.conditions.iter().any(is_passing)
}

/// Writes the status whenever it says something new.
pub(super) struct StatusWriter {
    api: Api<Guarded<NodeServiceProxy>>,
    node_name: Arc<str>,
    own: watch::Receiver<Option<Own>>,
    state: AgentState,
    known: Known,
    /// When the node is tried again.
    next_trial: Instant,
    /// What was refused last, so that it is said once.
    refused: Option<String>,
    failures: Failures,
}

impl StatusWriter {
    pub(super) fn new(
        client: Client,
        node_name: &Arc<str>,
        own: watch::Receiver<Option<Own>>,
        state: AgentState,
    ) -> Self {
        Self {
            api: Api::all(client),
            node_name: Arc::clone(node_name),
            own,
            state,
            known: Known::default(),
            next_trial: Instant::now(),
            refused: None,
            failures: Failures::default(),
        }
    }

    /// Goes on as long as the process does.
    pub(super) async fn run(mut self) {
        let mut written = Written::default();
        let mut passing_since = None;
        let mut rest = Duration::ZERO;
        loop {
            self.try_node_if_due().await;
            self.wait(std::mem::take(&mut rest)).await;
            let Some(mut own) = self.own.borrow_and_update().clone() else {
                written = Written::default();
                continue;
            };
            written.correct(&mut own);
            let status = self.status(&own);
            if !is_news(&status, &own.status) {
                passing_since = None;
                continue;
            }
            if may_pass(&status) {
                let since = *passing_since.get_or_insert_with(Instant::now);
                if since.elapsed() < SETTLED {
                    continue;
                }
            }
            passing_since = None;
            match self.write(&status).await {
                Ok(stored) => {
                    written.set(&own, stored.unwrap_or(status));
                    rest = REST;
                }
                Err(error) => {
                    written = Written::default();
                    rest = self.refused(&error);
                }
            }
        }
    }

    /// Until something may be new; health has to be looked at. After a write or its refusal, first a rest.
    async fn wait(&mut self, rest: Duration) {
        tokio::time::sleep(rest).await;
        tokio::select! {
            Ok(()) = self.own.changed() => {}
            Ok(()) = self.state.report.changed() => {}
            () = tokio::time::sleep(REST) => {}
        }
    }

    /// Trials take a moment, in which nothing else of this thread should wait.
    async fn try_node_if_due(&mut self) {
        if Instant::now() < self.next_trial {
            return;
        }
        self.next_trial = Instant::now() + TRY_AGAIN;
        let tried = tokio::task::spawn_blocking(|| {
            let policy = sluice_crds::v1alpha1::ServiceProxyPolicySpec::default();
            try_out(&NodeSettings::resolve(&policy, NodeNetworks::default()))
        });
        match tried.await {
            Ok(tried) => self.known.tried(tried),
            Err(error) => tracing::warn!(%error, "what the node can run could not be tried"),
        }
    }

    fn status(&mut self, own: &Own) -> NodeServiceProxyStatus {
        let report = self.state.report.borrow_and_update().clone();
        let facts = Facts {
            own,
            report: &report,
            reasons: &self.state.health.reasons(),
            capabilities: &self.known.by(&report),
        };
        facts.status(Timestamp::now())
    }

    /// Returns what the API server made of it.
    async fn write(
        &mut self,
        status: &NodeServiceProxyStatus,
    ) -> Result<Option<NodeServiceProxyStatus>, kube::Error> {
        let object = json!({
            "apiVersion": API_VERSION,
            "kind": NODE_SERVICE_PROXY,
            "metadata": {"name": &*self.node_name},
            "status": status,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let stored = self
            .api
            .patch_status(&self.node_name, &parameters, &Patch::Apply(object))
            .await?;
        self.failures.end();
        self.state.metrics.api.count_status_write();
        if self.refused.take().is_some() {
            tracing::info!("the status of this node is written again");
        }
        // Its spec may be one that only a newer agent can read.
        Ok(stored.0.ok().and_then(|object| object.status))
    }

    /// Says it, if it is new; returns how long to rest.
    fn refused(&mut self, error: &kube::Error) -> Duration {
        let words = with_causes(error);
        self.state.metrics.api.count_status_refusal();
        if self.refused.as_ref() != Some(&words) {
            tracing::warn!(
                error = words,
                "the status of this node cannot be written; the node serves on, and it is tried again: {}",
                remedy(error)
            );
            self.refused = Some(words);
        }
        self.failures.rest(LONGEST_REST).max(REST)
    }
}

fn remedy(error: &kube::Error) -> &'static str {
    let code = match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    };
    match code {
        Some(401) => UNAUTHORIZED,
        Some(403) => {
            "let the agent's service account patch nodeserviceproxies/status, for this node at least"
        }
        Some(404) => "the operator makes the object anew",
        Some(_) => "see the API server's log",
        None => "check address and network",
    }
}

#[cfg(test)]
mod tests;
