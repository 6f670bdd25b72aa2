//! An API server that cannot be reached changes nothing, and what happened meanwhile is told afterwards.

use std::time::Duration;

use serde_json::json;
use sluice_api_access::Access;

use crate::cluster::{Cluster, PATIENCE, SILENCE, Told, mark_bit, name};
use crate::gate::Gate;

#[test]
fn a_server_that_was_away_is_no_news_and_what_went_meanwhile_is_told() {
    let Some(mut cluster) = Cluster::start("a server that was away", &[]) else {
        return;
    };
    cluster.serve_many(3);
    let gate = Gate::to(&cluster.control_plane.url());
    let mut told = Told::by(
        &Access {
            server: Some(gate.url()),
            ..cluster.access()
        },
        None,
    );
    assert_eq!(told.next().slices.len(), 3);

    cluster.control_plane.kill_api_server().unwrap();
    told.assert_nothing(SILENCE, "it is away");
    cluster.control_plane.start_api_server().unwrap();
    told.assert_nothing(Duration::from_secs(20), "it came back as it was");

    gate.cut();
    cluster.delete("service/web-1");
    cluster.serve("web-2", "10.244.1.77");
    told.assert_nothing(SILENCE, "it is cut off");
    gate.mend();
    let (mut is_gone, mut is_changed) = (false, false);
    told.until("what happened meanwhile", |update| {
        is_gone |= update.services.get(&name("web-1")) == Some(&None);
        is_changed |= update.slices.contains_key(&name("web-2"));
        assert!(!update.services.contains_key(&name("web-0")), "{update:?}");
        is_gone && is_changed
    });
}

#[test]
fn a_kind_that_may_not_be_read_stops_no_other_unless_nothing_can_be_served_without() {
    const USER: &str = "agent";
    let Some(cluster) = Cluster::start("rights", &[USER]) else {
        return;
    };
    cluster.define();
    cluster.ask_for("p-1", "IPTables", 7);
    cluster.serve("web", "10.244.1.5");
    let rule = |groups: &[&str], resources: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": ["get", "list", "watch"]});
    let role = |rules: &[serde_json::Value]| {
        cluster.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": USER}, "rules": rules,
        }));
    };
    let all_but_services = [
        rule(&[""], &["nodes"]),
        rule(&["discovery.k8s.io"], &["endpointslices"]),
    ];
    role(&all_but_services);
    cluster.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": USER},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": USER},
        "subjects": [{"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}],
    }));
    let access = Access {
        kubeconfig: Some(cluster.control_plane.kubeconfig_of(USER).unwrap()),
        server: None,
    };
    let mut told = Told::by(&access, None);
    told.assert_nothing(SILENCE, "nothing is told before services were listed");

    let all_but_settings = [all_but_services.as_slice(), &[rule(&[""], &["services"])]].concat();
    role(&all_but_settings);
    let first = told.within(PATIENCE).expect("services may be read now");
    assert!(first.services.contains_key(&name("web")));
    assert_eq!(mark_bit(&first), Some(crate::cluster::OWN_MARK_BIT));

    let all = [
        all_but_settings.as_slice(),
        &[rule(&["sluice.dev"], &["nodeserviceproxies"])],
    ]
    .concat();
    role(&all);
    let settings = told.until("the settings", |update| update.policy.is_some());
    assert_eq!(mark_bit(&settings), Some(7));
}
