//! Whatever stands on standard input, a runtime gets an error that it can read.

use std::ffi::OsString;

use serde_json::Value;

use crate::call::VERSIONS;

/// All that a configuration may say, with a result of the plugins before.
const WHOLE: &str = r#"{"cniVersion":"1.1.0","name":"pods","type":"sluice-cni","socket":"/none","stateDirectory":"/none","agentTimeoutMilliseconds":300,"withoutAgent":{"hairpin":"HairpinVeth","sourceNAT":"Default"},"requireAgent":false,"statusGate":true,"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}],"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mac":"02:00:00:00:00:01","sandbox":"/none"}],"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":0},{"address":"fd00::2/64"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{}}}"#;

/// What numbers, texts and nests are made of.
const WORDS: [&[u8]; 24] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\0",
    b" ",
    b"-",
    b"1e999",
    b"99999999999999999999",
    b"null",
    b"true",
    b"\"cniVersion\":\"1.0.0\"",
    b"\"name\":\"pods\"",
    b"\"prevResult\":{",
    b"\"ips\":[",
    b"\"address\":\"10.0.0.2/24\"",
    b"\"withoutAgent\":{",
];

/// The same numbers at each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }
}

/// ADD for a network namespace that is not there, so that it always ends with an error, and before it does anything.
fn is_answered(input: &[u8]) {
    let environment = |name: &str| {
        let value = match name {
            "CNI_COMMAND" => "ADD",
            "CNI_CONTAINERID" => "cafe01",
            "CNI_NETNS" => "/run/netns/not-there",
            "CNI_IFNAME" => "eth0",
            _ => return None,
        };
        Some(OsString::from(value))
    };
    let (mut output, mut log) = (Vec::new(), Vec::new());
    sluice_cni::run(environment, input, &mut output, &mut log);
    let told = || String::from_utf8_lossy(input).into_owned();
    let error: Value =
        serde_json::from_slice(&output).unwrap_or_else(|error| panic!("{error}: {}", told()));
    let version = error["cniVersion"].as_str().unwrap();
    assert!(VERSIONS.contains(&version), "{error}: {}", told());
    assert!(error["code"].as_u64() > Some(0), "{error}: {}", told());
    assert_ne!(error["msg"].as_str().unwrap(), "", "{}", told());
    assert!(!log.is_empty(), "{}", told());
}

#[test]
fn bytes_and_words_in_any_order_are_answered_with_an_error() {
    let mut numbers = Numbers(0x5_11ce);
    for _ in 0..4000 {
        let bytes: Vec<u8> = (0..numbers.below(120))
            .map(|_| u8::try_from(numbers.below(256)).unwrap())
            .collect();
        is_answered(&bytes);
        let mut words = b"{".to_vec();
        for _ in 0..numbers.below(24) {
            words.extend(WORDS[numbers.below(WORDS.len())]);
        }
        is_answered(&words);
    }
}

#[test]
fn a_configuration_that_is_cut_or_damaged_anywhere_is_answered_with_an_error() {
    let whole = WHOLE.as_bytes();
    for at in 0..=whole.len() {
        is_answered(&whole[..at]);
        for word in WORDS {
            is_answered(&[&whole[..at], word, &whole[at..]].concat());
            if let Some((_, rest)) = whole[at..].split_first() {
                is_answered(&[&whole[..at], word, rest].concat());
            }
        }
    }
}
