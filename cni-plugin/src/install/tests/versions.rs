//! Configurations of versions that the plugin does not speak.

use super::super::{Version, told};
use super::*;

#[test]
fn a_configuration_of_another_version_stays_as_its_owner_wrote_it() {
    for version in [
        "",
        r#""cniVersion":"0.2.0","#,
        r#""cniVersion":"1.2.0","#,
        r#""cniVersion":1,"#,
    ] {
        let list = format!(r#"{{{version}"name":"net","plugins":[{{"type":"bridge"}}]}}"#);
        let plain = format!(r#"{{{version}"name":"net","type":"bridge"}}"#);
        for (name, text) in [("10-main.conflist", list), ("10-main.conf", plain)] {
            let node = Node::new(&[(name, &text), ("20-other.conflist", CALICO)]);
            let pass = node.install();
            let words = told(&pass, &node.arguments(Action::Install));
            let version = version
                .trim_start_matches(r#""cniVersion":"#)
                .trim_end_matches(',');
            let version = if version.is_empty() {
                "nothing"
            } else {
                version
            };
            for part in [name, &format!("says {version} for"), "0.3.0, 0.3.1, 0.4.0"] {
                assert!(words.contains(part), "{part}: {words}");
            }
            assert_eq!(node.names(), [name, "20-other.conflist"]);
            assert_eq!(node.read(name), text);
            assert_eq!(node.read("20-other.conflist"), CALICO);
        }
    }
}

#[test]
fn every_version_that_the_plugin_speaks_is_installed_into() {
    for version in Version::ALL {
        let list = CALICO.replace("0.3.1", version.name());
        let node = Node::new(&[("10-calico.conflist", &list)]);
        assert!(matches!(node.install(), Pass::Added(_)), "{version}");
    }
}

#[test]
fn the_plugin_goes_when_an_owner_changes_to_a_version_that_it_does_not_speak() {
    let plain = r#"{"cniVersion":"0.3.1","name":"net","type":"bridge"}"#;
    for (name, text) in [("10-main.conflist", CALICO), ("10-main.conf", plain)] {
        let node = Node::new(&[(name, text)]);
        assert!(matches!(node.install(), Pass::Added(_)));
        node.write(name, &node.read(name).replace("0.3.1", "1.2.0"));
        assert!(matches!(node.install(), Pass::OtherVersion { .. }));
        assert_eq!(node.names(), [name]);
        assert!(!node.read(name).contains("sluice-cni"));
    }
}
