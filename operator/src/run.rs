//! The operator at work: follows the cluster, and while it leads writes what is to be written.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sluice_api_access::AccessError;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::cluster::{Access, Cluster, Writer, watch_all};
use crate::election::{Candidate, Leadership};
use crate::http;
use crate::metrics::Metrics;

/// Changes that come together are planned for together.
const GATHER: Duration = Duration::from_millis(50);

/// What an operator is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// How the cluster's API server is reached.
    pub access: sluice_api_access::Access,
    /// The namespace of lease and revisions; absent: the pod's.
    pub namespace: Option<String>,
    /// Who this replica is among others.
    pub identity: String,
    /// Let one of several replicas write.
    pub leader_election: bool,
    /// Where health and metrics are told; absent: nowhere.
    pub bind_address: Option<SocketAddr>,
    /// Remove the taint of nodes that are served.
    pub remove_node_taint: bool,
}

/// Why an operator cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// How to reach the API server.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The port.
    #[error(
        "cannot listen on {address} ({source}): end what has the port, or give another --bind-address"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Cause.
        source: std::io::Error,
    },
    /// Signals, sockets.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A watch or the election ended, which they never should.
    #[error("a part of the operator ended unexpectedly: see the lines above")]
    Ended,
}

/// Runs an operator until a signal.
pub async fn run(options: Options) -> Result<(), OperatorError> {
    let metrics = Arc::new(Metrics::new());
    let Access {
        client,
        lease_client,
        authority,
        namespace,
    } = Access::open(options.access, options.namespace, metrics.requests()).await?;
    let failed = |what| move |source| OperatorError::System { what, source };
    let mut terminate =
        signal(SignalKind::terminate()).map_err(failed("listen for the signal TERM"))?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(failed("listen for the signal INT"))?;
    let cluster = Arc::new(Cluster::default());
    let listener = match options.bind_address {
        Some(address) => {
            let bound = http::bind(address).await;
            Some(bound.map_err(|source| OperatorError::Bind { address, source })?)
        }
        None => None,
    };
    let mut parts = watch_all((&client, &authority), &namespace, &cluster, &metrics);
    let identity = options.identity.clone();
    let candidate = options
        .leader_election
        .then(|| Candidate::new(lease_client, &namespace, identity, authority));
    let mut leadership = match candidate.clone() {
        Some(candidate) => {
            let (leadership, election) = candidate.stand();
            parts.spawn(election);
            leadership
        }
        None => Leadership::alone(),
    };
    let writer = Writer::new(
        client,
        namespace,
        &options.identity,
        leadership.clone(),
        Arc::clone(&cluster),
        Arc::clone(&metrics),
    );
    let http_cluster = Arc::clone(&cluster);
    let http_metrics = Arc::clone(&metrics);
    let answers = async move {
        match listener {
            Some(listener) => http::serve(listener, http_cluster, http_metrics).await,
            None => pending().await,
        }
    };
    let work = work(
        &cluster,
        &writer,
        &mut leadership,
        &metrics,
        options.remove_node_taint,
    );
    tokio::select! {
        _ = terminate.recv() => tracing::info!("told to end by TERM"),
        _ = interrupt.recv() => tracing::info!("told to end by INT"),
        result = answers => result.map_err(failed("serve health and metrics"))?,
        _ = parts.join_next() => return Err(OperatorError::Ended),
        () = work => {}
    }
    parts.shutdown().await;
    if let Some(candidate) = candidate {
        candidate.give_up().await;
    }
    Ok(())
}

/// Plans whenever something has changed, and writes the plan.
async fn work(
    cluster: &Cluster,
    writer: &Writer,
    leadership: &mut Leadership,
    metrics: &Metrics,
    remove_taint: bool,
) {
    let mut wake: Option<Timestamp> = None;
    let mut led = false;
    loop {
        let until = async {
            match wake {
                Some(at) => {
                    let left = at.duration_since(Timestamp::now());
                    sleep(left.try_into().unwrap_or_default()).await;
                }
                None => pending().await,
            }
        };
        tokio::select! {
            () = cluster.changed() => sleep(GATHER).await,
            () = until => {}
            () = leadership.changed() => {}
        }
        wake = None;
        let leads_now = leadership.is_ours();
        metrics.set_leader(leads_now);
        metrics.set_counts(cluster.counts());
        cluster.with_policies(|policies| metrics.set_policies(policies.values()));
        if leads_now != led {
            led = leads_now;
            let words = if led {
                "this replica leads"
            } else {
                "another replica leads"
            };
            tracing::info!("{words}");
        }
        if !leads_now || !cluster.is_known() {
            continue;
        }
        let plan = cluster.plan(remove_taint);
        wake = plan.wake;
        if plan.is_empty() {
            continue;
        }
        let again = writer.write(plan).await.map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timestamp::now() + left
        });
        wake = wake.into_iter().chain(again).min();
    }
}
