//! A service of the agent's whose one endpoint is the pod that calls it.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sluice_e2e::container_runtime::Sandbox;
use sluice_e2e::lab::{Listen, Namespace, Outcome, Probe, Server};
use sluice_service_plan::model::Protocol;

use crate::RELEASES;
use crate::machine::Machine;

const VIPS: [&str; 2] = ["10.96.0.10", "fd00:96::a"];
const PATIENCE: Duration = Duration::from_secs(10);

fn manifest(pod: &Sandbox) -> String {
    let mut text = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec:
  ipFamilies: [IPv4, IPv6]
  clusterIPs: ['{}', '{}']
  ports: [{{name: http, port: 80, protocol: TCP}}]
",
        VIPS[0], VIPS[1]
    );
    for address in &pod.addresses {
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let _ = write!(
            text,
            "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-{}, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: {family}
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: ['{address}']}}]
",
            family.to_lowercase()
        );
    }
    text
}

fn outcomes(pod: &Namespace) -> Vec<Outcome> {
    let calls = VIPS.map(|vip| {
        let to = SocketAddr::new(vip.parse::<IpAddr>().unwrap(), 80);
        let probe = Probe::new(Protocol::Tcp, None, to);
        pod.run(move || probe.run()).unwrap()
    });
    calls.into()
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    for release in RELEASES {
        let Some(machine) = Machine::up(release) else {
            return;
        };
        let pod = machine.runtime().run("web").unwrap();
        let inside = machine.runtime().namespace(&pod).unwrap();
        let listen = Listen {
            name: "web".to_owned(),
            addresses: pod.addresses.clone(),
            ports: vec![8080],
            protocols: vec![Protocol::Tcp],
        };
        let _server = Server::start(&inside, &[listen]).unwrap();
        machine.agent.write("web.yaml", &manifest(&pod)).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let calls = outcomes(&inside);
            if calls.iter().all(|call| call.endpoint() == Some("web")) {
                break;
            }
            assert!(Instant::now() < deadline, "{release:?}: {calls:?}");
            sleep(Duration::from_millis(50));
        }
        // Without the flag it does not: the rules alone are not enough.
        let ports = machine.namespace().command("bridge -o link show").unwrap();
        let port = ports
            .split_whitespace()
            .nth(1)
            .unwrap()
            .split('@')
            .next()
            .unwrap();
        let off = format!("bridge link set dev {port} hairpin off");
        machine.namespace().command(&off).unwrap();
        assert!(
            outcomes(&inside)
                .iter()
                .all(|call| *call == Outcome::TimedOut)
        );
    }
}
