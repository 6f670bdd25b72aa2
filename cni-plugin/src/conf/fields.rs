//! The fields of a configuration, each with the sentence that says what it must be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_attachment::HairpinMode;

use super::{ConfError, SourceNat, WithoutAgent};
use crate::cni::RawObject;

const OWN: [&str; 6] = [
    "socket",
    "stateDirectory",
    "agentTimeoutMilliseconds",
    "withoutAgent",
    "requireAgent",
    "statusGate",
];
/// Of the specification, and what libraries of runtimes add.
const STANDARD: [&str; 11] = [
    "cniVersion",
    "cniVersions",
    "name",
    "type",
    "args",
    "capabilities",
    "dns",
    "ipam",
    "ipMasq",
    "prevResult",
    "runtimeConfig",
];
/// Fields that the specification reserves.
const RESERVED: &str = "cni.dev/";
const WITHOUT_AGENT: [&str; 2] = ["hairpin", "sourceNAT"];
/// A runtime gives up after seconds.
const TIMEOUT_MILLISECONDS: std::ops::RangeInclusive<u64> = 1..=10_000;

/// Refuses fields that nobody reads: a misspelt one would silently be the default.
pub(super) fn check_names(object: &RawObject) -> Result<(), ConfError> {
    let known =
        |key: &str| OWN.contains(&key) || STANDARD.contains(&key) || key.starts_with(RESERVED);
    refuse_unknown("", object, known, &OWN)
}

fn refuse_unknown(
    above: &str,
    object: &RawObject,
    known: impl Fn(&str) -> bool,
    names: &[&str],
) -> Result<(), ConfError> {
    let Some(key) = object.keys().find(|key| !known(key)) else {
        return Ok(());
    };
    let excerpt = |text: &str| text.chars().take(64).collect::<String>();
    Err(ConfError::UnknownField {
        key: format!("{above}{}", excerpt(key)),
        value: excerpt(object.get(key).map_or("", RawValue::get)),
        known: names.join(", "),
    })
}

/// Reads fields by name.
pub(super) struct Fields<'a> {
    object: &'a RawObject,
    /// What is wrong counts as absent.
    lenient: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn strict(object: &'a RawObject) -> Self {
        let lenient = false;
        Self { object, lenient }
    }

    pub(super) fn lenient(object: &'a RawObject) -> Self {
        let lenient = true;
        Self { object, lenient }
    }

    pub(super) fn raw(&self, key: &str) -> Option<Box<RawValue>> {
        self.object
            .get(key)
            .filter(|raw| raw.get() != "null")
            .map(ToOwned::to_owned)
    }

    fn field<T: for<'de> Deserialize<'de>, U>(
        &self,
        key: &'static str,
        what: &'static str,
        accept: impl FnOnce(T) -> Option<U>,
    ) -> Result<Option<U>, ConfError> {
        let Some(raw) = self.object.get(key) else {
            return Ok(None);
        };
        let value = serde_json::from_str(raw.get()).ok().and_then(accept);
        if value.is_none() && !self.lenient {
            return Err(ConfError::Invalid { key, what });
        }
        Ok(value)
    }

    pub(super) fn network_name(&self) -> Result<String, ConfError> {
        let what = "a name of letters, digits, '_', '.' and '-' that begins with a letter or digit";
        match self.field("name", what, |name: String| {
            Some(name).filter(|name| is_network(name))
        })? {
            Some(name) => Ok(name),
            None if self.lenient => Ok(String::new()),
            None => Err(ConfError::Missing("name")),
        }
    }

    pub(super) fn path(&self, key: &'static str) -> Result<Option<PathBuf>, ConfError> {
        let absolute = |path: PathBuf| Some(path).filter(|path| usable(path));
        self.field(key, "an absolute path", absolute)
    }

    pub(super) fn milliseconds(&self, key: &'static str) -> Result<Option<Duration>, ConfError> {
        let in_range = |count: u64| {
            TIMEOUT_MILLISECONDS
                .contains(&count)
                .then(|| Duration::from_millis(count))
        };
        self.field(key, "a whole number from 1 to 10000", in_range)
    }

    pub(super) fn flag(&self, key: &'static str) -> Result<Option<bool>, ConfError> {
        self.field(key, "true or false", Some)
    }

    pub(super) fn without_agent(&self) -> Result<WithoutAgent, ConfError> {
        let key = "withoutAgent";
        let Some(inner) = self.field(key, "an object with hairpin and sourceNAT", Some)? else {
            return Ok(WithoutAgent::default());
        };
        let inner: RawObject = inner;
        let fields = Fields {
            object: &inner,
            lenient: self.lenient,
        };
        if !self.lenient {
            let known = |key: &str| WITHOUT_AGENT.contains(&key);
            refuse_unknown("withoutAgent.", &inner, known, &WITHOUT_AGENT)?;
        }
        let hairpin: Option<HairpinMode> = fields.field(
            "hairpin",
            "HairpinVeth or None (in withoutAgent; on present kernels no pod reaches itself by a promiscuous bridge)",
            Some,
        )?;
        let source_nat = fields.field(
            "sourceNAT",
            "Default, Preserve or Masquerade (in withoutAgent)",
            |name: String| match name.as_str() {
                "Default" => Some(SourceNat::Default),
                "Preserve" => Some(SourceNat::Preserve),
                "Masquerade" => Some(SourceNat::Masquerade),
                _ => None,
            },
        )?;
        Ok(WithoutAgent {
            hairpin: hairpin.unwrap_or_default(),
            source_nat: source_nat.unwrap_or_default(),
        })
    }
}

fn is_network(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    name.bytes().all(inner)
        && name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric())
}

fn usable(path: &Path) -> bool {
    path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0)
}
