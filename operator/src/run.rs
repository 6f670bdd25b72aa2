//! The operator at work: follows the cluster, and while it leads writes what is to be written.

use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::cluster::{Access, AccessError, Cluster, Writer, watch_all, with_causes};
use crate::http;
use crate::metrics::Metrics;

const LEASE: &str = "sluice-operator";
/// A leader that has not renewed its lease for so many seconds has lost it,
const LEASE_SECONDS: u64 = 15;
/// and it renews it so many before.
const GRACE_SECONDS: u64 = 5;
/// Rest before the lease is asked after again.
const LEASE_RETRY: Duration = Duration::from_secs(1);
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
    /// A watch ended, which it never should.
    #[error("a watch ended unexpectedly: see the lines above")]
    Ended,
}

/// Runs an operator until a signal.
pub async fn run(options: Options) -> Result<(), OperatorError> {
    let Access {
        client,
        lease_client,
        namespace,
    } = Access::open(options.kubeconfig.as_deref(), options.namespace.clone()).await?;
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
    let mut watches = watch_all(&client, &namespace, &cluster, &metrics);
    let mut leads = if options.leader_election {
        let (of, identity) = (namespace.clone(), options.identity.clone());
        lead(move || {
            LeaseManagerBuilder::new(lease_client.clone(), LEASE)
                .with_namespace(&of)
                .with_identity(&identity)
                .with_duration(LEASE_SECONDS)
                .with_grace(GRACE_SECONDS)
                .with_field_manager(LEASE)
        })
    } else {
        let (sender, receiver) = watch::channel(true);
        // Nobody takes it away.
        std::mem::forget(sender);
        receiver
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
        _ = watches.join_next() => return Err(OperatorError::Ended),
        () = work => {}
    }
    Ok(())
}

/// Takes part in the election for ever. A lease that cannot be renewed, or asked after, is taken for lost: another replica may have it.
fn lead(
    builder: impl Fn() -> LeaseManagerBuilder + Send + Sync + 'static,
) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let mut trouble = String::new();
        loop {
            let error = follow(&builder, &sender, &mut trouble).await;
            sender.send_replace(false);
            let words = with_causes(&error);
            if words != trouble {
                tracing::warn!(
                    error = words,
                    "the lease cannot be asked after, so this replica does not lead: check that the API server is there, that the \
                     namespace exists, and what the operator's service account may do with leases in it"
                );
                trouble = words;
            }
            sleep(LEASE_RETRY).await;
        }
    });
    receiver
}

/// Tells who leads until that is not known any more.
async fn follow(
    builder: &impl Fn() -> LeaseManagerBuilder,
    sender: &watch::Sender<bool>,
    trouble: &mut String,
) -> LeaseManagerError {
    let manager = match builder().build().await {
        Ok(manager) => manager,
        Err(error) => return error,
    };
    loop {
        match manager.changed().await {
            Ok(leads) => {
                trouble.clear();
                sender.send_replace(leads);
            }
            Err(error) => return error,
        }
    }
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
