//! What a node was told against what it does, as far as an API server without kubelets tells.

use crate::world::{World, plugin_with};

#[test]
fn diff_compares_what_was_told_and_says_what_to_do_where_no_pod_can_be_asked() {
    let Some(world) = World::up("diff") else {
        return;
    };
    let plugin = &world.plugin;
    world.tell("a", "r-2", ("True", ""));
    let told = plugin.run(&["diff", "--node=a", "--no-exec"]).unwrap();
    assert_eq!(told.code, Some(0), "{} {}", told.stdout, told.stderr);
    assert!(
        told.stdout.contains("same    revision: r-2"),
        "{}",
        told.stdout
    );

    let (diff, said) = plugin.json(&["diff", "--node=a"]).unwrap();
    assert_eq!(said.code, Some(2), "the kernel was not seen: {diff}");
    assert_eq!(diff["kernel"]["result"], "Unknown");
    let message = diff["kernel"]["message"].as_str().unwrap();
    assert!(
        message.contains("no pod of an agent is on a")
            && message.contains("render --diff --kubeconfig"),
        "{message}"
    );

    world.agent_pod("a", "Pending");
    let (diff, _) = plugin.json(&["diff", "--node=a"]).unwrap();
    let message = diff["kernel"]["message"].as_str().unwrap();
    assert!(
        message.contains("does not run: kubectl -n sluice-system describe pod agent-a"),
        "{message}"
    );

    // There is no kubelet, so here the API server says that it cannot run anything there.
    world.agent_pod("a", "Running");
    world.kubelet_on_loopback("a");
    let (diff, said) = plugin.json(&["diff", "--node=a"]).unwrap();
    let message = diff["kernel"]["message"].as_str().unwrap();
    assert!(
        message.contains("see that the node's kubelet answers"),
        "{message}"
    );
    assert_eq!(said.code, Some(2));
    let looker = world.looker();
    let (diff, _) = plugin_with(&looker).json(&["diff", "--node=a"]).unwrap();
    let message = diff["kernel"]["message"].as_str().unwrap();
    assert!(
        message.contains("you may not create pods/exec")
            && message.contains("on the node itself, `sluice-agent render --diff"),
        "{message}"
    );

    world.tell("a", "r-1", ("False", "a table is locked"));
    let told = plugin.run(&["diff", "--node=a", "--no-exec"]).unwrap();
    assert_eq!(told.code, Some(1), "{}", told.stdout);
    for words in [
        "differs revision: r-2 is wanted; r-1",
        "differs Programmed: True is wanted; False, SyncFailed: a table is locked",
    ] {
        assert!(told.stdout.contains(words), "{words} in {}", told.stdout);
    }
    let untold = plugin.run(&["diff", "--node=b", "--no-exec"]).unwrap();
    assert!(
        untold.stdout.contains("no operator has told the node"),
        "{}",
        untold.stdout
    );
    let nobody = plugin.run(&["diff", "--node=c"]).unwrap();
    assert_eq!(nobody.code, Some(2));
    assert!(
        nobody.stderr.contains("there is no node c"),
        "{}",
        nobody.stderr
    );
}

#[test]
fn an_agent_renders_what_the_api_server_has_as_diff_asks_its_pod_to() {
    let Some(world) = World::up("render by an API server") else {
        return;
    };
    world.tell("a", "r-2", ("True", ""));
    let kubeconfig = world.installation.control_plane.kubeconfig();
    let rendered = std::process::Command::new(env!("CARGO_BIN_EXE_agent-under-test"))
        .args(["render", "--node-name=a", "--family=ipv4", "--kubeconfig"])
        .arg(&kubeconfig)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&rendered.stderr);
    let text = String::from_utf8_lossy(&rendered.stdout);
    assert!(rendered.status.success(), "{said}");
    assert!(text.starts_with("# mode IPTables"), "{text}");
    // Its settings are those of the node's object, and its own Service is there.
    assert!(
        text.contains("10.244.0.0/24") && text.contains("SLUICE-4-CLUSTER-IP"),
        "{text}"
    );
}
