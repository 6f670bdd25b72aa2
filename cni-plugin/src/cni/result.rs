//! What the plugins before this one made (CNI specification 1.1.0, section 5, "ADD Success"), and its way on to the runtime.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Code, Coded, RawObject, Version};

/// A pod has a few addresses; more is no pod.
const MAX_ADDRESSES: usize = 64;

/// Errors in `prevResult`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResultError {
    #[error(
        "prevResult is missing: sluice-cni must come after a main plugin in \"plugins\" of the network configuration"
    )]
    Missing,
    #[error("prevResult: {key} is not what the specification says")]
    Malformed {
        key: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("prevResult has version {0:?}, and only {versions} are understood", versions = Version::list())]
    Version(String),
    #[error("prevResult: {0:?} is not an address that a pod can have, with its prefix length")]
    Address(String),
    #[error("prevResult: ips refers to interface {index}, and there are {count} interfaces")]
    NoSuchInterface { index: i64, count: usize },
    #[error("prevResult: more than {MAX_ADDRESSES} addresses")]
    TooMany,
}

impl Coded for ResultError {
    fn code(&self) -> Code {
        match self {
            Self::Version(_) => Code::IncompatibleVersion,
            _ => Code::InvalidConfiguration,
        }
    }
}

/// As much of a result as is needed here, and all of it as it came.
#[derive(Debug)]
pub(crate) struct PreviousResult {
    whole: Box<RawValue>,
    version: Option<Version>,
    interfaces: Vec<Interface>,
    addresses: Vec<IpAddr>,
}

#[derive(Debug, Deserialize)]
struct Interface {
    #[serde(default)]
    name: String,
    #[serde(default)]
    sandbox: Option<String>,
}

impl Interface {
    fn is_in_a_sandbox(&self) -> bool {
        self.sandbox
            .as_ref()
            .is_some_and(|sandbox| !sandbox.is_empty())
    }
}

#[derive(Debug, Deserialize)]
struct Ip {
    address: String,
    #[serde(default)]
    interface: Option<i64>,
}

