//! What a person needs who was not there when a scenario failed.

use std::path::Path;

use super::cluster::Cluster;
use super::error::{KindError, failed};

/// What is asked of the API.
const OBJECTS: [(&str, &str); 6] = [
    ("pods", "get pods --all-namespaces -o wide"),
    (
        "events",
        "get events --all-namespaces --sort-by=.lastTimestamp",
    ),
    (
        "services",
        "get services,endpointslices --all-namespaces -o wide",
    ),
    ("nodes", "get nodes -o yaml"),
    (
        "policies",
        "get serviceproxypolicies,nodeserviceproxies -o yaml",
    ),
    ("described-pods", "describe pods --all-namespaces"),
];
/// What is asked of each node.
const OF_A_NODE: [(&str, &str); 6] = [
    ("iptables", "iptables-save -c"),
    ("ip6tables", "ip6tables-save -c"),
    ("sets", "ipset list"),
    ("links", "ip -d address"),
    ("connections", "conntrack -L"),
    ("journal", "journalctl --no-pager -n 400"),
];

impl Cluster {
    /// Writes everything there is to know into the directory. What cannot be asked says so in its file.
    pub fn tell_everything(&self, directory: &Path) -> Result<(), KindError> {
        std::fs::create_dir_all(directory)
            .map_err(failed(format!("make {}", directory.display())))?;
        let keep = |name: &str, answer: Result<String, KindError>| {
            let text = answer.unwrap_or_else(|error| error.to_string());
            let file = directory.join(name);
            std::fs::write(&file, text).map_err(failed(format!("write {}", file.display())))
        };
        let words = |line: &'static str| line.split(' ').collect::<Vec<&str>>();
        for (name, question) in OBJECTS {
            keep(name, self.kubectl(&words(question)))?;
        }
        for node in self.nodes() {
            for (name, question) in OF_A_NODE {
                keep(
                    &format!("{}.{name}", node.name),
                    self.on_node(&node.name, &words(question)),
                )?;
            }
        }
        let pods = self.get(&["pods", "--all-namespaces"])?;
        for pod in pods["items"].as_array().into_iter().flatten() {
            let metadata = &pod["metadata"];
            let (Some(namespace), Some(name)) =
                (metadata["namespace"].as_str(), metadata["name"].as_str())
            else {
                continue;
            };
            let logs = [
                "logs",
                "--namespace",
                namespace,
                name,
                "--all-containers",
                "--prefix",
            ];
            keep(&format!("{name}.log"), self.kubectl(&logs))?;
            let previous = [&logs[..], &["--previous"]].concat();
            if let Ok(text) = self.kubectl(&previous) {
                keep(&format!("{name}.previous.log"), Ok(text))?;
            }
            if metadata["labels"]["app.kubernetes.io/component"] == "agent" {
                let show = [
                    "exec",
                    "--namespace",
                    namespace,
                    name,
                    "--",
                    "sluice-agent",
                    "show",
                ];
                keep(&format!("{name}.show"), self.kubectl(&show))?;
            }
        }
        Ok(())
    }
}
