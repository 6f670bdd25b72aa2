//! STATUS by what the agent says, and by whether it says anything.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::call::{Call, chained};

/// An agent that gives one answer to everything.
fn agent(directory: &Path, answer: &'static str) {
    let listener = UnixListener::bind(directory.join("agent.sock")).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = sluice_attachment::protocol::read_line(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}

#[test]
fn status_follows_the_agent_where_the_gate_is_on() {
    for (answer, gate, require, refused) in [
        (
            r#"{"version":1,"status":{"ready":true,"message":""}}"#,
            true,
            false,
            None,
        ),
        (
            r#"{"version":1,"status":{"ready":false,"message":"syncing"}}"#,
            true,
            false,
            Some("syncing"),
        ),
        (
            r#"{"version":1,"status":{"ready":false,"message":"syncing"}}"#,
            false,
            false,
            None,
        ),
        (
            r#"{"version":1,"status":{"ready":false,"message":"syncing"}}"#,
            false,
            true,
            None,
        ),
        (
            r#"{"version":1,"refused":{"reason":"busy","versions":[1]}}"#,
            true,
            false,
            Some("busy"),
        ),
        (
            r#"{"version":1,"done":{}}"#,
            true,
            false,
            Some("another question"),
        ),
        (
            r#"{"version":2,"status":{"ready":true}}"#,
            true,
            false,
            Some("version 2"),
        ),
        ("nonsense", true, false, Some("has not synced")),
        ("nonsense", false, false, None),
        ("nonsense", false, true, Some("requireAgent")),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let answer = Box::leak(format!("{answer}\n").into_boxed_str());
        agent(directory.path(), answer);
        let more = format!(
            r#","statusGate":{gate},"requireAgent":{require},"agentTimeoutMilliseconds":10000"#
        );
        let call = Call::new("STATUS", chained("1.1.0", directory.path(), &more));
        let case = format!("{answer} {gate} {require}");
        match refused {
            None => assert_eq!(call.succeeds(&case), ""),
            Some(text) => {
                call.refused(&case, 50, text);
            }
        }
    }
}

#[test]
fn an_agent_that_never_came_is_not_ready() {
    let directory = tempfile::tempdir().unwrap();
    let status = |more| Call::new("STATUS", chained("1.1.0", directory.path(), more));
    status("").refused("gate", 50, "has not synced");
    status(r#","statusGate":false,"requireAgent":true"#).refused("required", 50, "requireAgent");
    assert_eq!(status(r#","statusGate":false"#).succeeds("no gate"), "");
}
