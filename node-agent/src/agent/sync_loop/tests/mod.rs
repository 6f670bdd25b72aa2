//! The loop on a scripted data plane, with a clock of its own.

mod looks;
mod modes;
mod syncs;
mod variants;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use sluice_crds::v1alpha1::{ActiveMode, IptablesVariant, ServiceProxyPolicySpec};
use sluice_kernel::address_set::AddressSetError;
use sluice_kernel::iptables::{Family, Variant};
use sluice_kernel::modules::MemoryModules;
use sluice_kernel::sysctl::ProcSysctls;
use sluice_service_plan::model::{
    NodeFacts, ObjectName, Protocol, Service, ServicePort, ServiceType, TrafficPolicy,
};
use sluice_service_plan::plan::{Plan, PlanChange};

use super::*;
use crate::agent::inbox::Batch;
use crate::agent::plane::{PlaneLedger, Planes};
use crate::data_plane::{DataPlane, DataPlaneError, Drain, Drift, Programmed, SyncReport};
use crate::settings::{KernelVersion, NodeNetworks, NodeSettings, ipvs_sysctls};
use crate::tally::Tally;

/// What the scripted plane is told, and what it was asked.
#[derive(Debug)]
struct Script {
    now: Instant,
    calls: Vec<String>,
    failures: VecDeque<&'static str>,
    /// What calls that fail say, if not that a set is full.
    error: Option<fn() -> DataPlaneError>,
    drift: Vec<Drift>,
    sync_takes: Duration,
    start_of_last_sync: Option<Instant>,
    /// An earlier run left connections in IPVS.
    left_in_ipvs: bool,
    /// What planes serve.
    families: Vec<Family>,
    /// A file, and what was in it at the last sync.
    watched: (PathBuf, String),
}

#[derive(Debug, Clone)]
struct Stage(Arc<Mutex<Script>>);

impl Stage {
    fn lock(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    /// Books a call of a variant; fails when the script says that this call is the next to fail.
    fn call(&self, variant: Variant, name: &str, detail: &str) -> Result<(), DataPlaneError> {
        let mut script = self.lock();
        script.calls.push(format!("{variant} {name}{detail}"));
        if script.failures.front().is_some_and(|next| *next == name) {
            script.failures.pop_front();
            if let Some(error) = script.error {
                return Err(error());
            }
            let full = AddressSetError::Full {
                name: "S".into(),
                entry: None,
            };
            return Err(full.into());
        }
        Ok(())
    }

    fn sync(&self) -> SyncReport {
        let mut script = self.lock();
        script.start_of_last_sync = Some(script.now);
        script.watched.1 = std::fs::read_to_string(&script.watched.0).unwrap_or_default();
        let takes = script.sync_takes;
        script.now += takes;
        script.drift.clear();
        SyncReport {
            transactions: 1,
            ..SyncReport::default()
        }
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().calls)
    }
}

impl Clock for Stage {
    fn now(&self) -> Instant {
        self.lock().now
    }
}

impl Planes for Stage {
    fn open(
        &mut self,
        variant: Variant,
        mode: ActiveMode,
    ) -> Result<Box<dyn DataPlane>, DataPlaneError> {
        Ok(Box::new(FakePlane {
            stage: self.clone(),
            variant,
            mode,
        }))
    }

    fn open_to_remove(&mut self, variant: Variant) -> Result<Box<dyn DataPlane>, DataPlaneError> {
        self.open(variant, ActiveMode::IPTables)
    }

    fn detect(&mut self) -> Result<Variant, DataPlaneError> {
        Ok(Variant::Nft)
    }
}

struct FakePlane {
    stage: Stage,
    variant: Variant,
    mode: ActiveMode,
}

impl DataPlane for FakePlane {
    fn mode(&self) -> ActiveMode {
        self.mode
    }

    fn families(&self) -> Vec<Family> {
        self.stage.lock().families.clone()
    }

    fn switch(&mut self, mode: ActiveMode, _: &Plan) -> Result<SyncReport, DataPlaneError> {
        self.stage
            .call(self.variant, "switch", &format!(" {mode}"))?;
        self.mode = mode;
        Ok(self.stage.sync())
    }

    fn drain(&mut self, _: Drain) -> Result<SyncReport, DataPlaneError> {
        Ok(SyncReport::default())
    }

    fn conditions(&self) -> Vec<String> {
        Vec::new()
    }

    fn uses_ipvs(&self) -> bool {
        self.mode == ActiveMode::IPVS || self.stage.lock().left_in_ipvs
    }

    fn remove_rules(&mut self) -> Vec<DataPlaneError> {
        let call = self.stage.call(self.variant, "remove", "");
        call.err().into_iter().collect()
    }

    fn reconcile(&mut self, plan: &Plan) -> Result<SyncReport, DataPlaneError> {
        self.stage.call(
            self.variant,
            "reconcile",
            &format!(" {}", plan.services.len()),
        )?;
        Ok(self.stage.sync())
    }

    fn apply(&mut self, _: &Plan, change: &PlanChange) -> Result<SyncReport, DataPlaneError> {
        self.stage.call(
            self.variant,
            "apply",
            &format!(" {}", change.services.len()),
        )?;
        Ok(self.stage.sync())
    }

    fn check(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        self.stage.call(self.variant, "check", "")?;
        Ok(self.stage.lock().drift.clone())
    }

    fn verify(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        self.stage.call(self.variant, "verify", "")?;
        Ok(self.stage.lock().drift.clone())
    }

    fn tally(&mut self) -> Tally {
        Tally {
            programs_started: 1,
            ..Tally::default()
        }
    }

    fn programmed(&self) -> Programmed {
        Programmed {
            chains: 7,
            ..Programmed::default()
        }
    }

