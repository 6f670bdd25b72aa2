//! What IPVS needs of the kernel beyond virtual servers, by the kernel's version.

use sluice_crds::v1alpha1::ConnectionReuse;

use super::NodeSettings;
use super::kernel_version::KernelVersion;

/// From here on a connection that reuses a client's port is rescheduled without a wait (Linux commit f0a5e4d7a594).
const RESCHEDULES_AT_ONCE: KernelVersion = KernelVersion::new(5, 9);

/// From here on the connection table of 64-bit kernels may have more than 2^20 rows (Linux commit 04292c695f82).
const LARGE_TABLES: KernelVersion = KernelVersion::new(6, 5);

/// What the policy says of IPVS that no plan depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvsTunables {
    /// Answer ARP for addresses of the asking interface only.
    pub strict_arp: bool,
    /// What becomes of a new connection from a client's port whose earlier connection is known still.
    pub connection_reuse: ConnectionReuse,
    /// Logarithm (base 2) of the connection table's size; absent leaves it to the kernel.
    pub connection_table_bits: Option<u8>,
}

impl IpvsTunables {
    /// The module parameter `conn_tab_bits` for `ip_vs`: a kernel takes its default in place of one that it finds too large.
    pub fn module_table_bits(&self, kernel: KernelVersion) -> Option<u8> {
        let most = if kernel < LARGE_TABLES { 20 } else { 27 };
        self.connection_table_bits.map(|bits| bits.min(most))
    }

    /// Kernels before 5.9 can do one of two things right. Says which it is, as a sentence for logs and conditions.
    pub fn connection_reuse_warning(&self, kernel: KernelVersion) -> Option<String> {
        if kernel >= RESCHEDULES_AT_ONCE {
            return None;
        }
        let what = if self.reschedules(kernel) {
            "is 1: such a connection gets a live endpoint, but its client may wait a second for it (choose connectionReuse: Keep against that)"
        } else {
            "is 0: such a connection waits for nothing, but goes to the endpoint of the earlier one, even if that is about to go away (choose connectionReuse: Reschedule against that)"
        };
        Some(format!(
            "kernel {kernel} cannot serve a new connection from a client's port that was in use shortly before both at once and by a live endpoint, as {RESCHEDULES_AT_ONCE} and later can; net.ipv4.vs.conn_reuse_mode {what}"
        ))
    }

    fn reschedules(&self, kernel: KernelVersion) -> bool {
        match self.connection_reuse {
            ConnectionReuse::Auto => kernel >= RESCHEDULES_AT_ONCE,
            ConnectionReuse::Reschedule => true,
            ConnectionReuse::Keep => false,
        }
    }
}

/// Names and values of the sysctls that IPVS needs, beyond those of [`wanted_sysctls`](super::wanted_sysctls). `net.ipv4.vs.conntrack`
/// must be on before the first connection; those of `net.ipv4.vs` exist once the module `ip_vs` is loaded, and count for IPv6 too.
pub fn ipvs_sysctls(settings: &NodeSettings, kernel: KernelVersion) -> Vec<(String, String)> {
    let ipvs = &settings.ipvs;
    let sysctls = [
        ("net.ipv4.vs.conntrack", Some(1)),
        (
            "net.ipv4.vs.conn_reuse_mode",
            Some(u32::from(ipvs.reschedules(kernel))),
        ),
        ("net.ipv4.vs.expire_nodest_conn", Some(1)),
        ("net.ipv4.vs.expire_quiescent_template", Some(1)),
        // Else IPVS answers replies of connections that another data plane made with ICMP errors.
        ("net.ipv4.vs.nat_icmp_send", Some(0)),
        ("net.ipv4.conf.all.arp_ignore", ipvs.strict_arp.then_some(1)),
        (
            "net.ipv4.conf.all.arp_announce",
            ipvs.strict_arp.then_some(2),
        ),
    ];
    sysctls
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_string())))
        .collect()
}
