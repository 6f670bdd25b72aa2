//! The client never waits longer than told, whatever the agent does.

#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use sluice_attachment::client::{Client, ClientError};
use sluice_attachment::protocol::{
    MAX_LINE_BYTES, Nothing, Request, Response, Status, encode, read_line,
};

/// Where no answer is expected.
const PATIENCE: Duration = Duration::from_millis(150);
/// Where one is, or none is waited for.
const LONG: Duration = Duration::from_secs(20);
/// More than anything takes that waits for nothing, or for [`PATIENCE`].
const SOON: Duration = Duration::from_secs(10);

/// Answers each connection with `answer` after it read the question, and then keeps the connection open.
fn agent(path: &Path, answer: Vec<u8>) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_line(&mut stream).unwrap();
            let _ = stream.write_all(&answer);
            open.push(stream);
        }
    });
}

fn ask(path: &Path) -> Result<Response, ClientError> {
    ask_for(LONG, path)
}

fn ask_for(patience: Duration, path: &Path) -> Result<Response, ClientError> {
    let begin = Instant::now();
    let answer = Client::new(path, patience).ask(&Request::Status(Nothing {}));
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    answer
}

fn is_late(path: &Path) {
    let begin = Instant::now();
    let answer = ask_for(PATIENCE, path);
    assert!(
        matches!(answer, Err(ClientError::Late { .. })),
        "{answer:?}"
    );
    assert!(begin.elapsed() >= PATIENCE);
}

#[test]
fn the_agent_answers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    let status = Response::Status(Status {
        ready: true,
        message: "synced".to_owned(),
    });
    agent(&path, encode(&status).unwrap());
    assert_eq!(ask(&path).unwrap(), status);
}

#[test]
fn an_agent_that_is_not_there_is_away_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    assert!(matches!(ask(&path), Err(ClientError::Away { .. })));
    // A socket whose listener died.
    drop(UnixListener::bind(&path).unwrap());
    assert!(matches!(ask(&path), Err(ClientError::Away { .. })));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    assert!(matches!(ask(&path), Err(ClientError::Away { .. })));
    assert!(matches!(
        ask(&directory.path().join("x".repeat(300))),
        Err(ClientError::Away { .. })
    ));
}

#[test]
fn an_agent_that_says_nothing_is_late() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    agent(&path, b"{\"version\":1,".to_vec());
    is_late(&path);
}

#[test]
fn an_agent_that_drips_is_late_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while stream.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    is_late(&path);
}

#[test]
fn a_full_queue_does_not_hold_the_asker() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        if socket.connect(&SockAddr::unix(&path).unwrap()).is_err() {
            break;
        }
        waiting.push(socket);
    }
    is_late(&path);
}

#[test]
fn nonsense_is_not_an_answer() {
    let directory = tempfile::tempdir().unwrap();
    let refused = encode(&Response::refused("not now")).unwrap();
    let answers: [(&str, Vec<u8>); 5] = [
        ("text", b"hello\n".to_vec()),
        ("version", b"{\"version\":9,\"status\":{}}\n".to_vec()),
        ("long", vec![b'x'; MAX_LINE_BYTES + 10]),
        ("shape", b"{\"version\":1,\"status\":7}\n".to_vec()),
        ("refused", refused),
    ];
    for (name, answer) in answers {
        let path = directory.path().join(name);
        agent(&path, answer);
        let answer = ask(&path);
        let expected = match name {
            "refused" => matches!(answer, Err(ClientError::Refused { .. })),
            _ => matches!(answer, Err(ClientError::Protocol { .. })),
        };
        assert!(expected, "{name}: {answer:?}");
    }
    // One that closes without a word.
    let path = directory.path().join("silent");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0; 1];
        let _ = stream.read(&mut byte);
    });
    let answer = ask(&path);
    assert!(
        matches!(
            answer,
            Err(ClientError::Protocol { .. } | ClientError::Broken { .. })
        ),
        "{answer:?}"
    );
}
