//! Which services are proxied at all.

use sluice_service_plan::model::{Family, OUR_PROXY_NAME, Protocol};

use crate::lab::places::{A1, A2, CLIENT, NODE};
use crate::packets::Row;
use crate::packets::build::{
    NODE_PORT, PORT, ServiceBuilder, cluster_ip, outside_ip, ready, service, web,
};
use crate::packets::row::Source::{Kept, Masqueraded};
use crate::packets::row::{Expect, Scene, Untouched, packet, reaches};

const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
const HEADLESS: &str = "service.kubernetes.io/headless";
const EXTERNAL: u8 = 10;

pub(super) fn rows() -> Vec<Row> {
    Family::ALL.into_iter().flat_map(of_family).collect()
}

fn of_family(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let vip = cluster_ip(family, 10);
    let exposed = || {
        web(family, protocol)
            .external_ip(outside_ip(family, EXTERNAL))
            .node_port(NODE_PORT)
    };
    let of = |service: ServiceBuilder| Scene::of(service, &[ready(A1)]);
    let to_vip = || packet(CLIENT, protocol, vip, PORT);
    let to_external = || packet(CLIENT, protocol, outside_ip(family, EXTERNAL), PORT);
    let to_node_port = || packet(CLIENT, protocol, NODE.ip(family), NODE_PORT);
    let lost = || Expect::NotOurs(Untouched::Routed);
    let foreign = of(exposed().label(PROXY_NAME, "somebody-else"));
    let bare = service("web")
        .port("", protocol, PORT)
        .external_ip(outside_ip(family, EXTERNAL));
    let slice = exposed().slice(family, &[ready(A1)]);
    let headless = Scene::of(bare.clone(), &[]).slice(slice.clone());
    let external_name = Scene::of(exposed().external_name(), &[]).slice(slice);
    vec![
        foreign.row(
            "the cluster IP of another proxy's service is left alone",
            to_vip(),
            lost(),
        ),
        foreign.row(
            "the external IP of another proxy's service is left alone",
            to_external(),
            lost(),
        ),
        foreign.row(
            "the node port of another proxy's service is left alone",
            to_node_port(),
            Expect::NotOurs(Untouched::Refused),
        ),
        of(exposed()).row(
            "a service whose proxy name label went is served",
            to_external(),
            reaches([A1], Masqueraded),
        ),
        of(exposed().label(PROXY_NAME, "")).row(
            "an empty proxy name is another proxy's too",
            to_vip(),
            lost(),
        ),
        of(exposed().label(PROXY_NAME, OUR_PROXY_NAME)).row(
            "our own proxy name is ours",
            packet(A2, protocol, vip, PORT),
            reaches([A1], Kept),
        ),
        of(exposed().label(HEADLESS, "")).row(
            "the headless label on a service means nothing",
            packet(A2, protocol, vip, PORT),
            reaches([A1], Kept),
        ),
        headless.row(
            "a service without cluster IP is left alone",
            to_external(),
            lost(),
        ),
        external_name.row(
            "a service of type ExternalName is left alone",
            to_vip(),
            lost(),
        ),
        Scene::empty().row("without services nothing is served", to_vip(), lost()),
    ]
}
