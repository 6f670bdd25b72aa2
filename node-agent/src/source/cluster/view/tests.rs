// As a watch has them.
#![allow(clippy::unnecessary_wraps)]

use super::*;
use serde_json::{Value, json};
use sluice_crds::v1alpha1::Mode;

fn read<K: serde::de::DeserializeOwned>(value: Value) -> Read<K> {
    Ok(serde_json::from_value(value).unwrap())
}

fn service(name: &str, ip: &str) -> Read<core::Service> {
    read(json!({
        "metadata": {"namespace": "ns", "name": name, "uid": "u", "managedFields": []},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}]},
    }))
}

fn slice(cause: &str, address: &str) -> Read<discovery::EndpointSlice> {
    read(json!({
        "metadata": {
            "namespace": "ns", "name": "a-1", "labels": {"kubernetes.io/service-name": "a"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": cause},
        },
        "addressType": "IPv4", "ports": [{"name": "", "port": 80}],
        "endpoints": [{"addresses": [address]}],
    }))
}

fn node() -> Read<core::Node> {
    read(json!({"metadata": {"name": "n"}, "spec": {"podCIDRs": ["10.244.0.0/24"]}}))
}

fn own(generation: i64, mode: &str) -> Read<NodeServiceProxy> {
    let spec = json!({"policy": "p", "policyGeneration": 1, "revision": format!("p-{generation}"), "mode": mode, "settings": {}});
    read(
        json!({"apiVersion": "sluice.dev/v1alpha1", "kind": "NodeServiceProxy", "metadata": {"name": "n", "generation": generation}, "spec": spec}),
    )
}

fn unreadable<K>(metadata: ObjectMeta, error: &str) -> Read<K> {
    Err(Box::new(Unreadable {
        metadata,
        status: Value::Null,
        field: "spec".to_owned(),
        error: error.to_owned(),
    }))
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("ns", name)
}

/// Two services and a slice, all of it told.
fn begun() -> View {
    let mut view = View::new(Settings::new(ServiceProxyPolicySpec::default(), None));
    list(&mut view);
    let first = view.take().unwrap();
    assert_eq!((first.services.len(), first.slices.len()), (2, 1));
    assert!(first.node.is_some() && first.policy.is_some());
    view
}

fn list(view: &mut View) {
    for kind in NEEDED {
        view.begin_list(kind);
        match kind {
            Kind::Service => {
                view.service(service("a", "10.96.0.1"));
                view.service(service("b", "10.96.0.2"));
            }
            Kind::EndpointSlice => view.slice(slice("2026-01-01T00:00:00Z", "10.244.0.1")),
            Kind::Node => view.node(node()),
            _ => {}
        }
        assert_eq!(view.end_list(kind, false), None);
    }
}

#[test]
fn nothing_is_told_before_all_kinds_were_listed_and_the_node_is_there() {
    let mut view = View::new(Settings::new(ServiceProxyPolicySpec::default(), None));
    view.service(service("a", "10.96.0.1"));
    for kind in [Kind::Service, Kind::EndpointSlice, Kind::Node] {
        assert_eq!(view.take(), None);
        view.end_list(kind, false);
    }
    view.do_without(Kind::NodeServiceProxy);
    assert_eq!(view.take(), None);
    assert_eq!(view.missing(), [Kind::Node]);
    view.node(node());
    let first = view.take().unwrap();
    assert!(first.services.contains_key(&name("a")) && first.policy.is_some());
}

#[test]
fn a_list_that_is_read_again_and_fields_that_do_not_matter_are_no_news() {
    let mut view = begun();
    list(&mut view);
    view.slice(slice("2026-01-02T00:00:00Z", "10.244.0.1"));
    let mut with_annotation = service("a", "10.96.0.1").unwrap();
    with_annotation.metadata.annotations = Some([("x".to_owned(), "y".to_owned())].into());
    with_annotation.metadata.resource_version = Some("17".to_owned());
    view.service(Ok(with_annotation));
    assert_eq!(view.take(), None);
}

#[test]
fn another_label_is_news_and_an_odd_address_in_the_status_neither_news_nor_refused() {
    let mut view = begun();
    let mut labelled = service("a", "10.96.0.1").unwrap();
    labelled.metadata.labels = Some([("k8s-app".to_owned(), "kube-dns".to_owned())].into());
    view.service(Ok(labelled.clone()));
    let told = view.take().unwrap().services;
    assert_eq!(told[&name("a")].as_ref().unwrap().labels.len(), 1);
    labelled.status = Some(
        serde_json::from_value(json!({"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}))
            .unwrap(),
    );
    view.service(Ok(labelled));
    assert_eq!(view.take(), None);
}

#[test]
fn changes_and_deletions_are_told_and_those_of_an_outage_when_the_list_ends() {
    let mut view = begun();
    view.slice(slice("2026-01-02T00:00:00Z", "10.244.0.9"));
    let update = view.take().unwrap();
    assert!(update.slices[&name("a-1")].is_some() && update.causes.contains_key(&name("a-1")));
    view.begin_list(Kind::Service);
    view.service(service("b", "10.96.0.3"));
    view.end_list(Kind::Service, false);
    let update = view.take().unwrap();
    assert_eq!(update.services[&name("a")], None);
    assert!(update.services[&name("b")].is_some());
    view.deleted(Kind::Service, &service("b", "10.96.0.3").unwrap().metadata);
    assert_eq!(view.take().unwrap().services[&name("b")], None);
}

#[test]
fn an_object_that_becomes_unusable_keeps_its_last_good_state_and_is_refused_once() {
    let mut view = begun();
    let mut broken = service("a", "10.96.0.1").unwrap();
    broken.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].port = 0;
    for _ in 0..2 {
        view.service(Ok(broken.clone()));
    }
    let update = view.take().unwrap();
    assert!(update.services.is_empty());
    assert_eq!(update.refusals.len(), 1);
    assert_eq!(update.refusals[0].field, "spec.ports[0].port");
    view.begin_list(Kind::Service);
    view.service(Ok(broken));
    view.service(service("b", "10.96.0.2"));
    view.end_list(Kind::Service, false);
    assert_eq!(view.take(), None, "a list that has it does not remove it");
    view.service(service("a", "10.96.0.1"));
    let update = view.take().unwrap();
    assert_eq!((update.settled.len(), update.services.len()), (1, 0));
}

#[test]
fn what_is_refused_and_mended_before_anybody_asks_is_no_news() {
    let mut view = begun();
    view.service(unreadable(
        service("a", "10.96.0.1").unwrap().metadata,
        "no",
    ));
    view.service(service("a", "10.96.0.1"));
    assert_eq!(view.take(), None);
}

#[test]
fn settings_are_those_of_the_nodes_object_and_the_last_ones_when_it_goes_or_is_wrong() {
    let mut view = begun();
    view.node_service_proxy(own(1, "IPVS"));
    let update = view.take().unwrap();
    assert_eq!(update.policy.unwrap().mode, Mode::IPVS);
    assert_eq!(update.revision.as_ref().unwrap().generation, 1);
    // The same settings under another generation are another revision only.
    let mut same = own(2, "IPVS").unwrap();
    same.spec.revision = "p-1".to_owned();
    view.node_service_proxy(Ok(same));
    let update = view.take().unwrap();
    assert!(update.policy.is_none());
    assert_eq!(update.revision.unwrap().generation, 2);

    let mut wrong = own(3, "IPVS").unwrap();
    wrong.spec.settings.node_ports.localhost = true;
    view.node_service_proxy(Ok(wrong));
    assert_eq!(view.take(), None);
    assert!(
        view.own()
            .unwrap()
            .problem
            .as_ref()
            .unwrap()
            .contains("127.0.0.1")
    );
    let metadata = own(4, "IPVS").unwrap().metadata;
    view.node_service_proxy(unreadable(metadata, "unknown variant `Quantum`"));
    let own_now = view.own().unwrap();
    assert_eq!(own_now.generation, 4);
    assert!(own_now.problem.as_ref().unwrap().contains("Quantum"));
    view.deleted(Kind::NodeServiceProxy, &own(4, "IPVS").unwrap().metadata);
    assert_eq!((view.take(), view.own()), (None, None));
}

#[test]
fn an_object_of_the_node_that_a_list_lacks_is_gone_and_its_settings_stay() {
    let mut view = begun();
    view.node_service_proxy(own(1, "IPVS"));
    assert!(view.take().is_some());
    view.begin_list(Kind::NodeServiceProxy);
    assert!(view.own().is_some(), "it may be in the list yet");
    view.end_list(Kind::NodeServiceProxy, false);
    assert_eq!((view.take(), view.own()), (None, None));
}
