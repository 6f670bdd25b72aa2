//! iptables rules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of iptables rules, in whatever mode they are used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Iptables {
    /// Which iptables binaries to use. Default: `Auto`.
    pub variant: IptablesVariant,
}

/// Which iptables binaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum IptablesVariant {
    /// The ones that the node uses already.
    #[default]
    Auto,
    /// `iptables-legacy`.
    Legacy,
    /// `iptables-nft`.
    NFT,
}

/// An iptables variant that a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InstalledVariant {
    /// `iptables-legacy`.
    Legacy,
    /// `iptables-nft`.
    NFT,
}
