//! A cluster in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use sluice_crds::v1alpha1::{ActiveMode, Mode, Rollout, ServiceProxyPolicySpec};
use sluice_operator::objects::{Answer, Node, Policy, Proxy, Told};
use sluice_operator::plan::{Plan, plan};
use sluice_operator::snapshot::Snapshot;

pub(crate) const POLICY: &str = "pool";

/// How an agent answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agent {
    /// Seconds from the moment it is told something to the moment it is ready.
    pub(crate) takes: i64,
    /// IPVS works there.
    pub(crate) can_run_ipvs: bool,
    /// How many more it takes with IPVS.
    pub(crate) ipvs_takes: i64,
    /// It answers at all.
    pub(crate) runs: bool,
}

pub(crate) struct World {
    pub(crate) held: Snapshot,
    pub(crate) now: Timestamp,
    /// How many seconds the operator's clock is ahead.
    skew: i64,
    agents: BTreeMap<Arc<str>, Agent>,
    /// Also where their nodes are not.
    pub(crate) agents_are_reached: bool,
    told_at: BTreeMap<Arc<str>, Timestamp>,
    /// Whether its agent said last that it is ready, and since when it says so: that stays written while it is told something else.
    said: BTreeMap<Arc<str>, (bool, Timestamp)>,
    /// Nodes that were ready once, and are not.
    pub(crate) unavailable: usize,
    pub(crate) most_unavailable: usize,
    /// For each revision, the most nodes that had it at once.
    pub(crate) reached: BTreeMap<String, usize>,
    pub(crate) node_writes: usize,
    /// Reasons of what people were told.
    pub(crate) events: Vec<&'static str>,
    were_ready: BTreeSet<Arc<str>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            held: Snapshot::default(),
            now: "2026-11-01T00:00:00Z".parse().unwrap(),
            skew: 0,
            agents: BTreeMap::new(),
            agents_are_reached: false,
            told_at: BTreeMap::new(),
            said: BTreeMap::new(),
            unavailable: 0,
            most_unavailable: 0,
            reached: BTreeMap::new(),
            node_writes: 0,
            events: Vec::new(),
            were_ready: BTreeSet::new(),
        }
    }

    pub(crate) fn add_node(&mut self, name: &str, agent: Agent) {
        let name: Arc<str> = Arc::from(name);
        let node = Node {
            name: Arc::clone(&name),
            uid: format!("uid-{name}"),
            labels: [("pool".to_owned(), "edge".to_owned())].into(),
            is_reachable: true,
            so_since: None,
            not_ready_taint: None,
        };
        self.held.nodes.insert(Arc::clone(&name), node);
        self.agents.insert(name, agent);
    }

    pub(crate) fn agent(&mut self, name: &str) -> &mut Agent {
        self.agents.get_mut(name).unwrap()
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut Node {
        self.held.nodes.get_mut(name).unwrap()
    }

    /// Applies a policy, as a person does: the status stays.
    pub(crate) fn apply(&mut self, name: &str, spec: Result<ServiceProxyPolicySpec, String>) {
        let known = self.held.policies.get(name);
        let policy = Policy {
            name: Arc::from(name),
            uid: format!("uid-{name}"),
            version: None,
            generation: known.map_or(1, |known| known.generation + 1),
            created: 0,
            spec: spec.map(Arc::new),
            status: known.map(|known| known.status.clone()).unwrap_or_default(),
        };
        self.held.policies.insert(Arc::from(name), policy);
    }

    pub(crate) fn plan(&self) -> Plan {
        plan(&self.held, false, self.operators_now())
    }

    fn operators_now(&self) -> Timestamp {
        self.now + SignedDuration::from_secs(self.skew)
    }

    /// Plans and writes; of the nodes only so many, as an operator that dies in between does.
    pub(crate) fn operate(&mut self, nodes: usize) {
        let plan = self.plan();
        for revision in plan.revisions {
            let name = Arc::clone(&revision.name);
            self.held.revisions.insert(name, revision);
        }
        for write in plan.statuses {
            self.events
                .extend(write.events.iter().map(|event| event.reason));
            self.held.policies.get_mut(&write.policy).unwrap().status = write.status;
        }
        for write in plan.nodes.into_iter().take(nodes) {
            self.node_writes += 1;
            let before = self.held.proxies.get(&write.node);
            let proxy = Proxy {
                uid: None,
                version: None,
                owner: Some(write.uid),
                told: Some(Told::of(&write.spec)),
                moved_at: write.moved_at,
                mode_before: write.mode_before,
                moving_since: None,
                answer: Answer::None,
                message: String::new(),
                is_programmed: false,
                can_run_ipvs: before.and_then(|before| before.can_run_ipvs),
                active_mode: before.and_then(|before| before.active_mode),
                was_told_before: before.is_some(),
                made_at: before.and_then(|before| before.made_at).or(Some(self.now)),
                ready_since: None,
                unready_since: None,
                longest_ready: SignedDuration::ZERO,
            };
            self.told_at.insert(Arc::clone(&write.node), self.now);
            self.held
                .set_proxy(&write.node, proxy, self.operators_now());
        }
        for gone in plan.gone {
            self.held.proxies.remove(&gone.node);
        }
        for name in plan.old_revisions {
            self.held.revisions.remove(&name);
        }
        self.measure();
    }

    fn measure(&mut self) {
        let mut having: BTreeMap<String, usize> = BTreeMap::new();
        self.unavailable = 0;
        for (name, proxy) in &self.held.proxies {
            if let Some(told) = &proxy.told {
                *having.entry(told.revision.to_string()).or_default() += 1;
            }
            if proxy.answer == Answer::Ready {
                self.were_ready.insert(Arc::clone(name));
            } else if self.were_ready.contains(name) {
                self.unavailable += 1;
            }
        }
        self.most_unavailable = self.most_unavailable.max(self.unavailable);
        for (revision, nodes) in having {
            let most = self.reached.entry(revision).or_default();
            *most = nodes.max(*most);
        }
    }

    /// Agents answer what they have had the time for.
    pub(crate) fn answer(&mut self) {
        for (name, agent) in self.agents.clone() {
            let Some(mut proxy) = self.held.proxies.get(&name).cloned() else {
                continue;
            };
            let told_at = self.told_at.get(&name).copied().unwrap_or(self.now);
            let is_ipvs = proxy
                .told
                .as_ref()
                .is_some_and(|told| told.mode == ActiveMode::IPVS);
            let takes = agent.takes + if is_ipvs { agent.ipvs_takes } else { 0 };
            let done_at = told_at + SignedDuration::from_secs(takes);
            let node = self.held.nodes.get(&name);
            let reachable = self.agents_are_reached || node.is_some_and(|node| node.is_reachable);
            let Some(told) = proxy
                .told
                .clone()
                .filter(|_| agent.runs && reachable && self.now >= done_at)
            else {
                continue;
            };
            proxy.can_run_ipvs = Some(agent.can_run_ipvs);
            if told.mode == ActiveMode::IPVS && !agent.can_run_ipvs {
                proxy.answer = Answer::Unsupported;
                "the kernel has no IPVS".clone_into(&mut proxy.message);
            } else {
                proxy.answer = Answer::Ready;
                proxy.active_mode = Some(told.mode);
            }
            self.say(&name, proxy);
        }
        self.measure();
    }

    /// Its agent is not ready, and says so, until it may answer again.
    pub(crate) fn falls(&mut self, name: &str) {
        self.agent(name).runs = false;
        let name: Arc<str> = Arc::from(name);
        let mut proxy = self.held.proxies[&name].clone();
        proxy.can_run_ipvs = Some(true);
        proxy.answer = Answer::NotReady;
        self.say(&name, proxy);
        self.measure();
    }

    /// Its kubelet is not heard any more, or is again.
    pub(crate) fn hears_of(&mut self, name: &str, is_reachable: bool) {
        let mut node = self.held.nodes[name].clone();
        node.is_reachable = is_reachable;
        self.held.set_node(node, self.operators_now());
    }

    fn say(&mut self, name: &Arc<str>, proxy: Proxy) {
        let is_ready = proxy.answer == Answer::Ready;
        let before = self.said.get(name).filter(|said| said.0 == is_ready);
        let said = before.copied().unwrap_or((is_ready, self.now));
        self.said.insert(Arc::clone(name), said);
        self.held.set_proxy(name, proxy, self.operators_now());
    }

    /// For so long nobody can ask or tell the API server anything.
    pub(crate) fn is_cut_off(&mut self, seconds: i64) {
        let since = self.operators_now();
        self.now += SignedDuration::from_secs(seconds);
        let now = self.operators_now();
        self.held.was_unheard(since, now);
    }

    /// One second after another.
    pub(crate) fn run(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.operate(usize::MAX);
            self.now += SignedDuration::from_secs(1);
            self.answer();
        }
    }

    /// The operator dies and another takes its place: of times it knows what is written.
    pub(crate) fn restart(&mut self) {
        self.restart_elsewhere(self.skew);
    }

    /// The same on a machine whose clock is so many seconds ahead.
    pub(crate) fn restart_elsewhere(&mut self, skew: i64) {
        self.skew = skew;
        let now = self.operators_now();
        for (name, mut proxy) in std::mem::take(&mut self.held.proxies) {
            let said = self.said.get(&name);
            let said = said.filter(|_| proxy.answer != Answer::None);
            proxy.ready_since = said.filter(|said| said.0).map(|said| said.1);
            proxy.unready_since = said.filter(|said| !said.0).map(|said| said.1);
            self.held.set_proxy(&name, proxy, now);
        }
        for node in std::mem::take(&mut self.held.nodes).into_values() {
            self.held.set_node(node, now);
        }
    }

    pub(crate) fn condition(&self, kind: &str) -> (String, String, String) {
        self.condition_of(POLICY, kind)
    }

    pub(crate) fn condition_of(&self, policy: &str, kind: &str) -> (String, String, String) {
        let status = &self.held.policies[policy].status;
        let condition = status.conditions.iter().find(|c| c.type_ == kind).unwrap();
        (
            condition.status.clone(),
            condition.reason.clone(),
            condition.message.clone(),
        )
    }

    /// What failed of the policy.
    pub(crate) fn rejected(&self) -> Option<&String> {
        self.held.policies[POLICY].status.rejected_revision.as_ref()
    }

    pub(crate) fn revision_of(&self, node: &str) -> String {
        self.held.proxies[node]
            .told
            .as_ref()
            .unwrap()
            .revision
            .to_string()
    }

    pub(crate) fn revisions(&self) -> BTreeSet<String> {
        let told = self
            .held
            .proxies
            .values()
            .filter_map(|proxy| proxy.told.as_ref());
        told.map(|told| told.revision.to_string()).collect()
    }

    /// So many nodes, all at the policy's first revision and ready.
    pub(crate) fn settled(agents: &[Agent], rollout: Rollout) -> Self {
        let mut world = Self::new();
        for (index, agent) in agents.iter().enumerate() {
            world.add_node(&format!("n{index:02}"), *agent);
        }
        world.apply(POLICY, Ok(spec(0, Mode::IPTables, rollout)));
        world.run(200);
        assert_eq!(world.condition("Ready").0, "True");
        world.most_unavailable = 0;
        world.node_writes = 0;
        world
    }
}

/// Policies that differ by a number.
pub(crate) fn spec(number: u32, mode: Mode, rollout: Rollout) -> ServiceProxyPolicySpec {
    let mut spec = ServiceProxyPolicySpec {
        mode,
        rollout,
        ..ServiceProxyPolicySpec::default()
    };
    spec.mode_switch.drain_timeout_seconds = Some(number);
    spec
}

pub(crate) const GOOD: Agent = Agent {
    takes: 3,
    can_run_ipvs: true,
    ipvs_takes: 0,
    runs: true,
};

/// No agent at all.
pub(crate) const ABSENT: Agent = Agent {
    runs: false,
    ..GOOD
};
