//! Nodes with the configurations of main plugins.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::{Action, Arguments, Pass, place_program, put_in, uninstall};

mod versions;

struct Node(tempfile::TempDir);

const CALICO: &str = "{\n  \"name\": \"k8s-pod-network\", \"cniVersion\": \"0.3.1\",\n  \"odd\": 1e400,\n  \"plugins\": [\n    {\"type\": \"calico\"},\n    {\"type\": \"portmap\"}\n  ]\n}\n";

impl Node {
    fn new(files: &[(&str, &str)]) -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        for directory in ["bin", "net.d"] {
            fs::create_dir(node.path().join(directory)).unwrap();
        }
        for (name, text) in files {
            node.write(name, text);
        }
        node
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join("net.d").join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join("net.d").join(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path().join("net.d"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn arguments(&self, action: Action) -> Arguments {
        let path = |name| self.path().join(name).to_str().unwrap().to_owned();
        let words = [
            "--programs".to_owned(),
            path("bin"),
            "--configurations".to_owned(),
            path("net.d"),
            "--originals".to_owned(),
            path("originals"),
            "--records".to_owned(),
            path("records"),
        ];
        Arguments::parse(action, words.into_iter()).unwrap()
    }

    fn install(&self) -> Pass {
        let arguments = self.arguments(Action::Install);
        place_program(&arguments).unwrap();
        put_in(&arguments).unwrap()
    }

    fn uninstall(&self) {
        uninstall(&self.arguments(Action::Uninstall), &mut Vec::new()).unwrap();
        assert!(!self.path().join("bin/sluice-cni").exists());
        assert!(!self.path().join("originals").exists());
        assert!(!self.path().join("records").exists());
    }

    fn mode(&self, name: &str) -> u32 {
        let file = self.path().join("net.d").join(name);
        fs::metadata(file).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(&self, name: &str, mode: u32) {
        let file = self.path().join("net.d").join(name);
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn types(&self, name: &str) -> Vec<String> {
        let list: Value = serde_json::from_str(&self.read(name).replace("1e400", "1")).unwrap();
        let plugins = list["plugins"].as_array().unwrap();
        let name = |plugin: &Value| plugin["type"].as_str().unwrap().to_owned();
        plugins.iter().map(name).collect()
    }
}

#[test]
fn a_list_has_the_plugin_at_its_end_and_its_own_bytes_back_in_the_end() {
    let node = Node::new(&[
        ("10-calico.conflist", CALICO),
        ("20-other.conflist", CALICO),
    ]);
    assert!(matches!(node.install(), Pass::Added(path) if path.ends_with("10-calico.conflist")));
    assert_eq!(
        node.types("10-calico.conflist"),
        ["calico", "portmap", "sluice-cni"]
    );
    assert!(node.read("10-calico.conflist").contains("1e400"));
    assert_eq!(node.read("20-other.conflist"), CALICO);
    assert!(node.path().join("bin/sluice-cni").exists());
    assert_eq!(node.install(), Pass::Unchanged);
    node.uninstall();
    assert_eq!(node.read("10-calico.conflist"), CALICO);
    assert_eq!(node.names(), ["10-calico.conflist", "20-other.conflist"]);
    node.uninstall();
}

#[test]
fn who_may_read_a_configuration_stays_its_owners_business() {
    let plain = r#"{"cniVersion":"0.3.1","name":"net","type":"bridge"}"#;
    for (name, text, made) in [
        ("10-calico.conflist", CALICO, "10-calico.conflist"),
        ("10-bridge.conf", plain, "10-bridge-sluice.conflist"),
    ] {
        let node = Node::new(&[(name, text)]);
        node.set_mode(name, 0o600);
        assert!(matches!(node.install(), Pass::Added(_)));
        assert_eq!(node.mode(made), 0o600);
        node.uninstall();
        assert_eq!((node.mode(name), &*node.read(name)), (0o600, text));
    }
}

#[test]
fn another_plugins_installer_may_move_the_entry_and_write_it_otherwise() {
    let node = Node::new(&[("10-calico.conflist", CALICO)]);
    node.install();
    let list = r#"{"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [{"type": "calico"}, { "type" : "sluice-cni" }, {"type": "linkerd-cni"}]}"#;
    node.write("10-calico.conflist", list);
    assert_eq!(node.install(), Pass::Unchanged);
    // But not before the main plugin, nor twice.
    for plugins in [
        r#"[{"type": "sluice-cni"}, {"type": "calico"}]"#,
        r#"[{"type": "calico"}, {"type": "sluice-cni"}, {"type": "sluice-cni"}]"#,
    ] {
        node.write(
            "10-calico.conflist",
            &format!(r#"{{"cniVersion": "1.0.0", "name": "n", "plugins": {plugins}}}"#),
        );
        assert!(matches!(node.install(), Pass::Added(_)));
        assert_eq!(node.types("10-calico.conflist"), ["calico", "sluice-cni"]);
    }
}

#[test]
fn what_the_plugin_remembers_goes_with_it() {
    let node = Node::new(&[("10-calico.conflist", CALICO)]);
    node.install();
    let records = node.path().join("records");
    fs::create_dir(&records).unwrap();
    fs::write(records.join("a-pod.json"), "{}").unwrap();
    node.uninstall();
}

#[test]
fn a_file_that_its_owner_rewrites_has_the_plugin_again_and_the_new_bytes_back() {
    let node = Node::new(&[("10-calico.conflist", CALICO)]);
    node.install();
    let newer = CALICO.replace("portmap", "bandwidth");
    node.write("10-calico.conflist", &newer);
    assert!(matches!(node.install(), Pass::Added(_)));
    assert_eq!(
        node.types("10-calico.conflist"),
        ["calico", "bandwidth", "sluice-cni"]
    );
    node.uninstall();
    assert_eq!(node.read("10-calico.conflist"), newer);
}

#[test]
fn a_file_that_its_owner_edits_around_the_plugin_keeps_the_edit() {
    let node = Node::new(&[("10-calico.conflist", CALICO)]);
    node.install();
    let edited = node.read("10-calico.conflist").replace("portmap", "tuning");
    node.write("10-calico.conflist", &edited);
    assert_eq!(node.install(), Pass::Unchanged);
    node.uninstall();
    assert_eq!(node.types("10-calico.conflist"), ["calico", "tuning"]);
}

#[test]
fn a_plain_configuration_gets_a_list_that_comes_before_it() {
    let plain = r#"{"cniVersion":"0.3.1","name":"net","type":"bridge","bridge":"cni0","ipam":{"type":"host-local"}}"#;
    let node = Node::new(&[
        ("10-bridge.conf", plain),
        ("99-loopback.conf", r#"{"type":"loopback"}"#),
    ]);
    for unchanged in [false, true] {
        assert_eq!(node.install() == Pass::Unchanged, unchanged);
        assert_eq!(
            node.names()[..2],
            ["10-bridge-sluice.conflist", "10-bridge.conf"]
        );
        assert_eq!(
            node.types("10-bridge-sluice.conflist"),
            ["bridge", "sluice-cni"]
        );
    }
    let list: Value = serde_json::from_str(&node.read("10-bridge-sluice.conflist")).unwrap();
    assert_eq!(
        (&list["name"], &list["cniVersion"]),
        (&"net".into(), &"0.3.1".into())
    );
    assert_eq!(list["plugins"][0]["ipam"]["type"], "host-local");
    node.uninstall();
    assert_eq!(node.names(), ["10-bridge.conf", "99-loopback.conf"]);
    assert_eq!(node.read("10-bridge.conf"), plain);
}

#[test]
fn a_list_of_ours_goes_with_the_plain_configuration_once_there_is_another_network() {
    let plain = r#"{"cniVersion":"0.3.1","name":"net","type":"bridge"}"#;
    let node = Node::new(&[("10-main.conf", plain)]);
    node.install();
    fs::remove_file(node.path().join("net.d/10-main.conf")).unwrap();
    assert_eq!(node.install(), Pass::NothingSuitable);
    assert_eq!(node.names(), ["10-main-sluice.conflist"]);
    node.write("10-main.conflist", CALICO);
    node.install();
    assert_eq!(node.names(), ["10-main.conflist"]);
}

#[test]
fn what_is_no_configuration_is_passed_over() {
    for (name, text) in [
        ("05-half.conflist", "{\"plugins\": ["),
        ("05-empty.conflist", r#"{"name":"x","plugins":[]}"#),
        (
            "05-alone.conflist",
            r#"{"name":"x","plugins":[{"type":"sluice-cni"}]}"#,
        ),
        ("05-notes.txt", "{}"),
        ("05-nothing.json", "{}"),
        ("05-list.conf", CALICO),
        ("05-list.json", CALICO),
        (
            "05-plain.conflist",
            r#"{"cniVersion":"0.3.1","name":"x","type":"bridge"}"#,
        ),
    ] {
        let node = Node::new(&[(name, text)]);
        assert_eq!(node.install(), Pass::NothingSuitable, "{name}");
        assert_eq!(node.names(), [name]);
        node.write("10-calico.conflist", CALICO);
        assert!(matches!(node.install(), Pass::Added(_)), "{name}");
        assert_eq!(node.read(name), text);
    }
    let nowhere = Node::new(&[]);
    fs::remove_dir(nowhere.path().join("net.d")).unwrap();
    assert_eq!(nowhere.install(), Pass::NothingSuitable);
}

#[test]
fn a_command_line_that_is_wrong_is_told_by_its_word() {
    for (words, part) in [
        (&["--program", "x"][..], "--program is not an option"),
        (&["--programs"], "--programs needs a value"),
        (&["--entry", "{"], "--entry must be"),
        (
            &["--entry", r#"{"type":"bridge"}"#],
            "its type is \"bridge\"",
        ),
        (
            &["--entry", r#"{"type":"sluice-cni","statusGatee":false}"#],
            "--entry: statusGatee: false is not a field of sluice-cni: take it out, or correct its name (socket,",
        ),
        (
            &[
                "--entry",
                r#"{"type":"sluice-cni","withoutAgent":{"sourceNat":"Preserve"}}"#,
            ],
            "--entry: withoutAgent.sourceNat: \"Preserve\" is not a field",
        ),
        (
            &[
                "--entry",
                r#"{"type":"sluice-cni","agentTimeoutMilliseconds":30000}"#,
            ],
            "--entry: agentTimeoutMilliseconds must be a whole number from 1 to 10000",
        ),
        (
            &[
                "--entry",
                r#"{"type":"sluice-cni","withoutAgent":{"hairpin":"Veth"}}"#,
            ],
            "--entry: hairpin must be HairpinVeth or None",
        ),
    ] {
        let words = words.iter().map(|word| (*word).to_owned());
        let told = Arguments::parse(Action::Install, words).unwrap_err();
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn an_entry_may_say_all_that_a_configuration_may() {
    for entry in [
        r#"{"type":"sluice-cni"}"#,
        r#"{"type":"sluice-cni","name":7,"cniVersion":"0.3.1","capabilities":{"bandwidth":true}}"#,
        r#"{"type":"sluice-cni","socket":"/s","stateDirectory":"/d","agentTimeoutMilliseconds":300,"withoutAgent":{"hairpin":"HairpinVeth","sourceNAT":"Default"},"requireAgent":false,"statusGate":true}"#,
    ] {
        let words = ["--entry", entry].map(ToOwned::to_owned);
        let arguments = Arguments::parse(Action::Install, words.into_iter()).unwrap();
        assert_eq!(arguments.entry().get(), entry);
    }
}