    fn remove(&mut self) -> Vec<DataPlaneError> {
        self.stage
            .call(self.variant, "remove", "")
            .err()
            .into_iter()
            .collect()
    }
}

struct Bench {
    stage: Stage,
    inbox: Arc<Inbox>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    health_checks: watch::Receiver<HealthCheckTable>,
    sync_loop: SyncLoop,
    state_dir: tempfile::TempDir,
}

impl Bench {
    /// A loop that was told its node, and has not done anything.
    fn new() -> Self {
        Self::after_a_run_in(None)
    }

    /// The same, where an earlier run left word of its mode.
    fn after_a_run_in(mode: Option<&str>) -> Self {
        let state_dir = tempfile::tempdir().unwrap();
        if let Some(mode) = mode {
            std::fs::write(state_dir.path().join("mode"), mode).unwrap();
        }
        make_sysctls(&state_dir.path().join("sys"));
        Self::over(state_dir)
    }

    /// A loop that was told its node, over what an earlier one left.
    fn over(state_dir: tempfile::TempDir) -> Self {
        let stage = Stage(Arc::new(Mutex::new(Script {
            now: Instant::now(),
            calls: Vec::new(),
            failures: VecDeque::new(),
            error: None,
            drift: Vec::new(),
            sync_takes: Duration::ZERO,
            start_of_last_sync: None,
            left_in_ipvs: false,
            families: vec![Family::V4, Family::V6],
            watched: (PathBuf::new(), String::new()),
        })));
        let inbox = Arc::new(Inbox::default());
        let health = Arc::new(Health::new(inbox.clone()));
        let metrics = Arc::new(Metrics::default());
        let (sender, health_checks) = watch::channel(HealthCheckTable::new());
        let shared = Shared {
            inbox: inbox.clone(),
            health: health.clone(),
            health_port: None,
            metrics: metrics.clone(),
            notices: Arc::default(),
            report: watch::Sender::default(),
            health_checks: sender,
        };
        let ledger = PlaneLedger::open(state_dir.path()).unwrap();
        let sysctls = Box::new(ProcSysctls::below(&state_dir.path().join("sys")));
        let tunables = Tunables::new(sysctls, &state_dir.path().join("sysctls.json")).unwrap();
        let plane = Plane::new(Box::new(stage.clone()), ledger);
        let host = IpvsHost::new(Box::new(MemoryModules::new()), Ok(KernelVersion::new(6, 1)));
        let sync_loop = SyncLoop::new(shared, Box::new(stage.clone()), plane, tunables, host);
        let bench = Self {
            stage,
            inbox,
            health,
            metrics,
            health_checks,
            sync_loop,
            state_dir,
        };
        let node = NodeFacts {
            name: "n1".into(),
            ..NodeFacts::default()
        };
        bench.push(Batch {
            node: Some(node),
            ..Batch::default()
        });
        bench
    }

    /// A loop that has programmed one service, at rest.
    fn at_rest() -> Self {
        let mut bench = Self::new();
        bench.push(service("a", None));
        bench.inbox.set_listed();
        bench.settle();
        assert_eq!(bench.stage.calls(), ["nft reconcile 1"]);
        bench
    }

    fn push(&self, batch: Batch) {
        self.inbox.push(batch, self.stage.now());
    }

    /// Steps until nothing is due now, and tells when something will be.
    fn settle(&mut self) -> Instant {
        for _ in 0..100 {
            if let Some(wake) = self.sync_loop.step() {
                return wake;
            }
        }
        panic!("the loop does not come to rest: {:?}", self.stage.calls());
    }

    /// Lets time go on until the loop is next due, and lets it work.
    fn wake(&mut self) -> Instant {
        let wake = self.settle();
        self.stage.lock().now = wake;
        self.settle();
        wake
    }

    /// One of the conditions says so.
    fn is_told(&self, words: &str) -> bool {
        let told = self.sync_loop.books.report.borrow();
        let mut conditions = told.conditions.iter();
        conditions.any(|condition| condition.contains(words))
    }

    fn metric(&self, start: &str) -> String {
        let text = self.metrics.text().unwrap();
        let line = text
            .lines()
            .find(|l| l.starts_with(start))
            .unwrap_or_default();
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    }
}

/// Those that IPVS needs, below a `/proc/sys` of our own.
fn make_sysctls(root: &Path) {
    let settings =
        NodeSettings::resolve(&ServiceProxyPolicySpec::default(), NodeNetworks::default());
    for (name, _) in ipvs_sysctls(&settings, KernelVersion::new(6, 1)) {
        let file = root.join(name.replace('.', "/"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "0\n").unwrap();
    }
}

fn service(name: &str, health_check_port: Option<u16>) -> Batch {
    let object = ObjectName::new("ns", name);
    let last = u8::try_from(name.len()).unwrap() + name.as_bytes()[0];
    let service = Service {
        name: object.clone(),
        created: 0,
        labels: BTreeMap::new(),
        kind: ServiceType::LoadBalancer,
        cluster_ips: vec![[10, 96, 0, last].into()],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Local,
        affinity_seconds: None,
        health_check_port,
        ports: vec![ServicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
    };
    Batch {
        services: BTreeMap::from([(object, Some(service))]),
        ..Batch::default()
    }
}

fn policy(change: impl FnOnce(&mut ServiceProxyPolicySpec)) -> Batch {
    let mut spec = ServiceProxyPolicySpec::default();
    change(&mut spec);
    Batch {
        policy: Some(spec),
        ..Batch::default()
    }
}

fn drift(object: &str) -> Drift {
    Drift {
        object: object.into(),
        what: "is gone".into(),
    }
}
