//! The operator at work: follows the cluster, and while it leads writes what is to be written.

use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cluster::{Access, AccessError, Cluster, Writer, watch_all};
use crate::http;
use crate::metrics::Metrics;

const LEASE: &str = "sluice-operator";
/// A leader that has not renewed its lease for so many seconds has lost it,
const LEASE_SECONDS: u64 = 15;
/// and it renews it so many before.
const GRACE_SECONDS: u64 = 5;
/// Changes that come together are planned for together.
const GATHER: Duration = Duration::from_millis(50);
/// Rest after a write failed, at first; it doubles up to [`LONGEST_REST`].
const REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What an operator is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's kubeconfig; absent: that which this is a pod of.
    pub kubeconfig: Option<PathBuf>,
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
    /// The lease.
    #[error("who leads cannot be settled any more: this replica ends, and starts anew")]
    Lease(#[source] Option<LeaseManagerError>),
}

/// Runs an operator until a signal.
pub async fn run(options: Options) -> Result<(), OperatorError> {
    let Access { client, namespace } =
        Access::open(options.kubeconfig.as_deref(), options.namespace.clone()).await?;
    let failed = |what| move |source| OperatorError::System { what, source };
    let mut terminate =
        signal(SignalKind::terminate()).map_err(failed("listen for the signal TERM"))?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(failed("listen for the signal INT"))?;
    let cluster = Arc::new(Cluster::default());
    let metrics = Arc::new(Metrics::new());
    let listener = match options.bind_address {
        Some(address) => {
            let bound = http::bind(address).await;
            Some(bound.map_err(|source| OperatorError::Bind { address, source })?)
        }
        None => None,
    };
    watch_all(&client, &namespace, &cluster, &metrics);
    let (mut leads, lease) = if options.leader_election {
        let builder = LeaseManagerBuilder::new(client.clone(), LEASE)
            .with_namespace(&namespace)
            .with_identity(&options.identity)
            .with_duration(LEASE_SECONDS)
            .with_grace(GRACE_SECONDS)
            .with_field_manager(LEASE);
        lead(builder).await
    } else {
        let (sender, receiver) = watch::channel(true);
        // Nobody takes it away.
        std::mem::forget(sender);
        (receiver, tokio::spawn(pending()))
    };
    let writer = Writer::new(
        client,
        namespace,
        &options.identity,
        leads.clone(),
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
        &mut leads,
        &metrics,
        options.remove_node_taint,
    );
    tokio::select! {
        _ = terminate.recv() => tracing::info!("told to end by TERM"),
        _ = interrupt.recv() => tracing::info!("told to end by INT"),
        result = answers => result.map_err(failed("serve health and metrics"))?,
        ended = lease => return Err(OperatorError::Lease(ended.ok().and_then(Result::err))),
        () = work => {}
    }
    Ok(())
}

type Lease = JoinHandle<Result<LeaseManager, LeaseManagerError>>;

/// Tries until there is an API server that knows of leases, then takes part in the election.
async fn lead(builder: LeaseManagerBuilder) -> (watch::Receiver<bool>, Lease) {
    // The builder is used up by a try, and an API server may come late: the manager is made in a task that tries again.
    let (sender, receiver) = watch::channel(false);
    let task = tokio::spawn(async move {
        let manager = builder.build().await?;
        let (mut leads, task) = manager.watch().await;
        loop {
            let now = *leads.borrow_and_update();
            sender.send_replace(now);
            if leads.changed().await.is_err() {
                sender.send_replace(false);
                break;
            }
        }
        match task.await {
            Ok(ended) => ended,
            Err(_) => std::future::pending().await,
        }
    });
    (receiver, task)
}

/// Plans whenever something has changed, and writes the plan.
async fn work(
    cluster: &Cluster,
    writer: &Writer,
    leads: &mut watch::Receiver<bool>,
    metrics: &Metrics,
    remove_taint: bool,
) {
    let mut wake: Option<Timestamp> = None;
    let mut rest = REST;
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
            changed = leads.changed() => if changed.is_err() { return },
        }
        wake = None;
        let leads_now = *leads.borrow();
        metrics.set_leader(leads_now);
        metrics.set_counts(cluster.counts());
        if leads_now != led {
            led = leads_now;
            let words = if led {
                "this replica leads"
            } else {
                "another replica leads"
            };
            tracing::info!("{words}");
        }
        if !leads_now || !cluster.missing().is_empty() {
            continue;
        }
        let plan = cluster.plan(remove_taint);
        wake = plan.wake;
        if plan.is_empty() {
            continue;
        }
        if writer.write(plan).await {
            rest = REST;
        } else {
            sleep(rest).await;
            rest = (rest * 2).min(LONGEST_REST);
            wake = Some(Timestamp::now());
        }
    }
}
