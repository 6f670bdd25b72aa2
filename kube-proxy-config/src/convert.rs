//! From kube-proxy's configuration to a policy and the agent's flags. Pure.
//!
//! What kube-proxy does by default, without a word of its configuration, is said where Sluice does otherwise.

use std::fmt::Display;
use std::time::Duration;

use sluice_crds::v1alpha1::{
    BridgeInterface, Cidr, ClusterCidr, Conntrack, DetectLocal, DetectLocalMode,
    InterfaceNamePrefix, IpvsTimeouts, Mode, NodePortAddress, ServiceProxyPolicySpec,
    SyncIntervals, Sysctl,
};

use super::config::{self, ConfigError, Section};
use super::node_port_entries::{NodePortEntries, holds_localhost};
use super::without_equivalent;

/// Why a configuration does not become a policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// It cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The policy would be refused.
    #[error("the policy would be refused, so change the configuration first: {0}")]
    Refused(String),
    /// The policy cannot be put in YAML.
    #[error("the policy cannot be written as YAML: {0}")]
    Unwritable(String),
}

/// What became of a configuration.
#[derive(Debug, Default)]
pub struct Conversion {
    /// The policy, which validates.
    pub policy: ServiceProxyPolicySpec,
    /// Flags of `sluice-agent run`, each with its value.
    pub flags: Vec<String>,
    /// What has no equivalent or differs, each with what to do.
    pub notes: Vec<String>,
}

/// Converts a `KubeProxyConfiguration`, or the `ConfigMap` that holds one.
pub fn convert(text: &str) -> Result<Conversion, ConvertError> {
    let mut root = config::read(text)?;
    let mut done = Conversion::default();
    done.mode(&mut root)?;
    let localhost = done.rules_of_mode(&mut root)?;
    done.node_ports(&mut root, localhost)?;
    done.detect_local(&mut root)?;
    done.conntrack(&mut root)?;
    done.notes
        .extend(without_equivalent::take(&mut root, &mut done.flags)?);
    done.note_unknown(&root);
    let refused = done.policy.validate();
    if refused.is_empty() {
        Ok(done)
    } else {
        let all: Vec<String> = refused.iter().map(ToString::to_string).collect();
        Err(ConvertError::Refused(all.join("; ")))
    }
}

impl Conversion {
    fn note(&mut self, field: impl Display, what: impl Display) {
        self.notes.push(format!("{field}: {what}"));
    }

    fn note_unknown(&mut self, section: &Section) {
        for field in section.unknown() {
            self.note(
                field,
                "not a field of KubeProxyConfiguration v1alpha1, left out",
            );
        }
    }

    fn mode(&mut self, root: &mut Section) -> Result<(), ConfigError> {
        self.policy.mode = match root.text("mode")?.as_deref() {
            None | Some("iptables") => Mode::IPTables,
            Some("ipvs") => Mode::IPVS,
            Some("nftables") => {
                self.note(
                    "mode",
                    "Sluice has no nftables mode: Auto, which is iptables rules until there are many services",
                );
                Mode::Auto
            }
            Some(other) => {
                return Err(root.wrong(
                    "mode",
                    format!(
                        "{other:?} is not a mode of a Linux node: write iptables, ipvs or nftables"
                    ),
                ));
            }
        };
        Ok(())
    }

    /// Settings that each mode of kube-proxy has of its own. Of the others only unknown fields are told. Returns whether
    /// node ports are served on 127.0.0.1, where that is said.
    fn rules_of_mode(&mut self, root: &mut Section) -> Result<Option<bool>, ConfigError> {
        let mut localhost = None;
        for (name, mode, min_default) in [
            ("iptables", Mode::IPTables, 1000),
            ("ipvs", Mode::IPVS, 0),
            ("nftables", Mode::Auto, 1000),
        ] {
            let mut section = root.section(name)?;
            let in_use = mode == self.policy.mode;
            let period = section
                .duration("syncPeriod")?
                .filter(|period| !period.is_zero());
            let minimum = section
                .duration("minSyncPeriod")?
                .filter(|period| !period.is_zero());
            if let (true, Some(period)) = (in_use, period.filter(|period| period.as_secs() != 30)) {
                let seconds = seconds(&section, "syncPeriod", period)?;
                self.policy.sync.full_interval_seconds = seconds;
            }
            if let (true, Some(minimum)) = (in_use, minimum)
                && minimum.as_millis() != min_default
            {
                self.min_interval(name, minimum);
            }
            if name == "ipvs" {
                self.ipvs_section(&mut section)?;
            } else {
                let bit = section.take::<u32>("masqueradeBit")?;
                let all = section.take::<bool>("masqueradeAll")?.unwrap_or_default();
                // IPVS goes by those of iptables.
                if in_use || (name == "iptables" && self.policy.mode == Mode::IPVS) {
                    let nat = &mut self.policy.source_nat;
                    nat.mark_bit = bit.unwrap_or(nat.mark_bit);
                    nat.masquerade_all = all;
                }
            }
            if name == "iptables" {
                localhost = section.take::<bool>("localhostNodePorts")?;
            }
            self.note_unknown(&section);
        }
        Ok(localhost)
    }

