//! The words between plugin and agent: one request and one response a connection, each one line of JSON.

use std::io::{self, BufRead, Read};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{AttachmentId, Pod, Treatment};

/// The version that is spoken here.
pub const VERSION: u32 = 1;
/// Longest line, its end included.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// What the plugin asks or tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// How shall this pod be treated? Answered by [`Response::Treatment`].
    Attach(Attach),
    /// This attachment is gone. Answered by [`Response::Done`], whether it was known or not.
    Detached(Detached),
    /// Can pods be attached? Answered by [`Response::Status`].
    Status(Nothing),
}

/// An attachment that is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Which.
    pub id: AttachmentId,
    /// Path of the sandbox's network namespace.
    pub netns: String,
    /// Whose sandbox, where the runtime said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// Addresses that the main plugin gave to the pod.
    pub addresses: Vec<IpAddr>,
}

/// An attachment that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// Which.
    pub id: AttachmentId,
}

/// An object without fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// So shall the pod be treated.
    Treatment(Treatment),
    /// Heard.
    Done(Nothing),
    /// Whether pods can be attached.
    Status(Status),
    /// The request cannot be answered.
    Refused(Refused),
}

/// Whether pods can be attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The first sync since the node started is done.
    pub ready: bool,
    /// Why not, or what is in force.
    #[serde(default)]
    pub message: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// A sentence.
    pub reason: String,
    /// Versions that would be understood.
    pub versions: Vec<u32>,
}

impl Response {
    /// A refusal with the versions that are spoken here.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(Refused {
            reason: reason.into(),
            versions: vec![VERSION],
        })
    }
}

/// Errors of encoding and decoding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// It could not be read.
    #[error("cannot read a message")]
    Read(#[source] io::Error),
    /// It does not end in time.
    #[error("a message must not be longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// The other side closed before the end of a line.
    #[error("the connection ended before a whole message came")]
    Cut,
    /// Another version.
    #[error(
        "version {0} of the protocol is not spoken here, only {VERSION}: update the older of plugin and agent"
    )]
    Version(u32),
    /// Not what the protocol says.
    #[error("not a message of the protocol")]
    Malformed(#[source] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    version: u32,
    #[serde(flatten)]
    body: T,
}

/// Read first, as the body of another version may have another shape.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// A message as it is sent, its line's end included.
pub fn encode<T: Serialize>(body: &T) -> Result<Vec<u8>, ProtocolError> {
    let envelope = Envelope {
        version: VERSION,
        body,
    };
    let mut line = serde_json::to_vec(&envelope).map_err(ProtocolError::Malformed)?;
    line.push(b'\n');
    if line.len() > MAX_LINE_BYTES {
        return Err(ProtocolError::TooLong);
    }
    Ok(line)
}

/// The message in a line.
pub fn decode<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Result<T, ProtocolError> {
    let head: Head = serde_json::from_slice(line).map_err(ProtocolError::Malformed)?;
    if head.version != VERSION {
        return Err(ProtocolError::Version(head.version));
    }
    serde_json::from_slice::<Envelope<T>>(line)
        .map(|envelope| envelope.body)
        .map_err(ProtocolError::Malformed)
}

/// Reads one line, without its end. It reads no more than [`MAX_LINE_BYTES`]; how long it waits is up to the reader.
pub fn read_line(reader: impl Read) -> Result<Vec<u8>, ProtocolError> {
    let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    io::BufReader::new(reader.take(limit))
        .read_until(b'\n', &mut line)
        .map_err(ProtocolError::Read)?;
    if line.pop_if(|last| *last == b'\n').is_some() {
        Ok(line)
    } else if line.len() >= MAX_LINE_BYTES {
        Err(ProtocolError::TooLong)
    } else {
        Err(ProtocolError::Cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Family, HairpinMode, SetName};

    fn id() -> AttachmentId {
        AttachmentId::new("abc", "eth0").unwrap()
    }

    #[test]
    fn messages_have_the_shape_that_is_documented() {
        let attach = Request::Attach(Attach {
            id: id(),
            netns: "/run/netns/x".to_owned(),
            pod: None,
            addresses: vec!["10.0.0.1".parse().unwrap()],
        });
        let treatment = Response::Treatment(Treatment {
            class: Some("keep".to_owned()),
            hairpin: HairpinMode::None,
            sets: vec![SetName {
                family: Family::V4,
                name: "S".to_owned(),
            }],
            sysctls: Vec::new(),
        });
        let text = |line: Vec<u8>| String::from_utf8(line).unwrap();
        assert_eq!(
            text(encode(&attach).unwrap()),
            "{\"version\":1,\"attach\":{\"id\":{\"container\":\"abc\",\"interface\":\"eth0\"},\
             \"netns\":\"/run/netns/x\",\"addresses\":[\"10.0.0.1\"]}}\n"
        );
        assert_eq!(
            text(encode(&Request::Status(Nothing {})).unwrap()),
            "{\"version\":1,\"status\":{}}\n"
        );
        assert_eq!(
            text(encode(&treatment).unwrap()),
            "{\"version\":1,\"treatment\":{\"class\":\"keep\",\"hairpin\":\"None\",\
             \"sets\":[{\"family\":\"V4\",\"name\":\"S\"}],\"sysctls\":[]}}\n"
        );
        assert_eq!(
            text(encode(&Response::refused("no")).unwrap()),
            "{\"version\":1,\"refused\":{\"reason\":\"no\",\"versions\":[1]}}\n"
        );
        for request in [
            attach,
            Request::Detached(Detached { id: id() }),
            Request::Status(Nothing {}),
        ] {
            let line = encode(&request).unwrap();
            assert_eq!(decode::<Request>(&line).unwrap(), request);
        }
        let line = encode(&treatment).unwrap();
        assert_eq!(decode::<Response>(&line).unwrap(), treatment);
    }

    #[test]
    fn another_version_is_told_from_another_shape() {
        let decoded = |line: &str| decode::<Request>(line.as_bytes());
        assert!(matches!(
            decoded(r#"{"version":2,"attach":7}"#),
            Err(ProtocolError::Version(2))
        ));
        for line in [
            "",
            "7",
            "{}",
            r#"{"version":1}"#,
            r#"{"version":1,"attach":7}"#,
            r#"{"version":"1","status":{}}"#,
            r#"{"version":1,"explode":{}}"#,
        ] {
            assert!(
                matches!(decoded(line), Err(ProtocolError::Malformed(_))),
                "{line}"
            );
        }
        let more = r#"{"version":1,"later":true,"status":{"field":1}}"#;
        assert_eq!(decoded(more).unwrap(), Request::Status(Nothing {}));
    }

    #[test]
    fn a_line_has_an_end_and_a_bound() {
        assert_eq!(read_line(&b"ab\ncd"[..]).unwrap(), b"ab");
        assert!(matches!(read_line(&b"ab"[..]), Err(ProtocolError::Cut)));
        assert!(matches!(
            read_line(io::repeat(b'x')),
            Err(ProtocolError::TooLong)
        ));
    }
}
