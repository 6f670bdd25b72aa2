//! The node's sysctls, as the settings want them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sluice_api_access::with_causes;
use sluice_kernel::sysctl::{LedgerError, ProcSysctls, Restored, SysctlLedger, Sysctls};
use sluice_service_plan::model::NodeFacts;

use super::forwarding;
use crate::cpus;
use crate::settings::{NodeSettings, ROUTE_LOCALNET, is_enough, wanted_sysctls};

const FILE: &str = "sysctls.json";

/// Keeps the sysctls that are asked for, and remembers what they were. A node that does not take one is told once, and served without it.
pub struct Tunables {
    sysctls: Box<dyn Sysctls>,
    ledger: SysctlLedger,
    cores: u32,
    told: BTreeMap<String, String>,
    /// Those that are not in force, in sentences.
    not_in_force: Vec<String>,
}

impl Tunables {
    /// The sysctls of this node, whose `/proc/sys` is at that path, remembered in the state directory.
    pub fn open(proc_sys: &Path, state_dir: &Path) -> Result<Self, LedgerError> {
        let door = ProcSysctls::below(proc_sys);
        Self::new(Box::new(door), &ledger_path(state_dir))
    }

    /// Sysctls behind another door, remembered in a file.
    pub fn new(sysctls: Box<dyn Sysctls>, ledger: &Path) -> Result<Self, LedgerError> {
        Ok(Self {
            sysctls,
            ledger: SysctlLedger::open(ledger)?,
            cores: cpus::online(),
            told: BTreeMap::new(),
            not_in_force: Vec::new(),
        })
    }

    /// What of the node's sysctls keeps its packets from pods, and which are not as asked for, in sentences.
    pub fn conditions(&mut self, node: &NodeFacts) -> Vec<String> {
        let mut conditions = forwarding::conditions(node, self.sysctls.as_mut());
        conditions.extend(self.not_in_force.iter().cloned());
        conditions
    }

    /// Sets some at once, because what follows counts on them. An error says which is not in force.
    pub fn set_now(&mut self, sysctls: &[(String, String)]) -> Result<(), LedgerError> {
        for (name, value) in sysctls {
            if self.ledger.set(self.sysctls.as_mut(), name, value)? {
                tracing::info!(name, value, "sysctl set");
            }
        }
        Ok(())
    }

    /// Brings back those that are no longer asked for: by the settings, or as `more`. To be called before a sync, which may remove the
    /// rule that guards one.
    pub fn release(&mut self, settings: &NodeSettings, more: &[(String, String)]) {
        let wanted = self.wanted(settings, more);
        let unwanted: Vec<String> = self
            .ledger
            .names()
            .filter(|name| !wanted.iter().any(|(wanted, _)| wanted == name))
            .map(str::to_owned)
            .collect();
        for name in unwanted {
            match self.ledger.restore(self.sysctls.as_mut(), &name) {
                Ok(Some(Restored::Failed(error))) => self.tell(&name, &error.to_string()),
                Ok(_) => tracing::info!(name, "sysctl is no longer ours"),
                Err(error) => self.tell(&name, &error.to_string()),
            }
        }
    }

    /// Sets those that are asked for. To be called after a sync, when the rules that guard them are in. Returns how many are not in force.
    pub fn apply(&mut self, settings: &NodeSettings, more: &[(String, String)]) -> usize {
        let wanted = self.wanted(settings, more);
        self.told
            .retain(|name, _| wanted.iter().any(|(wanted, _)| wanted == name));
        self.not_in_force.clear();
        for (name, value) in &wanted {
            let present = self.sysctls.read(name);
            if present.is_ok_and(|present| is_enough(settings, name, &present, value)) {
                self.told.remove(name);
                continue;
            }
            match self.ledger.set(self.sysctls.as_mut(), name, value) {
                Ok(written) => {
                    self.told.remove(name);
                    if written {
                        tracing::info!(name, value, "sysctl set");
                    }
                }
                Err(error) => {
                    let error = with_causes(&error);
                    let field = field_of(settings, name);
                    self.not_in_force.push(format!(
                        "sysctl {name} is not {value}: {error}; correct it in {field}"
                    ));
                    self.tell(name, &error);
                }
            }
        }
        self.not_in_force.len()
    }

    fn wanted(&self, settings: &NodeSettings, more: &[(String, String)]) -> Vec<(String, String)> {
        let mut wanted = wanted_sysctls(settings, self.cores);
        let named = |name: &String| wanted.iter().any(|(known, _)| known == name);
        let more: Vec<_> = more
            .iter()
            .filter(|(name, _)| !named(name))
            .cloned()
            .collect();
        wanted.extend(more);
        wanted
    }

