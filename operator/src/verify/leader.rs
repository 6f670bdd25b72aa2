//! Whether an operator leads, by the lease as it is written. One that was killed has not given it up. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::LeaseSpec;

use crate::snapshot::first_seen;

/// A leader renews its lease every few seconds. One that was not seen for so long, by a clock that may be as wrong as others, is gone.
const QUIET: SignedDuration = SignedDuration::from_mins(2);
const REMEDY: &str = "see the pods of the Deployment sluice-operator";

/// What is to be told where nobody leads.
pub(super) fn why_nobody_leads(lease: Option<&LeaseSpec>, now: Timestamp) -> Option<String> {
    let holder = lease.and_then(|lease| lease.holder_identity.as_deref());
    let renewed = lease.and_then(|lease| lease.renew_time.as_ref());
    let (Some(holder), Some(renewed)) = (holder.filter(|holder| !holder.is_empty()), renewed)
    else {
        return Some(format!("no operator leads: {REMEDY}"));
    };
    let is_quiet = now.duration_since(first_seen(renewed.0, now)) > QUIET;
    let seconds = now.duration_since(renewed.0).as_secs();
    is_quiet.then(|| format!("nobody leads: {holder} was seen last {seconds} s ago: {REMEDY}"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    fn renewed(holder: &str, seconds_ago: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Some(MicroTime(now() - SignedDuration::from_secs(seconds_ago))),
            ..LeaseSpec::default()
        }
    }

    fn told(lease: &LeaseSpec) -> Option<String> {
        why_nobody_leads(Some(lease), now())
    }

    #[test]
    fn a_leader_that_renews_its_lease_leads_by_whichever_clock() {
        for seconds_ago in [5, 120, 300, 420, -300, -4000] {
            assert_eq!(told(&renewed("pod-a", seconds_ago)), None, "{seconds_ago}");
        }
    }

    #[test]
    fn a_leader_that_died_with_the_lease_does_not_lead() {
        let words = "nobody leads: pod-a was seen last 421 s ago: see the pods of the Deployment sluice-operator";
        assert_eq!(told(&renewed("pod-a", 421)).as_deref(), Some(words));
    }

    #[test]
    fn a_lease_that_is_not_there_or_given_up_or_never_renewed_has_no_leader() {
        let words = "no operator leads: see the pods of the Deployment sluice-operator";
        assert_eq!(why_nobody_leads(None, now()).as_deref(), Some(words));
        let mut never = renewed("pod-a", 1);
        never.renew_time = None;
        for lease in [renewed("", 1), LeaseSpec::default(), never] {
            assert_eq!(told(&lease).as_deref(), Some(words));
        }
    }
}
