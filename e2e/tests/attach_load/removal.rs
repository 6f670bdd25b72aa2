//! GC and STATUS on a kernel that holds something.

use serde_json::json;
use sluice_e2e::attach::Verb;

use crate::crowd::{Crowd, all_succeed};

/// A verb that is about no attachment.
fn about_all(crowd: &Crowd, verb: &str, fields: &serde_json::Value) -> std::process::Output {
    let mut conf = crowd.node.sluice(fields);
    conf["cniVersion"] = "1.1.0".into();
    conf["name"] = "pods".into();
    let file = crowd.node.directory().join("all.json");
    std::fs::write(&file, conf.to_string()).unwrap();
    let mut command = std::process::Command::new(crowd.node.plugin());
    command
        .env_clear()
        .env("CNI_COMMAND", verb)
        .stdin(std::fs::File::open(file).unwrap());
    let ended = crowd.node.namespace().run(move || command.output());
    ended.unwrap().unwrap()
}

#[test]
fn gc_leaves_what_valid_attachments_hold_only() {
    let crowd = Crowd::new(6, &json!({}));
    all_succeed(&crowd.calls(Verb::Add, 0..6));
    let run = |line: &str| crowd.node.namespace().command(line).unwrap();
    // Entries and files that nobody remembers.
    run("ipset add SLUICE-4-POD-MASQ 10.98.9.9");
    run("ipset add SLUICE-6-POD-PRESERVE fd00:98::9:9");
    std::fs::write(crowd.node.state().join("pod5:eth0.json"), "damaged").unwrap();
    let valid: Vec<_> = (0..3)
        .map(|n| json!({"containerID": format!("pod{n}"), "ifname": "eth0"}))
        .collect();
    for _ in 0..2 {
        let ended = about_all(&crowd, "GC", &json!({"cni.dev/valid-attachments": valid}));
        assert!(ended.status.success(), "{ended:?}");
        crowd.holds(3);
    }
    all_succeed(&crowd.calls(Verb::Check, 0..3));
    let ended = about_all(&crowd, "GC", &json!({"cni.dev/valid-attachments": []}));
    assert!(ended.status.success(), "{ended:?}");
    crowd.holds(0);
}

#[test]
fn an_agent_that_is_away_after_its_first_sync_does_not_close_the_node() {
    let crowd = Crowd::new(0, &json!({}));
    assert!(about_all(&crowd, "STATUS", &json!({})).status.success());
    let required = json!({"requireAgent": true});
    assert!(!about_all(&crowd, "STATUS", &required).status.success());
    crowd.node.namespace().command("ipset destroy").unwrap();
    assert!(!about_all(&crowd, "STATUS", &json!({})).status.success());
}
