//! A network in a policy.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::invalid::Checker;
use super::schema::{list, network_list, required, rule, says, says_with};

/// A network as `address/prefix length`, such as `10.0.0.0/8` or `fd00::/8`, without host bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr(IpNet);

/// Why a text is not a [`Cidr`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidrError {
    /// No address and prefix length.
    #[error("{0:?} is not a network: write address/prefix length, such as 10.0.0.0/8 or fd00::/8")]
    Syntax(String),
    /// Bits after the prefix are set.
    #[error("{0} has address bits after its prefix: write {net}", net = .0.trunc())]
    HostBits(IpNet),
}

impl Cidr {
    /// The network.
    pub fn net(self) -> IpNet {
        self.0
    }

    /// It holds every address of its family. Kernel address sets cannot hold such an entry.
    pub fn is_everything(self) -> bool {
        self.0.prefix_len() == 0
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let net: IpNet = text
            .parse()
            .map_err(|_| CidrError::Syntax(text.to_owned()))?;
        if net.trunc() != net {
            return Err(CidrError::HostBits(net));
        }
        Ok(Self(net))
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Cidr {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cidr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 63, "x-kubernetes-validations": network_rules(&[])})
    }
}

/// What must hold of the text of a network, or of one of the words.
pub(super) fn network_rules(words: &[&str]) -> [Rule; 2] {
    let word = if words.is_empty() {
        String::new()
    } else {
        format!("self in {} || ", list(words))
    };
    [
        rule(
            "",
            &format!("{word}isCIDR(self)"),
            says_with(
                "%s is not a network: write address/prefix length, such as 10.0.0.0/8 or fd00::/8",
                &["strings.quote(self)"],
            ),
        ),
        rule(
            "",
            "!isCIDR(self) || cidr(self) == cidr(self).masked()",
            says_with(
                "%s has address bits after its prefix: write %s",
                &["self", "string(cidr(self).masked())"],
            ),
        ),
    ]
}

/// A list for [`check_networks`].
pub(super) fn narrow_networks(generator: &mut SchemaGenerator) -> Schema {
    network_list::<Cidr>(
        generator,
        [rule(
            "",
            "!isCIDR(self) || cidr(self).prefixLength() > 0",
            says_with(format_args!("%s {EVERYTHING}"), &["self"]),
        )],
    )
}

/// Such a list that must not be empty.
pub(super) fn some_networks(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = narrow_networks(generator);
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([required("", "self.size() > 0", says(NO_NETWORK))]),
    );
    schema
}

const EVERYTHING: &str = "holds every address: list narrower networks";
/// Of a list that must not be empty.
pub(super) const NO_NETWORK: &str = "the list is empty: add the cluster's pod networks";

/// Checks a list of networks that become entries of kernel address sets.
pub(super) fn check_networks(name: &str, cidrs: &[Cidr], c: &mut Checker) {
    c.no_duplicates(name, cidrs);
    c.items(name, cidrs, |c, cidr| {
        if cidr.is_everything() {
            c.wrong(format!("{cidr} {EVERYTHING}"));
        }
    });
}
