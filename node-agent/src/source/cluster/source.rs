//! The source itself: a thread with the watches, and what they leave for who asks.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::PartialObjectMeta;
use sluice_api_access::{Access, AccessError, Opened, Requests};
use sluice_crds::v1alpha1::{NodeServiceProxy, ServiceProxyPolicySpec};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::{AgentState, Kind, Source, SourceError, Update};
use super::follow::{Server, follow, follow_while};
use super::settings::{Settings, SettingsFile};
use super::status::StatusWriter;
use super::store::{SILENCE, Store};
use super::view::{Own, View};
use crate::attachments::{Pods, Terms};
use crate::health::Health;
use crate::metrics::Metrics;

/// Between two words on what is still waited for.
const STILL_WAITING: Duration = Duration::from_secs(30);
/// Where all else was listed, settings are waited for no longer than this: whatever keeps them away, services are served without, and settings
/// may come later.
const SETTINGS_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at what is still waited for.
const LOOK: Duration = Duration::from_millis(500);

/// Between the tasks that watch and the thread that asks: the view of the cluster, and who waits for it to change.
#[derive(Debug)]
pub(super) struct Mailbox {
    view: Mutex<View>,
    arrived: Condvar,
    own: watch::Sender<Option<Own>>,
    /// Absent where nobody attaches pods.
    pods: OnceLock<watch::Sender<Pods>>,
    /// Nobody watches any more, which should never be.
    is_ended: AtomicBool,
}

