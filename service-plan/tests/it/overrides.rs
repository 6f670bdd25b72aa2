//! What some services want else than the others.

use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    LabelRequirement, LabelSelector, ObjectName, Service, ServiceOverride, Settings,
};

use crate::objects::{ips, node, service};

fn labelled(name: ObjectName, address: &str, labels: &[(&str, &str)]) -> Service {
    let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    Service {
        labels: labels.collect(),
        cluster_ips: ips(&[address]),
        name,
        ..service("")
    }
}

fn row(app: Option<&str>, namespaces: &[&str], scheduler: &str) -> ServiceOverride {
    let labels = app.map(|app| ("app".into(), app.into()));
    ServiceOverride {
        selector: LabelSelector {
            labels: labels.into_iter().collect(),
            requirements: Vec::new(),
        },
        namespaces: namespaces.iter().map(|one| (*one).into()).collect(),
        ipvs_scheduler: scheduler.into(),
    }
}

fn settings(service_overrides: Vec<ServiceOverride>) -> Settings {
    Settings {
        service_overrides,
        ..Settings::default()
    }
}

/// Names of the planned services and their schedulers, in order.
fn schedulers(catalog: &mut Catalog) -> Vec<String> {
    catalog.take_changes();
    let plans = catalog.plan().services.values();
    plans
        .map(|one| {
            let scheduler = one.ipvs_scheduler.as_deref().unwrap_or("-");
            format!("{} {scheduler}", one.name)
        })
        .collect()
}

fn cluster(service_overrides: Vec<ServiceOverride>) -> Catalog {
    let mut catalog = Catalog::new(node(), settings(service_overrides));
    for (namespace, name, address, labels) in [
        ("a", "bare", "10.96.0.1", &[][..]),
        ("a", "db", "10.96.0.2", &[("app", "db"), ("zone", "x")]),
        ("b", "db", "10.96.0.3", &[("app", "db")]),
        ("b", "web", "10.96.0.4", &[("app", "web"), ("tier", "")]),
    ] {
        catalog.set_service(labelled(ObjectName::new(namespace, name), address, labels));
    }
    catalog
}

#[test]
fn the_first_override_that_fits_counts() {
    assert_eq!(
        schedulers(&mut cluster(vec![])),
        ["a/bare -", "a/db -", "b/db -", "b/web -"]
    );
    let mut catalog = cluster(vec![
        row(Some("db"), &["b"], "lc"),
        row(Some("db"), &[], "sh"),
        row(None, &["b", "c"], "wlc"),
        row(None, &["b"], "rr"),
    ]);
    assert_eq!(
        schedulers(&mut catalog),
        ["a/bare -", "a/db sh", "b/db lc", "b/web wlc"]
    );
    let requirements = vec![
        LabelRequirement::NotIn("app".into(), vec!["db".into()]),
        LabelRequirement::DoesNotExist("tier".into()),
    ];
    let mut without = row(None, &[], "mh");
    without.selector.requirements = requirements;
    assert_eq!(
        schedulers(&mut cluster(vec![without, row(None, &[], "sed")])),
        ["a/bare mh", "a/db sed", "b/db sed", "b/web sed"]
    );
}

#[test]
fn changed_overrides_and_labels_touch_only_the_services_they_are_about() {
    let mut catalog = cluster(vec![row(Some("db"), &[], "lc")]);
    catalog.take_changes();
    let told = |catalog: &mut Catalog| -> Vec<String> {
        let changes = catalog.take_changes().services.into_iter();
        changes.map(|change| change.name.to_string()).collect()
    };

    catalog.set_settings(settings(vec![
        row(Some("db"), &["a"], "sh"),
        row(Some("db"), &[], "lc"),
    ]));
    assert_eq!(told(&mut catalog), ["a/db"]);

    let web = |labels| labelled(ObjectName::new("b", "web"), "10.96.0.4", labels);
    catalog.set_service(web(&[("app", "web"), ("tier", "front")]));
    assert_eq!(told(&mut catalog), [""; 0], "no override asks for tier");
    catalog.set_service(web(&[("app", "db")]));
    assert_eq!(told(&mut catalog), ["b/web"]);
    assert_eq!(
        schedulers(&mut catalog),
        ["a/bare -", "a/db sh", "b/db lc", "b/web lc"]
    );

    catalog.set_settings(settings(vec![]));
    assert_eq!(told(&mut catalog), ["a/db", "b/db", "b/web"]);
}
