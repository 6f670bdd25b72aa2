//! Real connections, counted and listed by the kernel.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use sluice_kernel::ipvs::{
    Change, Connection, ConnectionCounts, Family, IpProtocol, Ipvs, IpvsNetlink, ListedDestination,
    Persistence, Service, VirtualServer,
};

use super::namespace::sh;
use super::sample::{at, destination, make, plain, tcp};
use super::subject::{Subject, in_kernel};

fn connections(ipvs: &mut IpvsNetlink) -> Vec<Connection> {
    let mut all = Vec::new();
    ipvs.connections(&mut |connection| all.push(connection.clone()))
        .unwrap();
    all
}

fn counts(active: u32, inactive: u32, persistent: u32) -> ConnectionCounts {
    ConnectionCounts {
        active,
        inactive,
        persistent,
    }
}

/// The real server of a virtual server that has one, when its connection is among the statistics.
fn once_counted(ipvs: &mut IpvsNetlink, of: &VirtualServer) -> ListedDestination {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let listed = ipvs.destinations(of).unwrap()[0];
        if listed.statistics.connections == 1 {
            return listed;
        }
        assert!(Instant::now() < deadline, "{listed:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_connection_of_either_family_is_counted_and_listed_with_its_template() {
    in_kernel(|ipvs| {
        sh("ip addr add 10.96.3.1/32 dev lo; ip addr add fd00:96:3::1/128 dev lo nodad");
        for (vip, real, family) in [
            ("10.96.3.1:80", "127.0.0.1:8080", Family::V4),
            ("[fd00:96:3::1]:80", "[::1]:8080", Family::V6),
        ] {
            let server = tcp(vip);
            let service = Service {
                persistence: Some(Persistence::of_each_client(family, 300)),
                ..plain(server)
            };
            make(
                ipvs,
                &[
                    Change::NewService(service),
                    Change::NewDestination(server, destination(real)),
                ],
            );
            let listener = TcpListener::bind(real).unwrap();
            let vip: SocketAddr = vip.parse().unwrap();
            let mut client = TcpStream::connect(vip).unwrap();
            let mut accepted = listener.accept().unwrap().0;
            client.write_all(b"ping").unwrap();
            accepted.read_exact(&mut [0; 4]).unwrap();

            let mut listed = connections(ipvs);
            listed.retain(|connection| connection.virtual_server == vip);
            listed.sort_by_key(|connection| connection.client.port());
            let [template, connection] = listed.as_slice() else {
                panic!("{listed:?}");
            };
            assert_eq!(
                (template.client.port(), template.protocol),
                (0, IpProtocol::TCP)
            );
            assert_eq!(connection.client, client.local_addr().unwrap());
            assert_eq!(connection.real_server, real.parse().unwrap());
            assert_eq!(connection.state, "ESTABLISHED");
            assert!((800..=900).contains(&connection.expires_seconds));

            let counted = once_counted(ipvs, &server);
            assert_eq!(counted.connections, counts(1, 0, 1));
            assert!(counted.statistics.packets_in >= 3);
            assert!(counted.statistics.bytes_in > 100);
            assert!(counted.statistics.bytes_out > 100);
            ipvs.witnessed();
        }
    });
}

#[test]
fn a_real_server_that_returns_gets_its_connections_back() {
    in_kernel(|ipvs| {
        sh("ip addr add 10.96.3.2/32 dev lo");
        let server = at(IpProtocol::UDP, "10.96.3.2:53");
        let real = destination("127.0.0.1:5353");
        make(
            ipvs,
            &[
                Change::NewService(plain(server)),
                Change::NewDestination(server, real),
            ],
        );
        let backend = UdpSocket::bind("127.0.0.1:5353").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"ping", "10.96.3.2:53").unwrap();
        backend.recv(&mut [0; 4]).unwrap();
        let told = ipvs.destinations(&server).unwrap()[0].connections;
        assert_eq!(told, counts(0, 1, 0));

        let around = [
            Change::DeleteDestination(server, real.server),
            Change::NewDestination(server, real),
        ];
        make(ipvs, &around);
        let told = ipvs.destinations(&server).unwrap()[0].connections;
        assert_eq!(told, counts(0, 1, 0));
    });
}

#[test]
fn connections_are_those_of_the_namespace_where_the_door_was_opened() {
    in_kernel(|outer| {
        sh("ip addr add 10.96.3.3/32 dev lo");
        let server = at(IpProtocol::UDP, "10.96.3.3:53");
        let real = destination("127.0.0.1:5353");
        make(
            outer,
            &[
                Change::NewService(plain(server)),
                Change::NewDestination(server, real),
            ],
        );
        let backend = UdpSocket::bind("127.0.0.1:5353").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"ping", "10.96.3.3:53").unwrap();
        backend.recv(&mut [0; 4]).unwrap();
        in_kernel(|inner| {
            assert_eq!(connections(inner), []);
            assert_eq!(connections(outer).len(), 1);
        });
    });
}
