//! A node for a test: a network namespace of the test's thread, directories, and agents that run in it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on must fail"
)]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) const HEALTHZ: &str = "127.0.0.1:10256";
pub(crate) const METRICS: &str = "127.0.0.1:10249";

/// Time that anything may take before a test fails; an emulated machine is slow.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Node {
    dir: tempfile::TempDir,
}

impl Node {
    /// Moves the calling thread, and what it starts, into a network namespace of its own.
    pub(crate) fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("tests need root: make a network namespace");
        let node = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(node.manifests()).unwrap();
        run("ip", &["link", "set", "lo", "up"]);
        run(
            "ip",
            &[
                "link", "add", "eth0", "type", "veth", "peer", "name", "uplink",
            ],
        );
        run("ip", &["address", "add", "192.168.0.10/24", "dev", "eth0"]);
        run("ip", &["link", "set", "eth0", "up"]);
        node.write("node.yaml", NODE);
        node
    }

    pub(crate) fn manifests(&self) -> std::path::PathBuf {
        self.dir.path().join("manifests")
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Puts a manifest in place as a whole, as tools do.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let beside = self.dir.path().join("new-manifest");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.manifests().join(file)).unwrap();
    }

    fn command(&self, verb: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-agent"));
        command.arg(verb);
        if matches!(verb, "run" | "render" | "explain") {
            command
                .args(["--node-name", "n1", "--manifests"])
                .arg(self.manifests());
        }
        if matches!(verb, "run" | "cleanup") {
            command.args([
                "--state-dir",
                &self.path("state"),
                "--run-dir",
                &self.path("run"),
            ]);
        }
        command
            .args(args)
            .env_remove("RUST_LOG")
            .env_remove("NODE_NAME");
        command
    }

    /// Runs a command of the agent to its end.
    pub(crate) fn agent(&self, verb: &str, args: &[&str]) -> Output {
        self.command(verb, args).output().unwrap()
    }

    /// Starts a command that goes on until it is told to end. What it says, on either stream, is its log.
    pub(crate) fn spawn(&self, verb: &str, args: &[&str]) -> Agent {
        self.begin(self.command(verb, args))
    }

    /// Likewise, with a script in place of a program that it would find.
    pub(crate) fn spawn_with(&self, program: (&str, &str), verb: &str, args: &[&str]) -> Agent {
        let (directory, path) = (self.path("programs"), std::env::var("PATH").unwrap());
        std::fs::create_dir(&directory).unwrap();
        let (name, script) = program;
        // By another process: a file that any process has open for writing is not executed.
        let write = "printf %s \"$1\" > \"$0\" && chmod +x \"$0\"";
        run("sh", &["-c", write, &format!("{directory}/{name}"), script]);
        let mut command = self.command(verb, args);
        command.env("PATH", format!("{directory}:{path}"));
        self.begin(command)
    }

    fn begin(&self, mut command: Command) -> Agent {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let child = command
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .unwrap();
        Agent {
            child,
            log: self.path("log"),
        }
    }

    /// Starts an agent and waits until it is healthy.
    pub(crate) fn start(&self, args: &[&str]) -> Agent {
        let mut agent = self.spawn("run", args);
        agent.eventually("the agent is healthy", |_| {
            get(HEALTHZ, "/healthz").is_some_and(|answer| answer.status == 200)
        });
        agent
    }

    /// All rules of the calling thread's node, in both families, of the nft variant.
    pub(crate) fn rules() -> String {
        ["iptables-nft-save", "ip6tables-nft-save"]
            .map(|save| text(&run(save, &[]).stdout))
            .concat()
    }

    /// Names of all address sets.
    pub(crate) fn sets() -> Vec<String> {
        text(&run("ipset", &["list", "-n"]).stdout)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

pub(crate) struct Agent {
    child: Child,
    log: String,
}

impl Agent {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Sends TERM, and tells how long it took the agent to end.
    pub(crate) fn terminate(self) -> Duration {
        let start = Instant::now();
        self.tell_to_end();
        self.ends_well();
        start.elapsed()
    }

    pub(crate) fn tell_to_end(&self) {
        kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM).unwrap();
    }

    /// Waits for that; returns its log.
    pub(crate) fn ends_well(mut self) -> String {
        let status = self.child.wait().unwrap();
        let log = self.log();
        assert!(status.success(), "the agent ended with {status}:\n{log}");
        log
    }

    /// Waits until something is so.
    pub(crate) fn eventually(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the agent ended with {status}:\n{}", self.log());
            }
            assert!(
                Instant::now() < deadline,
                "it never was so that {what}:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// One HTTP request; nothing when nobody listens.
pub(crate) fn get(address: &str, path: &str) -> Option<Answer> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut all = String::new();
    stream.read_to_string(&mut all).ok()?;
    let (head, body) = all.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        head: head.to_lowercase(),
        body: body.to_owned(),
    })
}

/// The value of a metric, by the start of its line; absent when there is no such line.
pub(crate) fn metric(start: &str) -> Option<f64> {
    let scrape = get(METRICS, "/metrics")?.body;
    let line = scrape.lines().find(|line| {
        line.strip_prefix(start)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

pub(crate) fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        text(&output.stderr)
    );
    output
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const NODE: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.1.0.0/24]}
status:
  addresses: [{type: InternalIP, address: 192.168.0.10}]
";

/// A service with a cluster IP and a node port, and its slice with one endpoint.
pub(crate) fn web(endpoint: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec:
  type: NodePort
  clusterIPs: [10.96.0.10]
  ports: [{{name: http, port: 80, nodePort: 30080, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: [{endpoint}], nodeName: n1, conditions: {{ready: true}}}}]
"
    )
}