    fn tell(&mut self, name: &str, error: &str) {
        if self.told.get(name).is_none_or(|told| told != error) {
            tracing::warn!(name, error, "a sysctl is not as asked for");
            self.told.insert(name.to_owned(), error.to_owned());
        }
    }
}

/// The field of a policy that asks for it.
fn field_of(settings: &NodeSettings, name: &str) -> &'static str {
    if settings.sysctls.iter().any(|sysctl| sysctl.name == name) {
        "spec.sysctls"
    } else if name == ROUTE_LOCALNET {
        "spec.nodePorts.localhost"
    } else if name.starts_with("net.netfilter.nf_conntrack_") {
        "spec.conntrack"
    } else {
        "spec.ipvs"
    }
}

/// Where old values are remembered.
pub fn ledger_path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::NodeNetworks;
    use sluice_crds::v1alpha1::{ServiceProxyPolicySpec, Sysctl};
    use sluice_kernel::sysctl::MemorySysctls;

    fn settings(change: impl FnOnce(&mut ServiceProxyPolicySpec)) -> NodeSettings {
        let mut policy = ServiceProxyPolicySpec::default();
        change(&mut policy);
        NodeSettings::resolve(&policy, NodeNetworks::default())
    }

    /// A `/proc/sys` of our own, with one tunable.
    fn tunables(dir: &Path) -> (Tunables, PathBuf) {
        let root = dir.join("sys");
        let file = root.join("net/ipv4/conf/all/route_localnet");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "0\n").unwrap();
        let door = Box::new(ProcSysctls::below(&root));
        (Tunables::new(door, &ledger_path(dir)).unwrap(), file)
    }

    #[test]
    fn a_sysctl_is_set_while_asked_for_and_then_brought_back() {
        let dir = tempfile::tempdir().unwrap();
        let (mut tunables, file) = tunables(dir.path());
        let value = || std::fs::read_to_string(&file).unwrap().trim().to_owned();
        let on = settings(|policy| policy.node_ports.localhost = true);
        tunables.release(&on, &[]);
        assert_eq!(tunables.apply(&on, &[]), 0);
        assert_eq!(value(), "1");
        let off = settings(|_| ());
        tunables.release(&off, &[]);
        assert_eq!(value(), "0");
        assert_eq!(tunables.apply(&off, &[]), 0);
    }

    #[test]
    fn one_that_the_node_lacks_is_counted_and_the_others_are_set() {
        let dir = tempfile::tempdir().unwrap();
        let (mut tunables, file) = tunables(dir.path());
        let wanted = settings(|policy| {
            policy.node_ports.localhost = true;
            policy.conntrack.tcp_close_wait_timeout_seconds = Some(60);
        });
        assert_eq!(tunables.apply(&wanted, &[]), 1);
        assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), "1");
    }

    #[test]
    fn buckets_of_connection_tracking_grow_with_its_table_and_never_shrink() {
        const BUCKETS: &str = "net.netfilter.nf_conntrack_buckets";
        let dir = tempfile::tempdir().unwrap();
        let kernel = MemorySysctls::new([
            (BUCKETS, "65536"),
            ("net.netfilter.nf_conntrack_max", "65536"),
        ]);
        let ledger = ledger_path(dir.path());
        let mut tunables = Tunables::new(Box::new(kernel.clone()), &ledger).unwrap();
        let mut value = |min: u32, buckets: Option<&str>| {
            let wanted = settings(|policy| {
                policy.conntrack.max_per_core = Some(1);
                policy.conntrack.min = Some(min);
                policy.sysctls.extend(buckets.map(|value| Sysctl {
                    name: BUCKETS.into(),
                    value: value.into(),
                }));
            });
            tunables.release(&wanted, &[]);
            assert_eq!(tunables.apply(&wanted, &[]), 0);
            kernel.clone().read(BUCKETS).unwrap()
        };
        assert_eq!(value(131_072, None), "65536");
        assert_eq!(value(1_000_000, None), "253952");
        assert_eq!(value(131_072, None), "253952");
        assert_eq!(value(131_072, Some("1024")), "1024", "the owner's word");
        tunables.release(&settings(|_| ()), &[]);
        assert_eq!(kernel.clone().read(BUCKETS).unwrap(), "65536");
    }
}
