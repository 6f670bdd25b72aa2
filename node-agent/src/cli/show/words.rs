//! The report for people.

use std::fmt;

use super::chains::Clients;
use super::report::{FrontendReport, RealServerReport, Report, VirtualServerReport};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mode {
            Some(mode) => writeln!(f, "mode {mode}")?,
            None => writeln!(f, "nothing of ours serves on this node")?,
        }
        if self.ipvs_drains {
            writeln!(f, "IPVS keeps old connections until they end")?;
        }
        for rules in &self.rules {
            writeln!(
                f,
                "iptables {}, {}: {} chains, {} rules",
                rules.variant, rules.family, rules.chains, rules.rules
            )?;
        }
        for server in &self.virtual_servers {
            write!(f, "{server}")?;
        }
        for frontend in &self.frontends {
            write!(f, "{frontend}")?;
        }
        for refused in &self.refused {
            let what = if refused.how == "drop" {
                "dropped"
            } else {
                "refused"
            };
            writeln!(f, "{}: {what}, it has no usable endpoint", refused.frontend)?;
        }
        for binding in &self.bindings {
            let source = binding.source;
            let source = source.map(|ip| format!(", the node's own packets from {ip}"));
            let by = if binding.by == "address" {
                "as an address of"
            } else {
                "by a local route on"
            };
            writeln!(
                f,
                "service address {} {by} kube-ipvs0{}",
                binding.address,
                source.unwrap_or_default()
            )?;
        }
        for set in &self.address_sets {
            writeln!(
                f,
                "set {} ({}): {} entries",
                set.name, set.kind, set.entries
            )?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for VirtualServerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.server, self.scheduler)?;
        if let Some(seconds) = self.persistence_seconds {
            write!(f, ", a client stays {seconds} s")?;
        }
        if self.server.starts_with("FWM") {
            let of: Vec<String> = self.frontends.iter().map(ToString::to_string).collect();
            write!(f, ", clients inside this node of {}", of.join(", "))?;
        }
        writeln!(f)?;
        if self.real_servers.is_empty() {
            writeln!(f, "    no real server")?;
        }
        for server in &self.real_servers {
            writeln!(f, "    {server}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RealServerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  ", self.address)?;
        if self.draining {
            write!(f, "draining")?;
        } else {
            write!(f, "weight {}", self.weight)?;
        }
        write!(
            f,
            ", {} active, {} inactive",
            self.active_connections, self.inactive_connections
        )
    }
}

impl fmt::Display for FrontendReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.frontend)?;
        if self.affinity {
            write!(f, ", a client stays")?;
        }
        writeln!(f)?;
        for endpoint in &self.endpoints {
            let clients = match endpoint.clients {
                Clients::All => "",
                Clients::Inside => ", for clients inside this node",
                Clients::Outside => ", for clients outside",
            };
            let percent = endpoint.share * 100.0;
            writeln!(f, "    {}  {percent:.1} %{clients}", endpoint.address)?;
        }
        Ok(())
    }
}
