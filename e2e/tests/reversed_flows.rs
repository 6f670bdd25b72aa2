//! Flows that connection tracking holds the wrong way round: somebody beyond the node answers from a service address, and his
//! answer comes when the node knows nothing of the question (any more).

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use sluice_e2e::changes::{Change, ServedNode};
use sluice_e2e::lab::places::{A1, B1, CLIENT, Place, ROUTER};
use sluice_e2e::lab::{Lab, Namespace};
use sluice_e2e::packets::build::{PORT, all_ready, cluster_ip, web};
use sluice_e2e::packets::planes::{self, PlaneUnderTest};
use sluice_kernel::conntrack::{self, Conntrack, ConntrackNetlink};
use sluice_service_plan::model::{Family, Protocol, Settings};

/// Where the one beyond the node listens.
const BEYOND_PORT: u16 = 7000;
/// For an answer that is expected, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(3);
/// Where silence is expected.
const SILENCE: Duration = Duration::from_millis(300);

/// A client that sends to a service address from one port, and somebody beyond the node who answers when he is told to.
struct Dialogue {
    client: UdpSocket,
    beyond: UdpSocket,
}

impl Dialogue {
    fn start(lab: &Lab, family: Family) -> Self {
        let client = open(lab.namespace(&CLIENT), &CLIENT, family, 0);
        client.connect(frontend(family)).unwrap();
        let beyond = open(lab.namespace(&ROUTER), &ROUTER, family, BEYOND_PORT);
        Self { client, beyond }
    }

    fn ask(&self) {
        self.client.send(b"who\n").unwrap();
    }

    /// The question came to the one beyond.
    fn is_heard_beyond(&self) -> bool {
        let heard = self.beyond.recv_from(&mut [0; 16]);
        heard.is_ok_and(|(_, from)| from == self.client.local_addr().unwrap())
    }

    /// The one beyond answers, and the client hears it.
    fn is_answered_from_beyond(&self) -> bool {
        let client = self.client.local_addr().unwrap();
        self.beyond.send_to(b"beyond", client).unwrap();
        self.answer(PATIENCE).as_deref() == Some("beyond")
    }

    fn is_answered_by_an_endpoint(&self, patience: Duration) -> bool {
        self.ask();
        let answer = self.answer(patience);
        answer.is_some_and(|name| [A1.name, B1.name].contains(&&*name))
    }

    /// The first word of an answer: who gave it.
    fn answer(&self, patience: Duration) -> Option<String> {
        self.client.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 512];
        let read = self.client.recv(&mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer[..read]);
        text.split_whitespace().next().map(str::to_owned)
    }
}

fn open(namespace: &Namespace, place: &Place, family: Family, port: u16) -> UdpSocket {
    let at = SocketAddr::new(place.ip(family), port);
    let socket = namespace.run(move || UdpSocket::bind(at)).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn frontend(family: Family) -> SocketAddr {
    SocketAddr::new(cluster_ip(family, 10), PORT)
}

/// The node's connection tracking holds a flow that the frontend began.
fn is_reversed(node: &ServedNode, family: Family) -> bool {
    let kernel_family = match family {
        Family::V4 => conntrack::Family::V4,
        Family::V6 => conntrack::Family::V6,
    };
    let look = move || {
        let mut found = false;
        let mut kernel = ConntrackNetlink::open().unwrap();
        let mut visit = |flow: &conntrack::Flow| {
            let from = SocketAddr::new(flow.original.source, flow.original.source_port);
            found |= from == frontend(family);
        };
        kernel.list(kernel_family, &mut visit).unwrap();
        found
    };
    node.lab().node().run(look).unwrap()
}

/// The service gets its frontend and its endpoints at once.
fn serve(node: &mut ServedNode, family: Family) -> Change {
    node.serve(&web(family, Protocol::Udp), &all_ready([A1, B1]))
        .unwrap()
}

fn on_each_plane(test: impl Fn(&mut ServedNode, &PlaneUnderTest, Family, &Dialogue)) {
    for plane in planes::here() {
        for family in Family::ALL {
            eprintln!("on {}, {family:?}:", plane.name);
            let settings = plane.settings(Settings::default());
            let mut node = ServedNode::start(plane.open, settings).unwrap();
            let lead_to_him = format!(
                "add table inet beyond-udp
                add chain inet beyond-udp in {{ type nat hook prerouting priority dstnat - 10; }}
                add rule inet beyond-udp in udp dport {PORT} redirect to :{BEYOND_PORT}"
            );
            let router = node.lab().namespace(&ROUTER);
            router.program("nft", &["-f", "-"], &lead_to_him).unwrap();
            let dialogue = Dialogue::start(node.lab(), family);
            test(&mut node, plane, family, &dialogue);
        }
    }
}

#[test]
fn an_answer_under_way_while_the_frontend_appears_costs_its_client_no_more_than_the_next_look() {
    on_each_plane(|node, plane, family, dialogue| {
        dialogue.ask();
        assert!(dialogue.is_heard_beyond() && dialogue.is_answered_from_beyond());
        dialogue.ask();
        assert!(dialogue.is_heard_beyond());

        let change = serve(node, family);
        assert_eq!(change.report.flows_deleted, 1);
        assert!(!is_reversed(node, family));
        // IPVS makes the address the node's own, and from its own address a node takes no IPv4 packet off the wire.
        let comes_in = plane.ipvs.is_none() || family == Family::V6;
        assert_eq!(dialogue.is_answered_from_beyond(), comes_in);
        assert_eq!(is_reversed(node, family), comes_in);
        if comes_in {
            assert!(!dialogue.is_answered_by_an_endpoint(SILENCE));
            assert!(plane.ipvs.is_some() || dialogue.is_heard_beyond());
        }

        let drift = node.with_plane(|plane, _| plane.check()).unwrap().unwrap();
        assert_eq!(drift, []);
        assert!(dialogue.is_answered_by_an_endpoint(PATIENCE));
    });
}

#[test]
fn an_entry_that_is_reversed_when_the_frontend_appears_goes_at_once() {
    on_each_plane(|node, _, family, dialogue| {
        dialogue.ask();
        assert!(dialogue.is_heard_beyond());
        // As if the client had been silent for longer than an entry lives.
        node.lab().node().command("conntrack -F").unwrap();
        assert!(dialogue.is_answered_from_beyond());
        assert!(is_reversed(node, family));

        serve(node, family);
        assert!(dialogue.is_answered_by_an_endpoint(PATIENCE));
    });
}
