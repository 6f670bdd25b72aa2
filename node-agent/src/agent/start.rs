//! Puts the agent together and keeps it going until it is told to stop.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};

use sluice_attachment::store::{Store, StoreError};
use sluice_kernel::address_set::{AddressSetError, IpsetNetlink};
use sluice_kernel::links::{LinkError, NetlinkLinks};
use sluice_kernel::ruleset_events::RulesetEvents;
use sluice_kernel::sysctl::LedgerError as SysctlLedgerError;

use super::clock::SystemClock;
use super::inbox::Inbox;
use super::intake::Intake;
use super::ipvs_host::IpvsHost;
use super::node_network::NetworkWatch;
use super::plane::{LedgerError, Plane, PlaneLedger, Planes};
use super::report::Report;
use super::route_notices;
use super::rule_notices::RuleNotices;
use super::sync_loop::{Shared, SyncLoop};
use super::tunables::Tunables;
use crate::attachments::{self, Desk, Pods, SocketError, Upkeep};
use crate::health::{
    Health, HealthCheckTable, health_router, proxy_mode_router, serve_health_checks,
};
use crate::http::{self, BindError};
use crate::lock::{AgentLock, LockError};
use crate::metrics::{Metrics, metrics_router};
use crate::source::{AgentState, Source};

/// What an agent is started with.
pub struct AgentOptions {
    /// Where services come from.
    pub source: Box<dyn Source>,
    /// Where data planes come from.
    pub planes: Box<dyn Planes>,
    /// What must outlive a reboot.
    pub state_dir: PathBuf,
    /// What must not.
    pub run_dir: PathBuf,
    /// Where the node's sysctls are written.
    pub proc_sys: PathBuf,
    /// Where health is told; absent: nowhere.
    pub healthz: Option<SocketAddr>,
    /// Where metrics are told; absent: nowhere.
    pub metrics: Option<SocketAddr>,
    /// How many service ports at most have metrics of their own in IPVS mode.
    pub ipvs_service_metrics: usize,
}

