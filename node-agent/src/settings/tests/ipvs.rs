use sluice_crds::v1alpha1::{ActiveMode, ConnectionReuse, Mode};
use sluice_service_plan::model::{
    IpvsSettings, IpvsTimeouts, LabelRequirement, LabelSelector, ServiceOverride, VipBinding,
};

use super::*;

fn kernel(release: &str) -> KernelVersion {
    release.parse().unwrap()
}

#[test]
fn each_field_for_ipvs_reaches_its_setting() {
    let settings = resolve(|policy| {
        *policy = serde_json::from_str(
            r#"{"mode": "IPVS", "modeSwitch": {"drainTimeoutSeconds": 60},
            "ipvs": {"scheduler": "wlc", "vipBinding": "Dummy", "gracefulTermination": {"timeoutSeconds": 30},
                "timeouts": {"tcpSeconds": 1, "tcpFinSeconds": 2, "udpSeconds": 3}, "strictARP": false,
                "excludeCIDRs": ["192.0.2.0/24"], "connectionReuse": "Keep", "connectionTableBits": 27},
            "serviceOverrides": [{"namespaces": ["a"], "ipvsScheduler": "sh", "selector": {
                "matchLabels": {"app": "db"},
                "matchExpressions": [
                    {"key": "k", "operator": "In", "values": ["x"]}, {"key": "k", "operator": "NotIn", "values": ["y", "z"]},
                    {"key": "k", "operator": "Exists"}, {"key": "k", "operator": "DoesNotExist"}]}}]}"#,
        )
        .unwrap();
    });
    assert_eq!(
        settings.plan.ipvs,
        IpvsSettings {
            scheduler: "wlc".into(),
            vip_binding: VipBinding::Dummy,
            grace_seconds: 30,
            timeouts: IpvsTimeouts {
                tcp: Some(1),
                tcp_fin: Some(2),
                udp: Some(3),
            },
            excluded: nets(&["192.0.2.0/24"]),
        }
    );
    let key = || "k".to_owned();
    assert_eq!(
        settings.plan.service_overrides,
        [ServiceOverride {
            selector: LabelSelector {
                labels: [("app".into(), "db".into())].into(),
                requirements: vec![
                    LabelRequirement::In(key(), vec!["x".into()]),
                    LabelRequirement::NotIn(key(), vec!["y".into(), "z".into()]),
                    LabelRequirement::Exists(key()),
                    LabelRequirement::DoesNotExist(key()),
                ],
            },
            namespaces: vec!["a".into()],
            ipvs_scheduler: "sh".into(),
        }]
    );
    assert_eq!(settings.drain_timeout, Some(Duration::from_secs(60)));
    assert_eq!(settings.mode.mode, Mode::IPVS);
    assert_eq!(
        settings.ipvs,
        IpvsTunables {
            strict_arp: false,
            connection_reuse: ConnectionReuse::Keep,
            connection_table_bits: Some(27),
        }
    );
}

#[test]
fn node_ports_on_localhost_keep_auto_from_ipvs() {
    let mode = |localhost| {
        let settings = resolve(|policy| policy.node_ports.localhost = localhost);
        settings.mode.mode_for(5000, Some(ActiveMode::IPVS), true)
    };
    assert_eq!(mode(false), ActiveMode::IPVS);
    assert_eq!(mode(true), ActiveMode::IPTables);
}

#[test]
fn sysctls_of_ipvs_follow_policy_and_kernel() {
    let wanted = |settings: &NodeSettings, release: &str| -> Vec<String> {
        ipvs_sysctls(settings, kernel(release))
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    };
    assert_eq!(
        wanted(&resolve(|_| {}), "6.1.0-25-amd64"),
        [
            "net.ipv4.vs.conntrack=1",
            "net.ipv4.vs.conn_reuse_mode=1",
            "net.ipv4.vs.expire_nodest_conn=1",
            "net.ipv4.vs.expire_quiescent_template=1",
            "net.ipv4.vs.nat_icmp_send=0",
            "net.ipv4.conf.all.arp_ignore=1",
            "net.ipv4.conf.all.arp_announce=2",
        ]
    );
    let lax = resolve(|policy| policy.ipvs.strict_arp = false);
    assert_eq!(wanted(&lax, "6.1.0").len(), 5);
}

#[test]
fn kernels_before_5_9_are_told_from_later_ones() {
    const WAITS: &str =
        "is 1: such a connection gets a live endpoint, but its client may wait a second for it";
    const GOES_BACK: &str =
        "is 0: such a connection waits for nothing, but goes to the endpoint of the earlier one";
    use ConnectionReuse::{Auto, Keep, Reschedule};
    let rows = [
        (Auto, "5.9.0", "1", None),
        (Auto, "5.8.18", "0", Some(GOES_BACK)),
        (Auto, "4.19.0-27-amd64", "0", Some(GOES_BACK)),
        (Reschedule, "4.19.0", "1", Some(WAITS)),
        (Reschedule, "6.1.0", "1", None),
        (Keep, "4.19.0", "0", Some(GOES_BACK)),
        (Keep, "6.1.0", "0", None),
    ];
    for (reuse, release, mode, warning) in rows {
        let settings = resolve(|policy| policy.ipvs.connection_reuse = reuse);
        let sysctls = ipvs_sysctls(&settings, kernel(release));
        let value = sysctls
            .iter()
            .find(|(name, _)| name == "net.ipv4.vs.conn_reuse_mode")
            .map(|(_, value)| value.as_str());
        assert_eq!(value, Some(mode), "{reuse:?} {release}");
        let said = settings.ipvs.connection_reuse_warning(kernel(release));
        assert_eq!(said.is_some(), warning.is_some(), "{reuse:?} {release}");
        let said = said.unwrap_or_default();
        assert!(
            said.contains(warning.unwrap_or_default()),
            "{reuse:?} {release}: {said}"
        );
    }
}

#[test]
fn a_connection_table_is_as_large_as_the_kernel_allows() {
    let bits = |wanted, release| {
        let settings = resolve(|policy| policy.ipvs.connection_table_bits = wanted);
        settings.ipvs.module_table_bits(kernel(release))
    };
    assert_eq!(bits(None, "6.1.0"), None);
    assert_eq!(bits(Some(22), "6.1.0"), Some(20));
    assert_eq!(bits(Some(18), "6.1.0"), Some(18));
    assert_eq!(bits(Some(27), "6.5.0"), Some(27));
}
