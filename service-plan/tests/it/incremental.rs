//! Whatever the way to a state, its plan is the same; and what is told is what happened.

use std::sync::Arc;

use proptest::prelude::*;
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    EndpointSlice, EndpointWeight, Hints, LocalDetector, NodeFacts, ObjectName, Service, Settings,
    SliceEndpoint,
};
use sluice_service_plan::plan::ServicePlans;

use crate::objects::{
    addresses, ips, load_balancer, local, name, nets, node, plan_of, remote, service, slice,
};
use crate::random::{self, World};

#[derive(Debug, Clone)]
enum Event {
    SetService(Box<Service>),
    RemoveService(ObjectName),
    SetSlice(EndpointSlice),
    RemoveSlice(ObjectName),
    SetNode(NodeFacts),
    SetSettings(Box<Settings>),
    Take,
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => random::services().prop_map(|one| Event::SetService(Box::new(one))),
        2 => random::service_names().prop_map(Event::RemoveService),
        6 => random::slices().prop_map(Event::SetSlice),
        2 => random::slice_names().prop_map(Event::RemoveSlice),
        1 => random::nodes().prop_map(Event::SetNode),
        1 => random::settings().prop_map(|one| Event::SetSettings(Box::new(one))),
        4 => Just(Event::Take),
    ]
}

fn tell(event: Event, world: &mut World, catalog: &mut Catalog) {
    match event {
        Event::SetService(one) => {
            world.services.insert(one.name.clone(), (*one).clone());
            catalog.set_service(*one);
        }
        Event::RemoveService(name) => {
            world.services.remove(&name);
            catalog.remove_service(&name);
        }
        Event::SetSlice(one) => {
            world.slices.insert(one.name.clone(), one.clone());
            catalog.set_slice(one);
        }
        Event::RemoveSlice(name) => {
            world.slices.remove(&name);
            catalog.remove_slice(&name);
        }
        Event::SetNode(node) => {
            world.node = node.clone();
            catalog.set_node(node);
        }
        Event::SetSettings(settings) => {
            world.settings = (*settings).clone();
            catalog.set_settings(*settings);
        }
        Event::Take => {}
    }
}

/// Takes the changes, applies them to `mirror`, and compares all with a catalog that learnt the world at once.
fn check(
    catalog: &mut Catalog,
    world: &World,
    mirror: &mut ServicePlans,
) -> Result<(), TestCaseError> {
    for change in catalog.take_changes().services {
        prop_assert_ne!(&change.before, &change.after);
        let before = match change.after {
            Some(after) => mirror.insert(after),
            None => mirror.remove(&change.name),
        };
        prop_assert_eq!(before, change.before);
    }
    let plan = catalog.plan();
    prop_assert_eq!(&*plan.node, &world.node);
    prop_assert_eq!(&*plan.settings, &world.settings);
    prop_assert_eq!(&plan.services, &*mirror);
    let scratch = world.catalog();
    prop_assert_eq!(&plan.services, &scratch.plan().services);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_changes_ends_in_the_plan_made_from_scratch(
        mut world in random::worlds(),
        events in prop::collection::vec(events(), 1..40),
    ) {
        let mut catalog = world.catalog();
        let mut mirror = catalog.plan().services.clone();
        for event in events {
            let take = matches!(event, Event::Take);
            tell(event, &mut world, &mut catalog);
            if take {
                check(&mut catalog, &world, &mut mirror)?;
            }
        }
        check(&mut catalog, &world, &mut mirror)?;
        prop_assert!(catalog.take_changes().is_empty());
    }
}

fn settled() -> Catalog {
    let mut catalog = Catalog::new(node(), Settings::default());
    catalog.set_service(load_balancer("web"));
    catalog.set_service(Service {
        cluster_ips: ips(&["10.96.0.9"]),
        ..service("db")
    });
    catalog.set_slice(slice("web-1", "web", vec![local("10.1.0.1")]));
    assert!(
        catalog.take_changes().node_or_settings,
        "the first change is about everything"
    );
    catalog
}

#[test]
fn equal_objects_change_nothing() {
    let mut catalog = settled();
    catalog.set_service(load_balancer("web"));
    catalog.set_slice(slice("web-1", "web", vec![local("10.1.0.1")]));
    catalog.set_node(node());
    catalog.set_settings(Settings::default());
    catalog.remove_service(&name("unknown"));
    catalog.remove_slice(&name("unknown"));
    assert!(catalog.take_changes().is_empty());
}

