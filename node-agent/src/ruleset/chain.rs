//! One iptables chain as text, in the form in which `iptables-save` prints it.

use std::fmt::{self, Write as _};
use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// Longest chain name that both variants take (`XT_EXTENSION_MAXNAMELEN` less the terminator).
pub const MAX_NAME: usize = 28;

/// A chain under construction: its rules, and which chains of ours they lead to.
#[derive(Debug, Clone)]
pub struct Chain {
    name: Box<str>,
    text: String,
    rules: u32,
    targets: Vec<Box<str>>,
    digest: Digest,
}

impl Chain {
    /// An empty chain.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        let name = name.into();
        debug_assert!(name.len() <= MAX_NAME, "chain name {name} is too long");
        Self {
            name,
            text: String::new(),
            rules: 0,
            targets: Vec::new(),
            digest: Digest::new(),
        }
    }

    /// Appends a rule, written as `iptables-save` prints it, without `-A CHAIN`.
    pub fn rule(&mut self, rule: fmt::Arguments<'_>) {
        let _ = write!(self.text, "-A {} ", self.name);
        let start = self.text.len();
        let _ = self.text.write_fmt(rule);
        self.digest.add(&self.text[start..]);
        self.text.push('\n');
        self.rules += 1;
    }

    /// Appends a rule that ends in another chain of ours; `how` is `-j` or `-g`.
    pub fn lead(&mut self, matches: &str, how: &str, target: &str) {
        let gap = if matches.is_empty() { "" } else { " " };
        self.rule(format_args!("{matches}{gap}{how} {target}"));
        if !self.targets.iter().any(|t| **t == *target) {
            self.targets.push(target.into());
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules as input for `iptables-restore`, one `-A` line each.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Number of rules.
    pub fn rules(&self) -> u32 {
        self.rules
    }

    /// The chains of ours that its rules lead to.
    pub fn targets(&self) -> &[Box<str>] {
        &self.targets
    }

    /// Digest of its rules.
    pub fn digest(&self) -> u64 {
        self.digest.value()
    }
}

/// Digest of a list of rules, rule by rule: tells whether a chain in the kernel is as we would write it.
#[derive(Debug, Clone)]
pub struct Digest(SipHasher13);

impl Digest {
    /// Of no rules.
    pub fn new() -> Self {
        Self(SipHasher13::new())
    }

    /// Appends a rule in canonical form.
    pub fn add(&mut self, rule: &str) {
        self.0.write(rule.as_bytes());
        self.0.write_u8(b'\n');
    }

    /// The digest so far.
    pub fn value(&self) -> u64 {
        self.0.finish()
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

/// Sixty-four bits of these parts, the same on every node and in every version.
pub fn stable_hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher13::new();
    for part in parts {
        hasher.write_u64(part.len() as u64);
        hasher.write(part);
    }
    hasher.finish()
}

/// [`stable_hash`] in thirteen characters that may stand in a chain's or set's name.
pub fn short_hash(parts: &[&[u8]]) -> String {
    short_hash_of(stable_hash(parts))
}

/// A hash in these characters.
pub fn short_hash_of(mut bits: u64) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::with_capacity(13);
    for _ in 0..13 {
        out.push(char::from(ALPHABET[(bits & 31) as usize]));
        bits >>= 5;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_knows_its_text_targets_and_digest() {
        let mut chain = Chain::new("SLUICE-X");
        chain.rule(format_args!("-p tcp -j DROP"));
        chain.lead("-d 10.0.0.0/8", "-g", "SLUICE-Y");
        chain.lead("", "-j", "SLUICE-Y");
        assert_eq!(
            chain.text(),
            "-A SLUICE-X -p tcp -j DROP\n-A SLUICE-X -d 10.0.0.0/8 -g SLUICE-Y\n-A SLUICE-X -j SLUICE-Y\n"
        );
        assert_eq!(chain.rules(), 3);
        assert_eq!(chain.targets(), &["SLUICE-Y".into()]);
        let mut digest = Digest::new();
        for rule in ["-p tcp -j DROP", "-d 10.0.0.0/8 -g SLUICE-Y", "-j SLUICE-Y"] {
            digest.add(rule);
        }
        assert_eq!(chain.digest(), digest.value());
    }

    #[test]
    fn names_do_not_depend_on_how_parts_are_cut() {
        assert_ne!(short_hash(&[b"ab", b"c"]), short_hash(&[b"a", b"bc"]));
        assert_eq!(short_hash(&[b"default/web"]), short_hash(&[b"default/web"]));
        assert_eq!(short_hash(&[b"x"]).len(), 13);
    }
}
