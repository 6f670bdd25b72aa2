//! What this node must have before IPVS can balance: modules, and sysctls that count from the first connection on.

use std::collections::BTreeSet;

use sluice_crds::v1alpha1::Mode;
use sluice_kernel::modules::{ModprobeModules, ModuleState, Modules};
use sluice_kernel::sysctl::LedgerError;

use super::tunables::Tunables;
use crate::firewalls::KnownFirewalls;
use crate::settings::{KernelVersion, NodeSettings, ipvs_sysctls};

/// IPVS itself, its match for iptables, the kind of the device that addresses are bound to, connection tracking.
const MODULES: [&str; 4] = ["ip_vs", "xt_ipvs", "dummy", "nf_conntrack"];

/// Why IPVS cannot be used here.
#[derive(Debug)]
pub enum NotReady {
    /// The node lacks what it takes.
    Lack(String),
    /// What a sysctl was before could not be noted, which may pass.
    NotNoted(LedgerError),
}

/// Makes this node ready for IPVS, as far as the agent may.
pub struct IpvsHost {
    modules: Box<dyn Modules>,
    kernel: Result<KernelVersion, String>,
    told: BTreeSet<String>,
    firewalls: KnownFirewalls,
}

impl IpvsHost {
    /// The node that this process runs on.
    pub fn of_this_node() -> Self {
        let kernel = KernelVersion::running().map_err(|error| error.to_string());
        Self::new(Box::new(ModprobeModules::new()), kernel)
    }

    /// A node with modules behind another door.
    pub fn new(modules: Box<dyn Modules>, kernel: Result<KernelVersion, String>) -> Self {
        Self {
            modules,
            kernel,
            told: BTreeSet::new(),
            firewalls: KnownFirewalls::default(),
        }
    }

    /// Loads what is missing and sets what must be on. An error says why IPVS cannot be used here. Modules that cannot be loaded are
    /// told only: the kernel may have them built in, or load them by itself.
    pub fn make_ready(
        &mut self,
        settings: &NodeSettings,
        tunables: &mut Tunables,
    ) -> Result<(), NotReady> {
        let kernel = self.kernel.clone().map_err(NotReady::Lack)?;
        if settings.mode.mode == Mode::Auto
            && let Some(firewall) = self.firewalls.in_the_way_of_ipvs().into_iter().next()
        {
            return Err(NotReady::Lack(firewall));
        }
        let bits = settings.ipvs.module_table_bits(kernel);
        let bits = bits.map(|bits| bits.to_string());
        let plan = &settings.plan;
        let overrides = plan.service_overrides.iter();
        let schedulers: BTreeSet<&str> = overrides
            .map(|row| &*row.ipvs_scheduler)
            // Where endpoints have weights, these stand in for rr and lc.
            .chain([&*plan.ipvs.scheduler, "wrr", "wlc"])
            .collect();
        let schedulers = schedulers.into_iter().map(|name| format!("ip_vs_{name}"));
        for module in MODULES.into_iter().map(str::to_owned).chain(schedulers) {
            let parameters: Vec<_> = match &bits {
                Some(bits) if module == "ip_vs" => vec![("conn_tab_bits", bits.as_str())],
                _ => Vec::new(),
            };
            self.load(&module, &parameters);
        }
        let set = tunables.set_now(&ipvs_sysctls(settings, kernel));
        set.map_err(|error| match error {
            LedgerError::Sysctl(error) => NotReady::Lack(error.to_string()),
            error => NotReady::NotNoted(error),
        })
    }

    /// Sysctls that IPVS needs as long as it has connections.
    pub fn sysctls(&self, settings: &NodeSettings) -> Vec<(String, String)> {
        let kernel = self.kernel.as_ref();
        kernel.map_or_else(|_| Vec::new(), |kernel| ipvs_sysctls(settings, *kernel))
    }

    /// What this kernel cannot do as the settings ask, in sentences.
    pub fn conditions(&mut self, settings: &NodeSettings) -> Vec<String> {
        let mut conditions = self.firewalls.in_the_way_of_ipvs();
        let Ok(kernel) = &self.kernel else {
            return conditions;
        };
        conditions.extend(settings.ipvs.connection_reuse_warning(*kernel));
        if let Some(wanted) = settings.ipvs.module_table_bits(*kernel)
            && let Some(present) = table_bits_in_force()
            && present != wanted
        {
            conditions.push(format!(
                "the module ip_vs was loaded with conn_tab_bits={present} instead of {wanted}: it takes the parameter when it is loaded only"
            ));
        }
        conditions
    }

    fn load(&mut self, module: &str, parameters: &[(&str, &str)]) {
        let state = self.modules.state(module);
        if state.as_ref().is_ok_and(|state| state.is_present()) {
            return;
        }
        match self.modules.load(module, parameters) {
            Ok(()) => tracing::info!(module, "kernel module loaded"),
            Err(error) if self.told.insert(module.to_owned()) => {
                let seen = state.unwrap_or(ModuleState::Missing);
                tracing::info!(module, ?seen, %error, "kernel module not loaded; the kernel may have it all the same");
            }
            Err(_) => {}
        }
    }
}

fn table_bits_in_force() -> Option<u8> {
    let text = std::fs::read_to_string("/sys/module/ip_vs/parameters/conn_tab_bits").ok()?;
    text.trim().parse().ok()
}