/// Why an agent cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// Another agent runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The note of variants and mode in use.
    #[error(transparent)]
    PlaneLedger(#[from] LedgerError),
    /// The note of old sysctl values.
    #[error(transparent)]
    SysctlLedger(#[from] SysctlLedgerError),
    /// The node's addresses.
    #[error("the node's addresses cannot be read")]
    Network(#[from] LinkError),
    /// A port of ours.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The socket of the CNI plugin.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The records of the CNI plugin.
    #[error(transparent)]
    Attachments(#[from] StoreError),
    /// Address sets.
    #[error("address sets cannot be reached")]
    Sets(#[from] AddressSetError),
    /// Threads or signals.
    #[error("cannot {operation}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A part of the agent ended, which it never should.
    #[error("the agent's {0} ended unexpectedly: see the lines above")]
    Ended(&'static str),
}

/// Runs an agent until a signal. The rules stay in the kernel, and the data plane's thread is left where it is: what it was
/// writing is whole or not there at all.
pub fn run(options: AgentOptions) -> Result<(), AgentError> {
    let _lock = AgentLock::acquire(&options.run_dir)?;
    let healthz = options.healthz.map(http::bind).transpose()?;
    let metrics_port = options.metrics.map(http::bind).transpose()?;
    let socket = attachments::bind(&options.run_dir)?;

    let inbox = Arc::new(Inbox::default());
    let health = Arc::new(Health::new(Arc::clone(&inbox)));
    let metrics = Arc::new(Metrics::with_ipvs_services(options.ipvs_service_metrics));
    let (health_checks, wanted_health_checks) = watch::channel(HealthCheckTable::new());
    let plane = Plane::new(options.planes, PlaneLedger::open(&options.state_dir)?);
    let tunables = Tunables::open(&options.proc_sys, &options.state_dir)?;
    let network = NetworkWatch::open(Arc::clone(&inbox), Arc::clone(&metrics))?;
    let (notices, rule_events) = match (RuleNotices::open(), RulesetEvents::open()) {
        (Ok(notices), Ok(events)) => (Arc::new(notices), Some(events)),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "changes of rules are not heard; they are looked for every few seconds");
            (Arc::default(), None)
        }
    };
    let mut source = options.source;
    let mut sets = IpsetNetlink::open()?;
    let (report, reports) = watch::channel(first_report(source.as_ref(), &mut sets)?);
    let shared = Shared {
        report,
        notices: Arc::clone(&notices),
        inbox: Arc::clone(&inbox),
        health: Arc::clone(&health),
        health_port: options.healthz.and_then(http::port_on_every_address),
        metrics: Arc::clone(&metrics),
        health_checks,
    };

    let (ended, parts_ended) = mpsc::unbounded_channel();
    let start = |name, work: Box<dyn FnOnce() + Send>| start_thread(name, &ended, work);
    start("network watch", Box::new(move || network.follow()))?;
    if let Some(events) = rule_events {
        let (notices, inbox) = (Arc::clone(&notices), Arc::clone(&inbox));
        start(
            "rule notices",
            Box::new(move || notices.follow(events, &inbox)),
        )?;
    }
    match route_notices::open() {
        Ok(events) => {
            let inbox = Arc::clone(&inbox);
            start(
                "route notices",
                Box::new(move || route_notices::follow(events, &inbox)),
            )?;
        }
        Err(error) => {
            tracing::warn!(%error, "lost routes are not heard; they are looked for every few seconds");
        }
    }
    let intake = Intake::new(Arc::clone(&inbox), Arc::clone(&metrics));
    let (pods, known_pods) = watch::channel(Pods::default());
    // A source that knows no pods may let go of its end.
    let _pods = pods.clone();
    let nudge = Arc::new(Notify::new());
    let upkeep = Upkeep {
        store: Store::open(options.state_dir.join(attachments::RECORDS))?,
        sets: Box::new(sets),
        links: Box::new(NetlinkLinks::open()?),
        report: reports.clone(),
        pods: known_pods.clone(),
        nudge: Arc::clone(&nudge),
        metrics: Arc::clone(&metrics),
    };
    let desk = Desk::new(reports.clone(), known_pods, nudge, Arc::clone(&metrics));
    let of_upkeep = runtime()?;
    start("attachments", Box::new(move || upkeep.follow(&of_upkeep)))?;
    source.listen(AgentState {
        health: Arc::clone(&health),
        report: reports,
        metrics: Arc::clone(&metrics),
        pods,
    });
    start("source", Box::new(move || intake.follow(source.as_mut())))?;
    start(
        "data plane",
        Box::new(move || {
            let host = IpvsHost::of_this_node();
            SyncLoop::new(shared, Box::new(SystemClock), plane, tunables, host).run()
        }),
    )?;

    let front = Front {
        socket,
        desk,
        healthz,
        metrics_port,
        health,
        metrics,
        wanted_health_checks,
    };
    let runtime = runtime()?;
    let result = runtime.block_on(front.answer(parts_ended));
    runtime.shutdown_background();
    result
}

/// Before the first sync.
fn first_report(source: &dyn Source, sets: &mut IpsetNetlink) -> Result<Report, AgentError> {
    let terms = match source.last_policy() {
        Some(policy) => attachments::left_in_force(&policy, sets)?,
        None => None,
    };
    Ok(Report {
        terms,
        ..Report::default()
    })
}

fn runtime() -> Result<Runtime, AgentError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| AgentError::System {
            operation: "start the runtime",
            source,
        })
}

/// What the agent shows to others, in tasks of one thread.
struct Front {
    socket: UnixListener,
    desk: Desk,
    healthz: Option<TcpListener>,
    metrics_port: Option<TcpListener>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    wanted_health_checks: watch::Receiver<HealthCheckTable>,
}

impl Front {
    /// Answers until a signal, or until a part of the agent ends.
    async fn answer(
        self,
        mut parts_ended: mpsc::UnboundedReceiver<&'static str>,
    ) -> Result<(), AgentError> {
        let failed = |operation| move |source| AgentError::System { operation, source };
        let mut terminate =
            signal(SignalKind::terminate()).map_err(failed("listen for the signal TERM"))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(failed("listen for the signal INT"))?;
        let Self {
            socket,
            desk,
            healthz,
            metrics_port,
            health,
            metrics,
            wanted_health_checks,
        } = self;
        let health_routes = health_router(&health, &metrics);
        let metrics_routes = metrics_router(&metrics)
            .merge(proxy_mode_router(&health))
            .merge(health_routes.clone());
        tokio::select! {
            _ = terminate.recv() => tracing::info!("told to end by TERM: the rules stay in place"),
            _ = interrupt.recv() => tracing::info!("told to end by INT: the rules stay in place"),
            Some(part) = parts_ended.recv() => return Err(AgentError::Ended(part)),
            () = serve_health_checks(wanted_health_checks, health, metrics) => {
                return Err(AgentError::Ended("health check servers"));
            }
            result = attachments::serve(socket, desk) => {
                result.map_err(failed("hear the CNI plugin"))?;
                return Err(AgentError::Ended("socket"));
            }
            result = serve(healthz, health_routes) => {
                result.map_err(failed("serve health"))?;
                return Err(AgentError::Ended("health server"));
            }
            result = serve(metrics_port, metrics_routes) => {
                result.map_err(failed("serve metrics"))?;
                return Err(AgentError::Ended("metrics server"));
            }
        }
        Ok(())
    }
}

async fn serve(listener: Option<TcpListener>, router: axum::Router) -> io::Result<()> {
    match listener {
        Some(listener) => http::serve(listener, router).await,
        None => pending().await,
    }
}

/// Tells when the thread that it lives in ends, also by a panic.
struct Alarm {
    name: &'static str,
    ended: mpsc::UnboundedSender<&'static str>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // Nobody listens any more only when the agent stops anyway.
        let _ = self.ended.send(self.name);
    }
}

fn start_thread(
    name: &'static str,
    ended: &mpsc::UnboundedSender<&'static str>,
    work: Box<dyn FnOnce() + Send>,
) -> Result<(), AgentError> {
    let alarm = Alarm {
        name,
        ended: ended.clone(),
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _alarm = alarm;
            work();
        })
        .map(|_| ())
        .map_err(|source| AgentError::System {
            operation: "start a thread",
            source,
        })
}
