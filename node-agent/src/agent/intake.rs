//! From a source to the inbox: every change is queued, every refusal told once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sluice_service_plan::model::{AddressType, Family, ObjectName};

use super::inbox::{Batch, Cause, Inbox};
use crate::metrics::Metrics;
use crate::source::{Refusal, Source, SourceError, Update};

/// How long a source waits for changes before it is asked again.
const WAIT: Duration = Duration::from_secs(3600);
/// Rest after a source failed.
const RETRY: Duration = Duration::from_secs(1);

/// Follows a source.
#[derive(Debug)]
pub struct Intake {
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
    /// Older causes of changes are not this agent's to answer for, as kube-proxy counts too.
    started: Timestamp,
    refused: BTreeMap<&'static str, usize>,
    last_error: String,
}

impl Intake {
    /// Feeds an inbox.
    pub fn new(inbox: Arc<Inbox>, metrics: Arc<Metrics>) -> Self {
        Self {
            inbox,
            metrics,
            started: Timestamp::now(),
            refused: BTreeMap::new(),
            last_error: String::new(),
        }
    }

    /// Follows the source until the process ends, or the source does. One that fails is asked again; what it told stays in force.
    pub fn follow(mut self, source: &mut dyn Source) {
        loop {
            match source.next_update(WAIT) {
                Ok(Some(update)) => {
                    self.take(update, Instant::now());
                    self.inbox.set_listed();
                    self.last_error.clear();
                }
                Ok(None) => self.last_error.clear(),
                Err(error) => {
                    self.tell_error(&error);
                    if matches!(error, SourceError::Ended) {
                        return;
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    fn take(&mut self, update: Update, now: Instant) {
        self.tell_settled(&update.settled);
        self.tell_refused(&update.refusals);
        let changes = (update.services.len(), update.slices.len());
        let causes = self.causes(&update);
        let batch = Batch {
            services: update.services,
            slices: update.slices,
            node: update.node,
            network: None,
            policy: update.policy,
            revision: update.revision,
            causes,
        };
        if batch.is_empty() {
            return;
        }
        self.inbox.push(batch, now);
        self.metrics.sync.queued(changes, self.inbox.waiting());
    }

    fn causes(&self, update: &Update) -> BTreeMap<ObjectName, Cause> {
        let told = update.causes.iter().filter(|(_, at)| **at > self.started);
        let known = told.filter_map(|(name, at)| {
            let family = match update.slices.get(name)?.as_ref()?.address_type {
                AddressType::Ipv4 => Family::V4,
                AddressType::Ipv6 => Family::V6,
                AddressType::Fqdn => return None,
            };
            Some((name.clone(), Cause { family, at: *at }))
        });
        known.collect()
    }

    fn tell_refused(&mut self, refusals: &[Refusal]) {
        for refusal in refusals {
            tracing::warn!(
                kind = refusal.kind_label(),
                object = refusal.object,
                field = refusal.field,
                "refused: {refusal}"
            );
            self.metrics.objects.count_refusal(refusal.kind_label());
            *self.refused.entry(refusal.kind_label()).or_default() += 1;
        }
        self.metrics.objects.set_refused(&self.refused);
    }

    fn tell_settled(&mut self, settled: &[Refusal]) {
        for refusal in settled {
            tracing::info!(
                kind = refusal.kind_label(),
                object = refusal.object,
                field = refusal.field,
                "no longer refused: {refusal}"
            );
            if let Some(count) = self.refused.get_mut(refusal.kind_label()) {
                *count = count.saturating_sub(1);
            }
        }
    }

    fn tell_error(&mut self, error: &SourceError) {
        let words = error.to_string();
        if self.last_error != words {
            tracing::error!(
                error = words,
                "the source failed: what it told before stays in force"
            );
            self.last_error = words;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Kind;
    use jiff::SignedDuration;
    use sluice_service_plan::model::{EndpointSlice, NodeFacts};

    fn refusal() -> Refusal {
        Refusal {
            file: Some("web.yaml".into()),
            line: Some(3),
            kind: Some(Kind::Service),
            object: "shop/web".into(),
            field: "spec.ports".into(),
            reason: "is empty: add a port".into(),
        }
    }

    fn line<'a>(text: &'a str, start: &str) -> &'a str {
        text.lines()
            .find(|l| l.starts_with(start))
            .unwrap_or_default()
    }

    #[test]
    fn refusals_are_counted_while_they_stand_and_in_all() {
        let metrics = Arc::new(Metrics::default());
        let mut intake = Intake::new(Arc::new(Inbox::default()), metrics.clone());
        let refused = Update {
            refusals: vec![refusal()],
            ..Update::default()
        };
        let settled = Update {
            settled: vec![refusal()],
            ..Update::default()
        };
        let now = Instant::now();
        intake.take(refused.clone(), now);
        let text = metrics.text().unwrap();
        assert!(
            line(&text, "sluice_refused_objects{kind=\"Service\"}").ends_with(" 1"),
            "{text}"
        );
        intake.take(settled, now);
        intake.take(refused, now);
        let text = metrics.text().unwrap();
        assert!(
            line(&text, "sluice_refused_objects{kind=\"Service\"}").ends_with(" 1"),
            "{text}"
        );
        assert!(
            line(&text, "sluice_refusals_total{kind=\"Service\"}").ends_with(" 2"),
            "{text}"
        );
    }

    #[test]
    fn causes_count_that_are_younger_than_the_agent_and_of_a_slice_the_oldest() {
        let inbox = Arc::new(Inbox::default());
        let mut intake = Intake::new(inbox.clone(), Arc::new(Metrics::default()));
        let name = ObjectName::new("shop", "web-1");
        let slice = EndpointSlice {
            name: name.clone(),
            service: "web".into(),
            headless: false,
            address_type: AddressType::Ipv6,
            ports: Vec::new(),
            endpoints: Vec::new(),
        };
        let now = Timestamp::now();
        for seconds in [-3600, 5, 7] {
            let at = now + SignedDuration::from_secs(seconds);
            let update = Update {
                slices: BTreeMap::from([(name.clone(), Some(slice.clone()))]),
                causes: BTreeMap::from([(name.clone(), at)]),
                ..Update::default()
            };
            intake.take(update, Instant::now());
        }
        let (batch, _) = inbox.take().unwrap();
        let expected = Cause {
            family: Family::V6,
            at: now + SignedDuration::from_secs(5),
        };
        assert_eq!(batch.causes, BTreeMap::from([(name, expected)]));
    }

    #[test]
    fn changes_of_one_update_wait_together() {
        let inbox = Arc::new(Inbox::default());
        let metrics = Arc::new(Metrics::default());
        let mut intake = Intake::new(inbox.clone(), metrics.clone());
        let name = ObjectName::new("shop", "web");
        let update = Update {
            services: BTreeMap::from([(name.clone(), None)]),
            slices: BTreeMap::from([(name, None)]),
            node: Some(NodeFacts::default()),
            ..Update::default()
        };
        intake.take(update, Instant::now());
        assert_eq!(inbox.waiting(), (1, 1));
        assert!(inbox.take().unwrap().0.node.is_some());
        let text = metrics.text().unwrap();
        let pending = "kubeproxy_sync_proxy_rules_endpoint_changes_pending 1";
        assert!(text.contains(pending), "{text}");
    }
}
