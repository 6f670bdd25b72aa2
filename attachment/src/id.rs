//! Which attachment.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a container id. Runtimes use 64; the bound keeps every file name that is made of one below the 255 bytes of a file system.
const MAX_CONTAINER_BYTES: usize = 200;
/// `IFNAMSIZ` without the terminating zero.
const MAX_INTERFACE_BYTES: usize = 15;

/// The attachment of one interface of one container (CNI specification 1.1.0, section 2: `CNI_CONTAINERID`, `CNI_IFNAME`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct AttachmentId {
    container: String,
    interface: String,
}

/// Why there is no such attachment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Not what the specification allows for `CNI_CONTAINERID`.
    #[error(
        "container id {0:?}: it must begin with a letter or digit, go on with letters, digits, '_', '.' and '-', and have at \
         most {MAX_CONTAINER_BYTES} bytes"
    )]
    Container(String),
    /// Not what the kernel takes for the name of an interface.
    #[error(
        "interface name {0:?}: it must have 1 to {MAX_INTERFACE_BYTES} bytes, be neither '.' nor '..', and have no '/', ':', \
         blanks or control characters"
    )]
    Interface(String),
}

impl AttachmentId {
    /// Checks both names.
    pub fn new(
        container: impl Into<String>,
        interface: impl Into<String>,
    ) -> Result<Self, IdError> {
        let (container, interface) = (container.into(), interface.into());
        if !is_container_id(&container) {
            return Err(IdError::Container(excerpt(&container)));
        }
        if !is_interface_name(&interface) {
            return Err(IdError::Interface(excerpt(&interface)));
        }
        Ok(Self {
            container,
            interface,
        })
    }

    /// `CNI_CONTAINERID`.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// `CNI_IFNAME`.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// A name for a file of its own: at most 221 bytes, without '/', and no other attachment's, as neither part has a ':'.
    pub fn file_name(&self) -> String {
        format!("{}:{}.json", self.container, self.interface)
    }
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.interface, self.container)
    }
}

fn is_container_id(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.len() <= MAX_CONTAINER_BYTES
        && text
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(inner)
}

fn is_interface_name(text: &str) -> bool {
    let inner =
        |c: char| !matches!(c, '/' | ':' | '\u{fffd}') && !c.is_whitespace() && !c.is_control();
    (1..=MAX_INTERFACE_BYTES).contains(&text.len())
        && text != "."
        && text != ".."
        && text.chars().all(inner)
}

/// A name may be as long as the environment: a message quotes its beginning.
fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Unchecked {
    container: String,
    interface: String,
}

impl TryFrom<Unchecked> for AttachmentId {
    type Error = IdError;

    fn try_from(raw: Unchecked) -> Result<Self, IdError> {
        Self::new(raw.container, raw.interface)
    }
}

impl From<AttachmentId> for Unchecked {
    fn from(id: AttachmentId) -> Self {
        Self {
            container: id.container,
            interface: id.interface,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AttachmentId, IdError};

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        for container in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "-a",
            "_a",
            ".a",
            "a b",
            "a\0b",
            "ä",
            "a:b",
            &"a".repeat(201),
        ] {
            let refused = AttachmentId::new(container, "eth0");
            assert!(
                matches!(refused, Err(IdError::Container(_))),
                "{container:?}"
            );
        }
        for interface in [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "a b",
            "a\tb",
            "a\u{1}b",
            "0123456789abcdef",
            "ethäöüäöüä",
        ] {
            let refused = AttachmentId::new("c", interface);
            assert!(
                matches!(refused, Err(IdError::Interface(_))),
                "{interface:?}"
            );
        }
        for container in ["a", "0", "A.b-c_d", "a..b", &"a".repeat(200)] {
            for interface in ["e", "eth0", "0123456789abcde", "a..b", "net1-x_y"] {
                let id = AttachmentId::new(container, interface).unwrap();
                assert!(id.file_name().len() <= 221);
            }
        }
    }

    #[test]
    fn what_is_read_is_checked_too() {
        let read = |text| serde_json::from_str::<AttachmentId>(text);
        assert!(read(r#"{"container":"a","interface":"eth0"}"#).is_ok());
        assert!(read(r#"{"container":"../a","interface":"eth0"}"#).is_err());
    }
}
