//! A lease as this replica has seen it change. Pure.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::LeaseSpec;

use super::LASTS;

/// A holder that says its lease lasts longer is not believed.
const LONGEST: Duration = Duration::from_secs(60);

/// Whose a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Us,
    Nobody,
    Another,
}

/// What was seen last, and since when it has been so.
#[derive(Debug, Default)]
pub(super) struct Seen(Option<(LeaseSpec, Instant)>);

impl Seen {
    /// Looks at the lease: whose is it?
    pub(super) fn look(&mut self, lease: &LeaseSpec, us: &str, now: Instant) -> Holder {
        let since = match &self.0 {
            Some((known, since)) if known == lease => *since,
            _ => {
                self.0 = Some((lease.clone(), now));
                now
            }
        };
        let seconds = lease.lease_duration_seconds.map(u64::try_from);
        let lasts = match seconds {
            Some(Ok(seconds)) => Duration::from_secs(seconds).min(LONGEST),
            _ => LASTS,
        };
        match lease.holder_identity.as_deref() {
            None | Some("") => Holder::Nobody,
            Some(holder) if holder == us => Holder::Us,
            Some(_) if now.duration_since(since) >= lasts => Holder::Nobody,
            Some(_) => Holder::Another,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    fn lease(holder: &str, renewed: &str) -> LeaseSpec {
        let renewed: Timestamp = renewed.parse().unwrap();
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(renewed)),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn another_has_it_as_long_as_it_changes_whatever_time_is_written_there() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut seen = Seen::default();
        // The holder's clock is years behind.
        for n in 0..10 {
            let renewed = format!("2001-01-01T00:00:{:02}Z", 5 * n);
            let holder = seen.look(&lease("a", &renewed), "b", after(5 * n));
            assert_eq!(holder, Holder::Another);
        }
        // And it dies.
        let last = lease("a", "2001-01-01T00:00:45Z");
        assert_eq!(seen.look(&last, "b", after(59)), Holder::Another);
        assert_eq!(seen.look(&last, "b", after(60)), Holder::Nobody);
        // One from the future is worth no more.
        let future = lease("a", "2999-01-01T00:00:00Z");
        assert_eq!(seen.look(&future, "b", after(60)), Holder::Another);
        assert_eq!(seen.look(&future, "b", after(75)), Holder::Nobody);
    }

    #[test]
    fn what_is_ours_or_given_up_may_be_taken_at_once_and_no_lease_lasts_for_ever() {
        let now = Instant::now();
        let mut seen = Seen::default();
        let ours = lease("b", "2001-01-01T00:00:00Z");
        assert_eq!(seen.look(&ours, "b", now), Holder::Us);
        let free = LeaseSpec::default();
        assert_eq!(seen.look(&free, "b", now), Holder::Nobody);
        let mut long = lease("a", "2001-01-01T00:00:00Z");
        long.lease_duration_seconds = Some(i32::MAX);
        assert_eq!(seen.look(&long, "b", now), Holder::Another);
        assert_eq!(seen.look(&long, "b", now + LONGEST), Holder::Nobody);
    }
}
