//! A replica that takes part in the election.

use std::future::Future;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use sluice_api_access::{Authority, distrust, with_causes};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::seen::{Holder, Seen};
use super::{LASTS, LEASE, Leadership, Term, tell};

/// Between two looks at the lease, and two renewals.
const REST: Duration = Duration::from_secs(2);
/// A look that takes longer has failed; the holder knows so long before the lease expires.
const ANSWER: Duration = Duration::from_secs(5);
/// For errors that do not say themselves what to do.
const REMEDY: &str = "check that the API server is there, that the namespace exists, and what the operator's service account may do with leases in it";

/// Why it is not known who leads.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("no answer within {} s", ANSWER.as_secs())]
    Silence,
    #[error(transparent)]
    Kube(#[from] kube::Error),
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    leases: Api<Lease>,
    identity: String,
    authority: Authority,
}

impl Candidate {
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        identity: String,
        authority: Authority,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            identity,
            authority,
        }
    }

    /// What tells whether this replica leads, and what makes it so: to be driven for ever.
    pub(crate) fn stand(self) -> (Leadership, impl Future<Output = ()> + Send) {
        let (terms, leadership) = watch::channel(Term::Over);
        (Leadership(leadership), self.run(terms))
    }

    async fn run(self, terms: watch::Sender<Term>) {
        let mut seen = Seen::default();
        let mut trouble = String::new();
        loop {
            let asked = Instant::now();
            let leads = timeout(ANSWER, self.look(&mut seen)).await;
            let error = match leads.unwrap_or(Err(LeaseError::Silence)) {
                Ok(true) => {
                    trouble.clear();
                    tell(&terms, Term::Until(asked + LASTS));
                    sleep(REST).await;
                    continue;
                }
                Ok(false) => {
                    trouble.clear();
                    tell(&terms, Term::Over);
                    sleep(REST).await;
                    continue;
                }
                Err(error) => error,
            };
            // A lease that cannot be renewed, or asked after, is taken for lost.
            tell(&terms, Term::Over);
            let words = with_causes(&error);
            if words != trouble {
                let remedy = distrust(&error, &self.authority);
                tracing::warn!(
                    error = words,
                    "the lease cannot be asked after, so this replica does not lead: {}",
                    remedy.as_deref().unwrap_or(REMEDY)
                );
                trouble = words;
            }
            sleep(REST).await;
        }
    }

    /// Renews the lease, or takes it where it is free. Returns whether it is ours.
    async fn look(&self, seen: &mut Seen) -> Result<bool, LeaseError> {
        let lease = match self.leases.get_opt(LEASE).await? {
            Some(lease) => lease,
            None => Lease {
                metadata: ObjectMeta {
                    name: Some(LEASE.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: None,
            },
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = seen.look(&spec, &self.identity, Instant::now());
        if holder == Holder::Another {
            return Ok(false);
        }
        self.write(lease, self.held(spec, holder)).await
    }

    /// Lets another replica take it at once, if it is ours.
    pub(crate) async fn give_up(&self) {
        let given_up = timeout(ANSWER, self.free()).await;
        // Where it fails, the lease expires.
        if let Err(error) = given_up.unwrap_or(Err(LeaseError::Silence)) {
            tracing::debug!(error = with_causes(&error), "the lease is not given up");
        }
    }

    /// Until nobody has it, or another.
    async fn free(&self) -> Result<(), LeaseError> {
        while let Some(lease) = self.leases.get_opt(LEASE).await? {
            let spec = lease.spec.clone().unwrap_or_default();
            if spec.holder_identity.as_ref() != Some(&self.identity) {
                break;
            }
            let free = LeaseSpec {
                holder_identity: None,
                ..spec
            };
            // It may have changed by a renewal of ours that was on its way when we were told to end.
            if self.write(lease, free).await? {
                break;
            }
        }
        Ok(())
    }

    fn held(&self, before: LeaseSpec, holder: Holder) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let is_renewed = holder == Holder::Us;
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
            acquire_time: before
                .acquire_time
                .clone()
                .filter(|_| is_renewed)
                .or(now.clone()),
            renew_time: now,
            lease_transitions: Some(transitions + i32::from(!is_renewed)),
            ..before
        }
    }

    /// Returns whether it was written: not where somebody else was faster.
    async fn write(&self, mut lease: Lease, spec: LeaseSpec) -> Result<bool, LeaseError> {
        lease.spec = Some(spec);
        let parameters = PostParams::default();
        let is_new = lease.metadata.resource_version.is_none();
        let written = if is_new {
            self.leases.create(&parameters, &lease).await
        } else {
            self.leases.replace(LEASE, &parameters, &lease).await
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
