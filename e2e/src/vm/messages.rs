//! What a guest tells the host through its virtio serial port: a tag, a length (`u32`, little endian), a body.
//!
//! One port carries everything in order, so that the status comes after the last byte of output.

use std::io::{self, Write};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Name of the port, in QEMU and in the guest's `/sys/class/virtio-ports`.
pub(super) const PORT: &str = "sluice-vm";

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// The command starts now.
    Ready,
    /// Bytes of its standard output.
    Stdout(Vec<u8>),
    /// Bytes of its standard error.
    Stderr(Vec<u8>),
    /// It ended with this status, as a shell tells it (128 + N for signal N).
    Exited(u8),
    /// It could not be started for a reason that is not its own.
    Failed(String),
}

impl Message {
    fn parts(&self) -> (u8, &[u8]) {
        match self {
            Self::Ready => (b'r', &[]),
            Self::Stdout(bytes) => (b'o', bytes),
            Self::Stderr(bytes) => (b'e', bytes),
            Self::Exited(status) => (b'x', std::slice::from_ref(status)),
            Self::Failed(reason) => (b'f', reason.as_bytes()),
        }
    }

    /// Sends it.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let (tag, body) = self.parts();
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(5 + body.len());
        bytes.push(tag);
        bytes.extend(length.to_le_bytes());
        bytes.extend(body);
        to.write_all(&bytes)
    }

    /// Receives one; `None` when the guest is gone.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut head = [0; 5];
        match from.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        let [tag, length @ ..] = head;
        let length = u64::from(u32::from_le_bytes(length));
        let mut body = Vec::new();
        let got = from.take(length).read_to_end(&mut body).await?;
        if got as u64 != length {
            return Ok(None);
        }
        Ok(Some(match (tag, body.as_slice()) {
            (b'r', []) => Self::Ready,
            (b'o', _) => Self::Stdout(body),
            (b'e', _) => Self::Stderr(body),
            (b'x', [status]) => Self::Exited(*status),
            (b'f', _) => Self::Failed(String::from_utf8_lossy(&body).into_owned()),
            _ => {
                return Err(io::Error::other(format!(
                    "unknown message {tag} of the guest"
                )));
            }
        }))
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent(messages: &[Message], cut: usize) -> Vec<Message> {
        let mut bytes = Vec::new();
        for message in messages {
            message.write(&mut bytes).unwrap();
        }
        let mut from = &bytes[..bytes.len() - cut];
        let mut got = Vec::new();
        while let Some(message) = Message::read(&mut from).await.unwrap() {
            got.push(message);
        }
        got
    }

    #[tokio::test]
    async fn messages_arrive_as_they_were_sent() {
        let messages = [
            Message::Ready,
            Message::Stdout((0..=255).collect()),
            Message::Stderr(Vec::new()),
            Message::Failed("no such directory".to_owned()),
            Message::Exited(255),
        ];
        assert_eq!(sent(&messages, 0).await, messages);
    }

    #[tokio::test]
    async fn half_a_message_is_none() {
        let messages = [Message::Ready, Message::Stdout(b"abc".to_vec())];
        for cut in 1..8 {
            assert_eq!(sent(&messages, cut).await, messages[..1], "{cut} bytes cut");
        }
    }

    #[tokio::test]
    async fn an_unknown_message_is_an_error() {
        let mut from: &[u8] = b"?\0\0\0\0";
        assert!(Message::read(&mut from).await.is_err());
    }
}
