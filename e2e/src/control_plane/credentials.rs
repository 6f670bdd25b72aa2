//! Who may do what on one control plane: made for the run, gone with it.

use std::fs::File;
use std::io::{self, Read};

use serde_json::json;

/// A user beside the administrator, who has no rights but those that RBAC rules give.
#[derive(Debug, Clone)]
pub struct User {
    /// As RBAC rules name the user.
    pub name: String,
    /// As RBAC rules name groups.
    pub groups: Vec<String>,
}

impl User {
    /// A user in no group.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            groups: Vec::new(),
        }
    }
}

/// Everyone who has a token.
#[derive(Debug)]
pub(super) struct Tokens {
    holders: Vec<(User, String)>,
}

impl Tokens {
    /// The administrator is the first.
    pub(super) fn new(users: &[User]) -> io::Result<Self> {
        let administrator = User {
            name: "admin".to_owned(),
            groups: vec!["system:masters".to_owned()],
        };
        let everyone = std::iter::once(&administrator).chain(users);
        let holders = everyone.map(|user| Ok((user.clone(), token()?)));
        Ok(Self {
            holders: holders.collect::<io::Result<_>>()?,
        })
    }

    pub(super) fn of(&self, name: &str) -> Option<&str> {
        let mut holders = self.holders.iter();
        holders.find_map(|(user, token)| (user.name == name).then_some(token.as_str()))
    }

    /// What `--token-auth-file` reads.
    pub(super) fn file(&self) -> String {
        let line = |(user, token): &(User, String)| {
            let (name, groups) = (&user.name, user.groups.join(","));
            format!("{token},{name},{name},\"{groups}\"\n")
        };
        self.holders.iter().map(line).collect()
    }
}

/// A kubeconfig that needs no other file. JSON is YAML.
pub(super) fn kubeconfig(url: &str, authority: &[u8], user: &str, token: &str) -> String {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "sluice-lab",
            "cluster": {"server": url, "certificate-authority-data": base64(authority)},
        }],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "sluice-lab", "user": user}}],
        "current-context": "lab",
    });
    format!("{kubeconfig:#}\n")
}

/// A key for tokens of service accounts, as a PEM file: any 32 bytes are a private key of the curve P-256, as long as their
/// number is below the curve's order, which begins with 32 set bits. RFC 5915 says how it is written.
pub(super) fn service_account_key() -> io::Result<String> {
    const BEFORE: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
    const CURVE: [u8; 12] = [
        0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
    ];
    let mut key = random::<32>()?;
    key[0] &= 0x7f;
    let body = base64(&[&BEFORE[..], &key, &CURVE].concat());
    Ok(format!(
        "-----BEGIN EC PRIVATE KEY-----\n{body}\n-----END EC PRIVATE KEY-----\n"
    ))
}

fn token() -> io::Result<String> {
    Ok(format!("{:032x}", u128::from_be_bytes(random()?)))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        [18, 12, 6, 0]
            .into_iter()
            .enumerate()
            .map(move |(at, shift)| {
                // A group of n bytes is n + 1 letters.
                let letter = char::from(ALPHABET[(bits >> shift & 63) as usize]);
                if at <= group.len() { letter } else { '=' }
            })
            .collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn everyone_has_a_token_of_their_own_and_the_groups_they_are_in() {
        let mut reader = User::new("reader");
        reader.groups = vec!["a".to_owned(), "b".to_owned()];
        let tokens = Tokens::new(&[reader]).unwrap();
        let (admin, reader) = (tokens.of("admin").unwrap(), tokens.of("reader").unwrap());
        assert_ne!(admin, reader);
        assert_eq!(
            tokens.file(),
            format!("{admin},admin,admin,\"system:masters\"\n{reader},reader,reader,\"a,b\"\n")
        );
        assert_eq!(tokens.of("nobody"), None);
    }
}
