//! What is in the way of an attachment.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_attachment::protocol::Response;
use sluice_e2e::attach::{ScriptedAgent, Verb};

use crate::crowd::{Crowd, all_succeed};

const PODS: usize = 20;
/// The agent's deadline is 300 ms; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn come_and_go_soon(crowd: &Crowd) {
    for verb in [Verb::Add, Verb::Del] {
        let calls = crowd.calls(verb, 0..PODS);
        all_succeed(&calls);
        for call in &calls {
            assert!(call.took < SOON, "{call:?}");
        }
        crowd.holds(if verb == Verb::Add { PODS } else { 0 });
    }
}

#[test]
fn a_slow_agent_is_not_waited_for() {
    let crowd = Crowd::new(PODS, &json!({}));
    let _agent = ScriptedAgent::start(&crowd.node.socket(), |_| {
        std::thread::sleep(2 * SOON);
        Response::refused("late")
    })
    .unwrap();
    come_and_go_soon(&crowd);
}

#[test]
fn an_agent_that_talks_nonsense_is_no_agent() {
    let crowd = Crowd::new(PODS, &json!({}));
    let _agent = ScriptedAgent::start(&crowd.node.socket(), |_| Response::refused("no")).unwrap();
    come_and_go_soon(&crowd);
}

#[test]
fn a_socket_whose_queue_is_full_is_not_waited_for() {
    use socket2::{Domain, SockAddr, Socket, Type};
    let crowd = Crowd::new(PODS, &json!({}));
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let path = crowd.node.socket();
    listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    come_and_go_soon(&crowd);
}

#[test]
fn a_full_disk_fails_the_attachment_leaves_nothing_and_keeps_no_pod_from_ending() {
    let crowd = Crowd::new(1, &json!({}));
    let full = "mkdir -p $STATE && mount -t tmpfs -o size=16k tmpfs $STATE && : > $STATE/.lock; \
                dd if=/dev/zero of=$STATE/fill bs=1k >/dev/null 2>&1;";
    let refused = crowd.script(
        Verb::Add,
        0,
        &format!("{full} $PLUGIN < $CONF; rc=$?; ls -A $STATE >&2; exit $rc"),
    );
    let error: Value =
        serde_json::from_slice(&refused.stdout).unwrap_or_else(|_| panic!("{refused:?}"));
    assert_eq!(error["code"], 5, "{refused:?}");
    let left = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(left.ends_with(".lock\nby-address\nfill\n"), "{left}");
    crowd.holds(0);
    // Attached before the disk was full.
    let script = "mkdir -p $STATE && mount -t tmpfs -o size=64k tmpfs $STATE && $PLUGIN < $CONF >/dev/null && \
                  { dd if=/dev/zero of=$STATE/fill bs=1k >/dev/null 2>&1; CNI_COMMAND=DEL $PLUGIN < $CONF; } && \
                  ! ls $STATE/*.json";
    let ended = crowd.script(Verb::Add, 0, script);
    assert!(ended.status.success(), "{ended:?}");
    crowd.holds(0);
}

#[test]
fn a_state_directory_that_cannot_be_written_is_an_error_with_its_path() {
    let crowd = Crowd::new(1, &json!({"stateDirectory": "/proc/nothing/there"}));
    let call = crowd.call(Verb::Add, 0);
    let error: Value = serde_json::from_slice(&call.output.stdout).unwrap();
    assert_eq!(error["code"], 5, "{call:?}");
    assert!(
        error["msg"]
            .as_str()
            .unwrap()
            .contains("/proc/nothing/there")
    );
    assert_eq!(crowd.node.members().unwrap(), [""; 0]);
    all_succeed(&[crowd.call(Verb::Del, 0)]);
}

#[test]
fn a_held_lock_of_the_packet_filter_holds_no_pod() {
    let crowd = Crowd::new(1, &json!({}));
    let held = "mount -t tmpfs tmpfs /run && flock --exclusive /run/xtables.lock timeout 60 $PLUGIN < $CONF";
    let ended = crowd.script(Verb::Add, 0, held);
    assert!(ended.status.success(), "{ended:?}");
    crowd.holds(1);
}