impl Mailbox {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            view: Mutex::new(View::new(settings)),
            arrived: Condvar::new(),
            own: watch::Sender::new(None),
            pods: OnceLock::new(),
            is_ended: AtomicBool::new(false),
        }
    }

    /// Changes the view, and tells those who wait.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        let mut view = self.lock();
        let result = change(&mut view);
        self.own.send_if_modified(|own| {
            let is_new = own.as_ref() != view.own();
            if is_new {
                *own = view.own().cloned();
            }
            is_new
        });
        if let (Some(sender), Some(pods)) = (self.pods.get(), view.pods.news()) {
            sender.send_replace(pods);
        }
        self.arrived.notify_all();
        result
    }

    /// Waits until there is something to tell, at most so long.
    fn wait(&self, wait: Duration) -> Option<Update> {
        let start = Instant::now();
        let mut view = self.lock();
        loop {
            if let Some(update) = view.take() {
                return Some(update);
            }
            if self.is_ended.load(Ordering::Acquire) {
                return None;
            }
            let left = wait.checked_sub(start.elapsed())?;
            view = self
                .arrived
                .wait_timeout(view, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn missing(&self) -> Vec<Kind> {
        self.lock().missing()
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Since when nothing but settings has been missing, and for how long it may be so.
#[derive(Debug)]
struct SettingsLate {
    within: Duration,
    since: Option<Instant>,
}

impl SettingsLate {
    fn after(within: Duration) -> Self {
        let since = None;
        Self { within, since }
    }

    /// Settings are to be done without from now on.
    fn is_too_late(&mut self, missing: &[Kind], now: Instant) -> bool {
        if missing != [Kind::NodeServiceProxy] {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(since) >= self.within
    }
}

/// Tells when the thread that watches ends, also by a panic.
struct Alarm(Arc<Mailbox>);

impl Drop for Alarm {
    fn drop(&mut self) {
        let _view = self.0.lock();
        self.0.is_ended.store(true, Ordering::Release);
        self.0.arrived.notify_all();
    }
}

/// Why a source cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// How to reach the API server.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// What asks it.
    #[error("the runtime for requests to the API server cannot be started ({0})")]
    Runtime(#[source] io::Error),
}

/// See [the module](super). Nothing is asked for before the first [`next_update`](Source::next_update).
pub struct ClusterSource {
    node_name: Arc<str>,
    last_policy: ServiceProxyPolicySpec,
    mailbox: Arc<Mailbox>,
    server: Opened,
    /// Until the thread has it.
    runtime: Option<Runtime>,
    state: Option<AgentState>,
    health: Option<Arc<Health>>,
    is_complete: bool,
    settings_late: SettingsLate,
}

impl ClusterSource {
    /// Reads how to reach the API server, which need not be there yet. `own_policy` counts while the node has never been given settings.
    pub fn open(
        access: &Access,
        node_name: &str,
        own_policy: ServiceProxyPolicySpec,
        file: Option<SettingsFile>,
    ) -> Result<Self, OpenError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(OpenError::Runtime)?;
        let server = runtime.block_on(async {
            let opened = access.open().await?;
            // What no client can be made of is said now.
            opened.client(&Requests::default()).map(|_| opened)
        })?;
        let settings = Settings::new(own_policy, file);
        Ok(Self {
            node_name: Arc::from(node_name),
            last_policy: settings.policy(),
            mailbox: Arc::new(Mailbox::new(settings)),
            server,
            runtime: Some(runtime),
            state: None,
            health: None,
            is_complete: false,
            settings_late: SettingsLate::after(SETTINGS_WITHIN),
        })
    }

    /// Starts the watches, in a thread of their own.
    fn start(&mut self) -> Result<(), SourceError> {
        let Some(runtime) = &self.runtime else {
            return Ok(());
        };
        let metrics = match &self.state {
            Some(state) => Arc::clone(&state.metrics),
            None => Arc::new(Metrics::default()),
        };
        let client = {
            let _in_runtime = runtime.enter();
            let requests = metrics.api.requests();
            self.server.client(requests).map_err(SourceError::Access)?
        };
        // Not before: whoever asks again after an error starts them then.
        let Some(runtime) = self.runtime.take() else {
            return Ok(());
        };
        let store = Arc::new(Store::new(client.clone()));
        let server = Server {
            client: client.clone(),
            authority: self.server.authority.clone(),
            store: Arc::clone(&store),
        };
        let (node, mailbox) = (&self.node_name, &self.mailbox);
        let arguments = || {
            let (node, mailbox) = (Arc::clone(node), Arc::clone(mailbox));
            (server.clone(), node, mailbox, Arc::clone(&metrics))
        };
        let mut watches = JoinSet::new();
        watches.spawn_on(
            async move { store.keep_known(SILENCE).await },
            runtime.handle(),
        );
        macro_rules! spawn {
            ($($kind:ty),*) => {$(
                let (server, node, mailbox, metrics) = arguments();
                watches.spawn_on(follow::<$kind>(server, node, mailbox, metrics), runtime.handle());
            )*};
        }
        spawn!(Service, EndpointSlice, Node, NodeServiceProxy);
        if let Some(state) = &self.state {
            macro_rules! spawn_while {
                ($($kind:ty: $matters:expr),*) => {$(
                    let (server, node, mailbox, metrics) = arguments();
                    let report = state.report.clone();
                    let followed = follow_while::<PartialObjectMeta<$kind>>(
                        server, node, mailbox, metrics, report, $matters,
                    );
                    watches.spawn_on(followed, runtime.handle());
                )*};
            }
            spawn_while!(Pod: Terms::need_pods, Namespace: Terms::need_namespaces);
        }
        let writer = self.state.take().map(|state| {
            StatusWriter::new(client, &self.node_name, self.mailbox.own.subscribe(), state)
        });
        let alarm = Alarm(Arc::clone(&self.mailbox));
        thread::Builder::new()
            .name("api server".to_owned())
            .spawn(move || {
                let _alarm = alarm;
                runtime.block_on(async {
                    let written = async {
                        match writer {
                            Some(writer) => writer.run().await,
                            None => std::future::pending().await,
                        }
                    };
                    // A watch ends by a panic only.
                    tokio::select! {
                        _ = watches.join_next() => {}
                        () = written => {}
                    }
                });
            })
            .map(drop)
            .map_err(SourceError::Thread)
    }

    /// What was listed is complete once, and until then it is said what is not.
    fn wait_for_all(&mut self, wait: Duration) -> Option<Update> {
        let start = Instant::now();
        let mut said = start;
        loop {
            let left = wait.saturating_sub(start.elapsed());
            if let Some(update) = self.mailbox.wait(left.min(LOOK)) {
                self.is_complete = true;
                return Some(update);
            }
            let missing = self.mailbox.missing();
            if self.settings_late.is_too_late(&missing, Instant::now()) {
                tracing::warn!(
                    "the node's NodeServiceProxy cannot be listed: the last settings are in force until it can"
                );
                let settings = Kind::NodeServiceProxy;
                self.mailbox.change(|view| view.do_without(settings));
                continue;
            }
            let missing: Vec<&'static str> = missing.into_iter().map(Kind::as_str).collect();
            if said.elapsed() >= STILL_WAITING {
                said = Instant::now();
                tracing::warn!(
                    missing = missing.join(", "),
                    "nothing is programmed before these were listed; until then the kernel keeps what it has"
                );
            }
            if let Some(health) = &self.health {
                health.set_missing(missing);
            }
            if left.is_zero() || self.mailbox.is_ended.load(Ordering::Acquire) {
                return None;
            }
        }
    }
}

impl Source for ClusterSource {
    fn next_update(&mut self, wait: Duration) -> Result<Option<Update>, SourceError> {
        self.start()?;
        let update = if self.is_complete {
            self.mailbox.wait(wait)
        } else {
            self.wait_for_all(wait)
        };
        if update.is_none() && self.mailbox.is_ended.load(Ordering::Acquire) {
            return Err(SourceError::Ended);
        }
        Ok(update)
    }

    fn last_policy(&self) -> Option<ServiceProxyPolicySpec> {
        Some(self.last_policy.clone())
    }

    fn listen(&mut self, state: AgentState) {
        self.health = Some(Arc::clone(&state.health));
        // Nobody listens twice.
        let _ = self.mailbox.pods.set(state.pods.clone());
        self.state = Some(state);
    }
}

#[cfg(test)]
mod tests {
    use super::super::nobody;
    use super::*;

    const OTHERS: [Kind; 3] = [Kind::Service, Kind::EndpointSlice, Kind::Node];

    #[test]
    fn settings_alone_are_waited_for_ten_seconds_and_with_others_for_good() {
        let mut late = SettingsLate::after(SETTINGS_WITHIN);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let alone = [Kind::NodeServiceProxy];
        let with_node = [Kind::Node, Kind::NodeServiceProxy];
        assert!(!late.is_too_late(&with_node, start));
        assert!(!late.is_too_late(&with_node, after(60)));
        assert!(!late.is_too_late(&alone, after(61)));
        assert!(!late.is_too_late(&alone, after(70)));
        assert!(late.is_too_late(&alone, after(71)));
        assert!(!late.is_too_late(&OTHERS, after(72)));
        assert!(!late.is_too_late(&alone, after(73)));
    }

    #[test]
    fn a_start_that_failed_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("token");
        std::fs::write(&token, "good").unwrap();
        let user = format!("{{tokenFile: {}}}", token.display());
        let access = nobody::access(&directory, &user);
        let policy = ServiceProxyPolicySpec::default();
        let mut source = ClusterSource::open(&access, "n", policy, None).unwrap();
        std::fs::remove_file(&token).unwrap();
        let wait = Duration::from_millis(10);
        source.next_update(wait).unwrap_err();
        assert!(source.runtime.is_some());
        std::fs::write(&token, "good").unwrap();
        assert_eq!(source.next_update(wait).unwrap(), None);
        assert!(source.runtime.is_none(), "it watches");
    }

    #[test]
    fn services_are_told_without_settings_when_these_alone_stay_away() {
        let directory = tempfile::tempdir().unwrap();
        let access = nobody::access(&directory, "{}");
        let policy = ServiceProxyPolicySpec::default();
        let mut source = ClusterSource::open(&access, "n", policy.clone(), None).unwrap();
        // Nobody watches: what is listed is said here.
        source.runtime = None;
        source.settings_late = SettingsLate::after(Duration::from_secs(20));
        let wait = Duration::from_secs(2);
        assert_eq!(source.next_update(wait).unwrap(), None);
        source.mailbox.change(|view| {
            let node = serde_json::from_str(r#"{"metadata": {"name": "n"}, "spec": {}}"#);
            view.node(Ok(node.unwrap()));
            for kind in OTHERS {
                view.end_list(kind, false);
            }
        });
        let at_once = source.next_update(Duration::from_millis(100)).unwrap();
        assert_eq!(at_once, None);
        source.settings_late.within = Duration::from_millis(700);
        let first = source.next_update(wait * 5).unwrap().unwrap();
        assert_eq!(first.policy, Some(policy));
    }
}