#[test]
fn a_change_touches_its_own_service_only() {
    let mut catalog = settled();
    let db = plan_of(catalog.plan(), "db").unwrap().clone();
    catalog.set_slice(slice("web-2", "web", vec![remote("10.1.1.1")]));
    let change = catalog.take_changes();
    assert_eq!(change.services.len(), 1);
    assert_eq!(change.services[0].name, name("web"));
    assert!(!change.node_or_settings);
    assert!(Arc::ptr_eq(&db, plan_of(catalog.plan(), "db").unwrap()));
}

#[test]
fn a_label_on_a_live_service_takes_it_away_and_gives_it_back() {
    let mut catalog = settled();
    let foreign = Service {
        labels: [(
            "service.kubernetes.io/service-proxy-name".into(),
            "other".into(),
        )]
        .into(),
        ..load_balancer("web")
    };
    catalog.set_service(foreign);
    let change = catalog.take_changes();
    assert!(change.services[0].after.is_none());
    catalog.set_service(load_balancer("web"));
    let change = catalog.take_changes();
    assert_eq!(
        change.services[0].after.as_ref().unwrap().ports[0]
            .cluster
            .len(),
        1
    );
}

#[test]
fn a_slice_may_come_first_and_may_change_hands() {
    let mut catalog = settled();
    catalog.set_slice(slice("x", "late", vec![local("10.1.0.5")]));
    assert!(catalog.take_changes().is_empty());
    catalog.set_service(Service {
        cluster_ips: ips(&["10.96.0.7"]),
        ..service("late")
    });
    catalog.take_changes();
    assert_eq!(
        plan_of(catalog.plan(), "late").unwrap().ports[0]
            .cluster
            .len(),
        1
    );
    catalog.set_slice(slice("x", "db", vec![local("10.1.0.5")]));
    let change = catalog.take_changes();
    let changed: Vec<_> = change.services.iter().map(|one| &*one.name.name).collect();
    assert_eq!(changed, ["db", "late"]);
}

#[test]
fn a_changed_zone_or_weight_reaches_the_services_that_depend_on_it() {
    let hints = Hints {
        zones: vec!["zone-1".into()],
        nodes: Vec::new(),
    };
    let near = SliceEndpoint {
        hints: Some(Box::new(hints)),
        ..remote("10.1.1.1")
    };
    let hints = Hints {
        zones: vec!["zone-9".into()],
        nodes: Vec::new(),
    };
    let far = SliceEndpoint {
        hints: Some(Box::new(hints)),
        ..remote("10.1.1.2")
    };
    let mut catalog = settled();
    catalog.set_slice(slice("db-1", "db", vec![near, far]));
    catalog.take_changes();
    catalog.set_node(NodeFacts {
        zone: Some("zone-9".into()),
        ..node()
    });
    let change = catalog.take_changes();
    assert_eq!(change.services.len(), 1);
    let cluster = &plan_of(catalog.plan(), "db").unwrap().ports[0].cluster;
    assert_eq!(addresses(cluster), ["10.1.1.2:8080"]);

    let row = EndpointWeight {
        zones: vec!["zone-2".into()],
        nodes: Vec::new(),
        weight: 3,
    };
    catalog.set_settings(Settings {
        endpoint_weights: vec![row],
        ..Settings::default()
    });
    let change = catalog.take_changes();
    assert_eq!(change.services.len(), 1);
    assert_eq!(
        plan_of(catalog.plan(), "db").unwrap().ports[0].cluster[0].weight,
        3
    );
}

#[test]
fn node_and_settings_changes_are_told_and_replan_only_what_depends_on_them() {
    let mut catalog = settled();
    let mut moved = node();
    moved.addresses.push("192.0.2.50".parse().unwrap());
    catalog.set_node(moved.clone());
    let change = catalog.take_changes();
    assert!(change.node_or_settings && change.services.is_empty());
    assert_eq!(catalog.plan().node.addresses, moved.addresses);

    let settings = Settings {
        mark_bit: 15,
        ..Settings::default()
    };
    catalog.set_settings(settings.clone());
    let change = catalog.take_changes();
    assert!(change.node_or_settings && change.services.is_empty());

    let detect_local = LocalDetector::Cidrs(nets(&["10.1.0.0/16"]));
    catalog.set_settings(Settings {
        detect_local,
        ..settings
    });
    let change = catalog.take_changes();
    assert_eq!((change.node_or_settings, change.services.len()), (true, 2));

    catalog.set_node(NodeFacts {
        name: "node-b".into(),
        ..moved
    });
    let change = catalog.take_changes();
    assert_eq!((change.node_or_settings, change.services.len()), (true, 1));
}