    fn min_interval(&mut self, section: &str, minimum: Duration) {
        const LONGEST: u32 = SyncIntervals::MAX_MIN_INTERVAL_MILLISECONDS;
        let milliseconds = u32::try_from(minimum.as_millis()).unwrap_or(u32::MAX);
        if milliseconds > LONGEST {
            self.note(
                format_args!("{section}.minSyncPeriod"),
                format_args!(
                    "longer than spec.sync.minIntervalMilliseconds may be, so that is {LONGEST}: a change counts on the nodes sooner"
                ),
            );
        }
        self.policy.sync.min_interval_milliseconds = milliseconds.min(LONGEST);
    }

    fn ipvs_section(&mut self, section: &mut Section) -> Result<(), ConfigError> {
        if let Some(scheduler) = section.text("scheduler")? {
            self.policy.ipvs.scheduler = scheduler;
        }
        for text in section
            .take::<Vec<String>>("excludeCIDRs")?
            .unwrap_or_default()
        {
            let cidr = cidr(section, "excludeCIDRs", &text)?;
            if !self.policy.ipvs.exclude_cidrs.contains(&cidr) {
                self.policy.ipvs.exclude_cidrs.push(cidr);
            }
        }
        if self.policy.mode != Mode::IPTables && !self.policy.ipvs.exclude_cidrs.is_empty() {
            self.note(
                "ipvs.excludeCIDRs",
                "kube-proxy only leaves other programs' virtual servers there alone, Sluice serves no Service address in these networks in IPVS mode: list \
                 none that a Service has",
            );
        }
        let strict = section.take::<bool>("strictARP")?.unwrap_or_default();
        if self.policy.mode == Mode::IPVS && !strict {
            self.note(
                "ipvs.strictARP",
                "false in kube-proxy, true in Sluice, which only keeps nodes from answering ARP for each other: set spec.ipvs.strictARP: false if \
                 something relies on that",
            );
        }
        self.policy.ipvs.timeouts = IpvsTimeouts {
            tcp_seconds: timeout(section, "tcpTimeout")?,
            tcp_fin_seconds: timeout(section, "tcpFinTimeout")?,
            udp_seconds: timeout(section, "udpTimeout")?,
        };
        Ok(())
    }

    fn node_ports(
        &mut self,
        root: &mut Section,
        localhost: Option<bool>,
    ) -> Result<(), ConfigError> {
        let entries = NodePortEntries::take(root)?;
        for word in &entries.unknown {
            self.note(
                "nodePortAddresses",
                format_args!(
                    "{word:?} is neither a network nor a word that is known here, left out: name the networks that it means"
                ),
            );
        }
        let by_rules = self.policy.mode == Mode::IPTables;
        let asked = localhost == Some(true) || !entries.localhost.is_empty();
        let can_be = by_rules && localhost != Some(false);
        let (addresses, left_out) = entries.settled(can_be);
        for text in left_out {
            self.note(
                "nodePortAddresses",
                format_args!(
                    "{text} left out: node ports on 127.0.0.1 are served with spec.nodePorts.localhost: true and by iptables rules, those on \
                     ::1 are not"
                ),
            );
        }
        let everywhere = addresses.is_empty();
        if everywhere && entries.told && !entries.all {
            return Err(root.wrong(
                "nodePortAddresses",
                "only loopback, where Sluice serves node ports by iptables rules and over IPv4 alone, or words that are not known here, and a policy without \
                 addresses would serve them on every address of the node: name the networks of the nodes' addresses that may have them, or [primary]"
                    .to_owned(),
            ));
        }
        // Elsewhere kube-proxy serves none there either.
        let in_reach = everywhere || addresses.iter().any(holds_localhost);
        let node_ports = &mut self.policy.node_ports;
        node_ports.localhost = can_be && asked && in_reach;
        node_ports.addresses = addresses;
        // The default of kube-proxy's nftables mode, of which `Auto` was made.
        if !entries.told && self.policy.mode == Mode::Auto {
            node_ports.addresses.push(NodePortAddress::Primary);
        }
        if by_rules && localhost.is_none() && !asked && in_reach {
            self.note(
                "iptables.localhostNodePorts",
                "kube-proxy serves node ports on 127.0.0.1 by default, Sluice does not: set spec.nodePorts.localhost: true if something on the node \
                 uses that",
            );
        }
        Ok(())
    }

