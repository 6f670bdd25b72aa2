//! Which data plane.

use std::fmt;

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::invalid::Checker;
use super::schema::{rule, says_with};

/// The data plane of the selected nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// By the number of services, as `auto` says, and by what the node can run.
    #[default]
    Auto,
    /// iptables rules pick endpoints.
    IPTables,
    /// The kernel's IPVS picks endpoints. A node that cannot run it says so, and is served by iptables rules.
    IPVS,
}

/// The data plane that a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ActiveMode {
    /// iptables rules pick endpoints.
    IPTables,
    /// The kernel's IPVS picks endpoints.
    IPVS,
}

impl From<ActiveMode> for Mode {
    fn from(mode: ActiveMode) -> Self {
        match mode {
            ActiveMode::IPTables => Self::IPTables,
            ActiveMode::IPVS => Self::IPVS,
        }
    }
}

impl fmt::Display for ActiveMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IPTables => "IPTables",
            Self::IPVS => "IPVS",
        })
    }
}

/// What `mode: Auto` goes by. Between the two numbers a node stays in the mode it is in; one that starts there runs iptables rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = AutoMode::rules()))]
pub struct AutoMode {
    /// With more services than this, 0 or more, a node runs IPVS, if it can. Default: 1000.
    pub ipvs_above_services: u32,
    /// With fewer services than this, at most `ipvsAboveServices`, it runs iptables rules. Default: 800.
    pub iptables_below_services: u32,
}

impl Default for AutoMode {
    fn default() -> Self {
        Self {
            ipvs_above_services: 1000,
            iptables_below_services: 800,
        }
    }
}

impl AutoMode {
    fn rules() -> [Rule; 1] {
        [rule(
            ".iptablesBelowServices",
            "self.iptablesBelowServices <= self.ipvsAboveServices",
            says_with(
                "%d is greater than ipvsAboveServices (%d), so both modes would be right in between: lower it, or raise the other",
                &["self.iptablesBelowServices", "self.ipvsAboveServices"],
            ),
        )]
    }

    pub(super) fn check(self, c: &mut Checker) {
        let (above, below) = (self.ipvs_above_services, self.iptables_below_services);
        if below > above {
            c.field("iptablesBelowServices", |c| {
                c.wrong(format!("{below} is greater than ipvsAboveServices ({above}), so both modes would be right in between: lower it, or raise the other"));
            });
        }
    }

    fn by_size(self, services: usize, current: Option<ActiveMode>) -> ActiveMode {
        let services = u32::try_from(services).unwrap_or(u32::MAX);
        if services > self.ipvs_above_services {
            ActiveMode::IPVS
        } else if services < self.iptables_below_services {
            ActiveMode::IPTables
        } else {
            current.unwrap_or(ActiveMode::IPTables)
        }
    }
}

/// Everything of a policy that decides which data plane a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeRule {
    /// What the policy asks for.
    pub mode: Mode,
    /// What `Auto` goes by.
    pub auto: AutoMode,
    /// Another field of the policy asks for what IPVS cannot do (`nodePorts.localhost`).
    pub rules_out_ipvs: bool,
}

impl ModeRule {
    /// The mode of a node that proxies so many services, runs `current` now, if anything, and can run IPVS or cannot.
    /// Never IPVS where the node cannot run it or the policy rules it out.
    pub fn mode_for(
        &self,
        services: usize,
        current: Option<ActiveMode>,
        can_run_ipvs: bool,
    ) -> ActiveMode {
        let wanted = match self.mode {
            Mode::IPTables => ActiveMode::IPTables,
            Mode::IPVS => ActiveMode::IPVS,
            Mode::Auto => self.auto.by_size(services, current),
        };
        if can_run_ipvs && !self.rules_out_ipvs {
            wanted
        } else {
            ActiveMode::IPTables
        }
    }
}

/// How the selected nodes go from one data plane to another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ModeSwitch {
    /// How long connections made under the old data plane may go on, in seconds; 0 ends them at once. Default: absent, until the last one ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_timeout_seconds: Option<u32>,
}
