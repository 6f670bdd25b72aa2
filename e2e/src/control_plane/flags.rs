//! The command lines of the servers.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

/// Cluster IPs: the ranges that the examples use.
const SERVICE_RANGES: &str = "10.96.0.0/16,fd00:10:96::/112";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Nodes of the lab have no kubelet, so no news of their health: without these controllers that has no consequence.
const CONTROLLERS: &str =
    "*,-node-lifecycle-controller,-taint-eviction-controller,-pod-garbage-collector-controller";

/// The files of one control plane.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(super) fn etcd_data(&self) -> PathBuf {
        self.path("etcd")
    }

    pub(super) fn etcd_backup(&self) -> PathBuf {
        self.path("etcd-backup")
    }

    pub(super) fn etcd_socket(&self) -> PathBuf {
        self.path("etcd.sock")
    }

    /// kube-apiserver makes it when it finds none, so that it stays the same over restarts.
    pub(super) fn serving_certificate(&self) -> PathBuf {
        self.path("certificates/apiserver.crt")
    }

    /// Only there where a test has clients with certificates.
    pub(super) fn client_authority(&self) -> PathBuf {
        self.path("client-authority.crt")
    }

    pub(super) fn service_account_key(&self) -> PathBuf {
        self.path("service-account.key")
    }

    pub(super) fn tokens(&self) -> PathBuf {
        self.path("tokens.csv")
    }

    /// The administrator's.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    fn flag(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.path(name).display())
    }
}

/// etcd on sockets in the directory: it needs no ports, and nobody else gets at it.
pub(super) fn etcd(files: &Files) -> Vec<String> {
    let clients = format!("unix://{}", files.etcd_socket().display());
    let peers = format!("unix://{}", files.path("etcd-peer.sock").display());
    vec![
        format!("--data-dir={}", files.etcd_data().display()),
        format!("--listen-client-urls={clients}"),
        // It insists on a host and a port that it tells those who ask, and nobody does.
        "--advertise-client-urls=http://localhost:2379".to_owned(),
        format!("--listen-peer-urls={peers}"),
        // What was written outlives the process all the same, just not the machine.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

pub(super) fn api_server(files: &Files, port: u16) -> Vec<String> {
    let address = Ipv4Addr::LOCALHOST;
    let mut flags = vec![
        format!("--etcd-servers=unix://{}", files.etcd_socket().display()),
        format!("--bind-address={address}"),
        format!("--advertise-address={address}"),
        format!("--secure-port={port}"),
        files.flag("cert-dir", "certificates"),
        files.flag("token-auth-file", "tokens.csv"),
        format!("--service-account-issuer={ISSUER}"),
        files.flag("service-account-key-file", "service-account.key"),
        files.flag("service-account-signing-key-file", "service-account.key"),
        format!("--service-cluster-ip-range={SERVICE_RANGES}"),
        "--authorization-mode=RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        // Pods may be made where no controller makes their service accounts.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        // The Service `kubernetes` may have no loopback address for an endpoint.
        "--endpoint-reconciler-type=none".to_owned(),
    ];
    let clients = files.client_authority();
    if clients.exists() {
        flags.push(format!("--client-ca-file={}", clients.display()));
    }
    flags
}

pub(super) fn controller_manager(files: &Files) -> Vec<String> {
    vec![
        files.flag("kubeconfig", "admin.kubeconfig"),
        files.flag("service-account-private-key-file", "service-account.key"),
        files.flag("root-ca-file", "certificates/apiserver.crt"),
        format!("--service-cluster-ip-range={SERVICE_RANGES}"),
        format!("--controllers={CONTROLLERS}"),
        "--leader-elect=false".to_owned(),
        // It serves nobody.
        "--secure-port=0".to_owned(),
    ]
}

/// Where ports of servers are looked for: below those that the kernel gives to outgoing connections. Were it one
/// of these, a client that tries to reach a stopped server could be given that very port, and reach itself.
const PORTS: std::ops::Range<u16> = 10_000..30_000;
/// What agents and kube-proxy listen on may be asked for at any moment.
const OF_OTHERS: [u16; 4] = [10_249, 10_256, 20_249, 20_256];

/// A port of the loopback address that nobody has, looked for from a random one on.
pub(crate) fn free_port() -> Option<u16> {
    let random = RandomState::new()
        .hash_one(std::process::id())
        .to_le_bytes();
    let offset = u16::from_le_bytes([random[0], random[1]]) % (PORTS.end - PORTS.start);
    let from = PORTS.start + offset;
    let is_free = |&port: &u16| {
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        !OF_OTHERS.contains(&port) && std::net::TcpListener::bind(address).is_ok()
    };
    (from..PORTS.end).chain(PORTS.start..from).find(is_free)
}