    fn detect_local(&mut self, root: &mut Section) -> Result<(), ConfigError> {
        let mode = root.text("detectLocalMode")?;
        let mode = mode.as_deref().unwrap_or("ClusterCIDR");
        let cidrs = root.text("clusterCIDR")?;
        let mut section = root.section("detectLocal")?;
        let bridge = section.text("bridgeInterface")?;
        let prefix = section.text("interfaceNamePrefix")?;
        for (field, owner, given) in [
            ("clusterCIDR", "ClusterCIDR", cidrs.is_some()),
            (
                "detectLocal.bridgeInterface",
                "BridgeInterface",
                bridge.is_some(),
            ),
            (
                "detectLocal.interfaceNamePrefix",
                "InterfaceNamePrefix",
                prefix.is_some(),
            ),
        ] {
            if given && owner != mode {
                self.note(
                    field,
                    format_args!("not in use with detectLocalMode {mode}, left out"),
                );
            }
        }
        let detect = &mut self.policy.source_nat.detect_local;
        match (mode, cidrs) {
            ("ClusterCIDR", Some(list)) => {
                let mut cidrs = Vec::new();
                for text in list.split(',') {
                    let cidr = cidr(root, "clusterCIDR", text.trim())?;
                    if !cidrs.contains(&cidr) {
                        cidrs.push(cidr);
                    }
                }
                *detect = DetectLocal {
                    mode: DetectLocalMode::ClusterCIDR,
                    cluster_cidr: Some(ClusterCidr { cidrs }),
                    ..DetectLocal::default()
                };
            }
            ("ClusterCIDR", None) => self.note(
                "clusterCIDR",
                "empty, so kube-proxy tells pods of no node apart; Sluice's Auto does where pods have addresses of spec.podCIDRs: set \
                 spec.sourceNAT.detectLocal.mode: None for the old way",
            ),
            ("NodeCIDR", _) => detect.mode = DetectLocalMode::NodeCIDR,
            ("BridgeInterface", _) => {
                detect.mode = DetectLocalMode::BridgeInterface;
                detect.bridge_interface = bridge.map(|name| BridgeInterface { name });
            }
            ("InterfaceNamePrefix", _) => {
                detect.mode = DetectLocalMode::InterfaceNamePrefix;
                detect.interface_name_prefix = prefix.map(|prefix| InterfaceNamePrefix { prefix });
            }
            (other, _) => {
                return Err(root.wrong(
                    "detectLocalMode",
                    format!(
                        "{other:?} is not a mode: write ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix"
                    ),
                ));
            }
        }
        self.note_unknown(&section);
        Ok(())
    }

    /// kube-proxy sets these unless told otherwise, and the node's values should not change with the proxy.
    fn conntrack(&mut self, root: &mut Section) -> Result<(), ConfigError> {
        let mut section = root.section("conntrack")?;
        let given = |value: u32| (value > 0).then_some(value);
        let per_core = section.take::<u32>("maxPerCore")?.unwrap_or(32 * 1024);
        let min = section.take::<u32>("min")?.unwrap_or(128 * 1024);
        let established = section.duration("tcpEstablishedTimeout")?;
        let established = established.unwrap_or(Duration::from_secs(24 * 3600));
        let close_wait = section.duration("tcpCloseWaitTimeout")?;
        let close_wait = close_wait.unwrap_or(Duration::from_secs(3600));
        self.policy.conntrack = Conntrack {
            max_per_core: given(per_core),
            // Without the one kube-proxy ignores the other.
            min: given(min).filter(|_| per_core > 0),
            tcp_established_timeout_seconds: given(seconds(
                &section,
                "tcpEstablishedTimeout",
                established,
            )?),
            tcp_close_wait_timeout_seconds: given(seconds(
                &section,
                "tcpCloseWaitTimeout",
                close_wait,
            )?),
            tcp_be_liberal: section.take("tcpBeLiberal")?.unwrap_or_default(),
        };
        for (field, name) in [
            ("udpTimeout", "net.netfilter.nf_conntrack_udp_timeout"),
            (
                "udpStreamTimeout",
                "net.netfilter.nf_conntrack_udp_timeout_stream",
            ),
        ] {
            if let Some(value) = timeout(&mut section, field)? {
                self.policy.sysctls.push(Sysctl {
                    name: name.to_owned(),
                    value: value.to_string(),
                });
            }
        }
        self.note_unknown(&section);
        Ok(())
    }
}

fn cidr(section: &Section, name: &str, text: &str) -> Result<Cidr, ConfigError> {
    text.parse()
        .map_err(|error| section.wrong(name, format!("{error}")))
}

/// In whole seconds, rounded up, so that no lifetime becomes none.
fn seconds(section: &Section, name: &str, duration: Duration) -> Result<u32, ConfigError> {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    u32::try_from(whole).map_err(|_| section.wrong(name, "too long".to_owned()))
}

/// One where zero leaves the kernel's value alone.
fn timeout(section: &mut Section, name: &str) -> Result<Option<u32>, ConfigError> {
    match section.duration(name)? {
        Some(duration) if !duration.is_zero() => seconds(section, name, duration).map(Some),
        _ => Ok(None),
    }
}