impl PreviousResult {
    pub(crate) fn read(whole: &RawValue) -> Result<Self, ResultError> {
        let object: RawObject = parse("prevResult", whole)?;
        let version = match object.get("cniVersion") {
            None => None,
            Some(raw) => {
                let name: String = parse("cniVersion", raw)?;
                let version = Version::named(&name);
                Some(version.ok_or_else(|| ResultError::Version(name.chars().take(32).collect()))?)
            }
        };
        let interfaces: Vec<Interface> = list(&object, "interfaces")?;
        let ips: Vec<Ip> = list(&object, "ips")?;
        if ips.len() > MAX_ADDRESSES {
            return Err(ResultError::TooMany);
        }
        let mut addresses = Vec::new();
        for ip in ips {
            if of_the_pod(&ip, &interfaces)? {
                addresses.push(address(&ip.address)?);
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        Ok(Self {
            whole: whole.to_owned(),
            version,
            interfaces,
            addresses,
        })
    }

    /// The pod's addresses, each once.
    pub(crate) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Names of the interfaces that are the node's.
    pub(crate) fn host_interfaces(&self) -> impl Iterator<Item = &str> {
        self.interfaces
            .iter()
            .filter(|interface| !interface.is_in_a_sandbox() && !interface.name.is_empty())
            .map(|interface| interface.name.as_str())
    }

    /// The result for the runtime: byte for byte as it came where it has the version asked for; else with the fields that tell the versions
    /// apart changed, and all others as they came.
    pub(crate) fn passed_on(&self, version: Version) -> Result<String, ResultError> {
        if self.version == Some(version) {
            return Ok(self.whole.get().to_owned());
        }
        let mut object: RawObject = parse("prevResult", &self.whole)?;
        object.set("cniVersion", raw("cniVersion", &version)?);
        let from = self.version.unwrap_or(version);
        if from.addresses_say_their_family() != version.addresses_say_their_family() {
            let mut ips: Vec<RawObject> = list(&object, "ips")?;
            for ip in &mut ips {
                say_family(ip, version)?;
            }
            if object.get("ips").is_some() {
                object.set("ips", raw("ips", &ips)?);
            }
        }
        serde_json::to_string(&object).map_err(malformed("prevResult"))
    }
}

fn say_family(ip: &mut RawObject, version: Version) -> Result<(), ResultError> {
    if !version.addresses_say_their_family() {
        ip.remove("version");
        return Ok(());
    }
    let Some(text) = ip.get("address") else {
        return Ok(());
    };
    let text: String = parse("ips", text)?;
    let family = if address(&text)?.is_ipv4() { "4" } else { "6" };
    ip.set("version", raw("ips", &family)?);
    Ok(())
}

/// Without a reference to an interface it is the pod's.
fn of_the_pod(ip: &Ip, interfaces: &[Interface]) -> Result<bool, ResultError> {
    let Some(index) = ip.interface else {
        return Ok(true);
    };
    let interface = usize::try_from(index).ok().and_then(|i| interfaces.get(i));
    interface
        .map(Interface::is_in_a_sandbox)
        .ok_or(ResultError::NoSuchInterface {
            index,
            count: interfaces.len(),
        })
}

fn address(text: &str) -> Result<IpAddr, ResultError> {
    let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast();
    text.parse()
        .ok()
        .map(|net: IpNet| net.addr())
        .filter(usable)
        .ok_or_else(|| ResultError::Address(text.chars().take(64).collect()))
}

fn list<T: for<'de> Deserialize<'de>>(
    object: &RawObject,
    key: &'static str,
) -> Result<Vec<T>, ResultError> {
    let Some(raw) = object.get(key) else {
        return Ok(Vec::new());
    };
    let list: Option<Vec<T>> = parse(key, raw)?;
    Ok(list.unwrap_or_default())
}

fn parse<T: for<'de> Deserialize<'de>>(
    key: &'static str,
    raw: &RawValue,
) -> Result<T, ResultError> {
    serde_json::from_str(raw.get()).map_err(malformed(key))
}

fn raw<T: serde::Serialize>(key: &'static str, value: &T) -> Result<Box<RawValue>, ResultError> {
    to_raw_value(value).map_err(malformed(key))
}

fn malformed(key: &'static str) -> impl Fn(serde_json::Error) -> ResultError {
    move |source| ResultError::Malformed { key, source }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::{PreviousResult, Version};

    fn read(text: &str) -> PreviousResult {
        PreviousResult::read(&RawValue::from_string(text.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn what_has_the_version_asked_for_comes_out_byte_for_byte() {
        let odd = r#"{ "z":1e400, "cniVersion" : "1.1.0","a":{"b":[0.10000000000000000000000000001]}, "z":2,
            "ips":[{"address":"10.0.0.2/24","x":"\u00e4"}] }"#;
        assert_eq!(read(odd).passed_on(Version::V1_1_0).unwrap(), odd);
    }

    #[test]
    fn another_version_changes_what_tells_versions_apart() {
        let new = r#"{"cniVersion":"1.0.0","big":1e400,"ips":[{"address":"10.0.0.2/24","x":1.50},{"address":"fd00::2/64"}],"dns":{}}"#;
        let old = r#"{"cniVersion":"0.4.0","big":1e400,"ips":[{"address":"10.0.0.2/24","x":1.50,"version":"4"},{"address":"fd00::2/64","version":"6"}],"dns":{}}"#;
        assert_eq!(read(new).passed_on(Version::V0_4_0).unwrap(), old);
        assert_eq!(read(old).passed_on(Version::V1_0_0).unwrap(), new);
        let absent = r#"{"ips":[{"address":"10.0.0.2/24"}]}"#;
        assert_eq!(
            read(absent).passed_on(Version::V1_0_0).unwrap(),
            r#"{"ips":[{"address":"10.0.0.2/24"}],"cniVersion":"1.0.0"}"#
        );
    }

    #[test]
    fn addresses_of_the_node_are_not_the_pods() {
        let result = read(
            r#"{"interfaces":[{"name":"cni0"},{"name":"veth1","sandbox":""},{"name":"eth0","sandbox":"/run/netns/a"}],
                "ips":[{"address":"10.0.0.1/24","interface":0},{"address":"10.0.0.2/24","interface":2},{"address":"fd00::2/64"},
                       {"address":"10.0.0.2/24","interface":2}]}"#,
        );
        let addresses: Vec<_> = result.addresses().iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.0.0.2", "fd00::2"]);
        assert_eq!(
            result.host_interfaces().collect::<Vec<_>>(),
            ["cni0", "veth1"]
        );
    }
}
