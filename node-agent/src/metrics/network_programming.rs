//! How long changes of endpoints take from their cause to the kernel, by kube-proxy's name.

use jiff::Timestamp;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sluice_service_plan::model::Family as IpFamily;

use super::labels::{FamilyLabel, family_name};

/// The metric.
#[derive(Debug)]
pub struct NetworkProgrammingMetrics {
    duration: Family<FamilyLabel, Histogram, fn() -> Histogram>,
}

/// kube-proxy's, in seconds: a quarter and a half; by one to a minute, by five to two minutes, by thirty to five minutes.
fn buckets() -> impl Iterator<Item = f64> {
    let whole = (1..60)
        .chain((60..120).step_by(5))
        .chain((120..=300).step_by(30));
    [0.25, 0.5].into_iter().chain(whole.map(f64::from))
}

impl NetworkProgrammingMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            duration: Family::new_with_constructor(|| Histogram::new(buckets())),
        };
        registry.register(
            "kubeproxy_network_programming_duration_seconds",
            "Time from the cause of an EndpointSlice's change, as its annotation tells, until the kernel held it",
            metrics.duration.clone(),
        );
        metrics
    }

    /// The kernel holds now what this moment caused.
    pub fn programmed(&self, family: IpFamily, cause: Timestamp, now: Timestamp) {
        let label = FamilyLabel {
            ip_family: family_name(family),
        };
        // Another machine's clock told the cause.
        let took = now.duration_since(cause).as_secs_f64().max(0.0);
        self.duration.get_or_create(&label).observe(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_are_those_of_kube_proxy() {
        let buckets: Vec<f64> = buckets().collect();
        assert_eq!(buckets.len(), 2 + 59 + 12 + 7);
        assert_eq!(&buckets[..4], [0.25, 0.5, 1.0, 2.0]);
        assert_eq!(&buckets[59..63], [58.0, 59.0, 60.0, 65.0]);
        assert_eq!(
            &buckets[71..],
            [
                110.0, 115.0, 120.0, 150.0, 180.0, 210.0, 240.0, 270.0, 300.0
            ]
        );
    }
}
