//! Whether rules of a variant can serve IPv6 here.

use sluice_kernel::iptables::{Family, IptablesError, Variant, try_variant};

use super::SAMPLE;
use crate::family::node_families;

/// The families that this node has and rules of the variant can serve, and why IPv6 is not among them though the node has it.
pub(crate) fn served_families(variant: Variant) -> (Vec<Family>, Option<String>) {
    let mut families = node_families();
    let has_ipv6 = families.contains(&Family::V6);
    let lack = has_ipv6.then(|| lack_of_ipv6(variant)).flatten();
    if lack.is_some() {
        families.retain(|family| *family != Family::V6);
    }
    (families, lack)
}

/// Why they cannot; absent where they can, and where that cannot be told.
fn lack_of_ipv6(variant: Variant) -> Option<String> {
    let error = try_variant(variant, Family::V6, SAMPLE).err()?;
    if !is_lack(&error) {
        tracing::debug!(%error, "whether IPv6 can be served is not known: it counts as served");
        return None;
    }
    tracing::info!(%error, "IPv6 cannot be served");
    Some(words(variant))
}

fn words(variant: Variant) -> String {
    let module = match variant {
        Variant::Legacy => "ip6table_nat",
        Variant::Nft => "nft_chain_nat",
    };
    format!(
        "IPv6 is on, and iptables {variant} has no nat for it here: IPv6 Services are not served; load {module} and start the agent \
         anew, or switch IPv6 off"
    )
}

/// The same rules would not pass at another try.
fn is_lack(error: &IptablesError) -> bool {
    error.is_lack() || matches!(error, IptablesError::Refused { .. })
}
