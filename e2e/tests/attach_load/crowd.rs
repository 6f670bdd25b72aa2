//! Pods at ports of a bridge, as a main plugin leaves them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::attach::{Node, Pod, Verb};

pub(crate) struct Crowd {
    pub(crate) node: Node,
    pub(crate) pods: Vec<Pod>,
    entry: Value,
}

/// What one call did.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) output: Output,
    pub(crate) took: Duration,
}

impl Crowd {
    /// This many pods, with these fields in the plugin's configuration. The class is Masquerade unless they say another.
    pub(crate) fn new(count: usize, more: &Value) -> Self {
        let plugin = std::env::var_os("SLUICE_CNI")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_cni-under-test").into());
        let node = Node::new(plugin).unwrap();
        node.make_class_sets().unwrap();
        let pods: Vec<_> = (0..count)
            .map(|n| Pod::new(&format!("pod{n}")).unwrap())
            .collect();
        let mut lines = String::from("link add cni0 type bridge\nlink set cni0 up\n");
        for (n, pod) in pods.iter().enumerate() {
            let id = pod.namespace.id();
            let _ = writeln!(lines, "link add v{n} type veth peer name eth0 netns {id}");
            let _ = writeln!(lines, "link set v{n} master cni0 up");
        }
        node.namespace().ip(&lines).unwrap();
        let mut entry = node.sluice(&json!({"withoutAgent": {"sourceNAT": "Masquerade"}}));
        let fields = entry.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        Self { node, pods, entry }
    }

    /// What the main plugin said of a pod.
    pub(crate) fn result(&self, n: usize) -> Value {
        let (high, low) = (n / 250, n % 250 + 1);
        json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "cni0"}, {"name": format!("v{n}")},
                           {"name": "eth0", "sandbox": self.pods[n].netns()}],
            "ips": [{"address": format!("10.98.{high}.{low}/16"), "interface": 2},
                    {"address": format!("fd00:98::{high:x}:{low:x}/64"), "interface": 2}],
        })
    }

    /// A call that is under way.
    pub(crate) fn start(&self, verb: Verb, n: usize) -> Child {
        let chain = self.node.chain("1.0.0", Vec::new());
        let (command, conf) = chain.command(verb, &self.entry, &self.pods[n], &self.result(n));
        self.node
            .namespace()
            .run(move || begin(command, &conf))
            .unwrap()
    }

    pub(crate) fn call(&self, verb: Verb, n: usize) -> Call {
        self.calls(verb, n..n + 1).remove(0)
    }

    /// All of them at once.
    pub(crate) fn calls(&self, verb: Verb, which: std::ops::Range<usize>) -> Vec<Call> {
        let chain = self.node.chain("1.0.0", Vec::new());
        let running: Vec<_> = which
            .map(|n| {
                let (command, conf) =
                    chain.command(verb, &self.entry, &self.pods[n], &self.result(n));
                let work = move || {
                    let began = Instant::now();
                    let output = begin(command, &conf).wait_with_output().unwrap();
                    let took = began.elapsed();
                    Call { output, took }
                };
                self.node.namespace().spawn(work).unwrap()
            })
            .collect();
        running
            .into_iter()
            .map(|call| call.join().unwrap())
            .collect()
    }

    /// Like [`Self::call`], through a shell script in a mount namespace of its own, in which `$PLUGIN` is the plugin and its input is a file
    /// `$CONF`.
    pub(crate) fn script(&self, verb: Verb, n: usize, script: &str) -> Output {
        let chain = self.node.chain("1.0.0", Vec::new());
        let (command, conf) = chain.command(verb, &self.entry, &self.pods[n], &self.result(n));
        let file = self.node.directory().join("conf.json");
        std::fs::write(&file, conf).unwrap();
        let mut shell = std::process::Command::new("unshare");
        shell.args(["--mount", "/bin/sh", "-c", script]);
        shell.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        shell
            .env("LC_ALL", "C")
            .env("PLUGIN", self.node.plugin())
            .env("CONF", file)
            .env("STATE", self.node.state());
        self.node
            .namespace()
            .run(move || shell.output().unwrap())
            .unwrap()
    }

    /// Ports that give frames back.
    pub(crate) fn hairpins(&self) -> usize {
        let shown = self
            .node
            .namespace()
            .command("bridge -d link show")
            .unwrap();
        shown.matches("hairpin on").count()
    }

    /// Everything that so many attachments hold, and nothing else.
    pub(crate) fn holds(&self, attachments: usize) {
        assert_eq!(self.node.members().unwrap().len(), 2 * attachments);
        assert_eq!(self.node.remembered().unwrap().len(), attachments);
    }
}

fn begin(mut command: std::process::Command, conf: &str) -> Child {
    let mut child = command.spawn().unwrap();
    // One that is killed does not read it.
    let _ = child.stdin.take().unwrap().write_all(conf.as_bytes());
    child
}

pub(crate) fn all_succeed(calls: &[Call]) {
    for call in calls {
        assert!(call.output.status.success(), "{call:?}");
    }
}
