//! kube-proxy, as kubeadm puts it into clusters.

use super::cluster::Cluster;
use super::error::{KindError, failed};
use super::images;
use crate::control_plane::Programs;

/// What kind tells kube-proxy, for nodes that share a kernel with the machine; other timeouts of connections are the nodes' owner's.
const CONFIGURATION: &str = "---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
iptables: {minSyncPeriod: 1s}
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
";
/// On a node of kind: its version of Kubernetes, and the settings that its cluster was made by.
const IMAGE: &str =
    "kubeadm config images list --kubernetes-version \"$(cat /kind/version)\" | grep /kube-proxy:";
const ADD: &str = "cat /kind/kubeadm.conf - >/run/kube-proxy.conf && kubeadm init phase addon kube-proxy --config /run/kube-proxy.conf";

impl Cluster {
    /// Installs its `DaemonSet` and waits until its pods run. They may not have programmed anything yet.
    pub fn add_kube_proxy(&self) -> Result<(), KindError> {
        let Some(control_plane) = self.nodes().first() else {
            return Ok(());
        };
        let name = &control_plane.name;
        let image = self.on_node(name, &["sh", "-c", IMAGE])?;
        let image = image.trim();
        let filter = format!("name=={image}");
        let listed = self.on_node(
            name,
            &["ctr", "--namespace=k8s.io", "images", "list", "-q", &filter],
        )?;
        // A published node image has it.
        if listed.trim().is_empty() {
            self.build_kube_proxy(image)?;
            self.load(&[image])?;
        }
        let add = ["exec", "--interactive", name, "sh", "-c", ADD];
        self.daemon()
            .run_with_input("docker", &add, CONFIGURATION.as_bytes())?;
        self.await_kube_proxy()
    }

    /// Waits until its pods run on every node that they are meant for.
    pub fn await_kube_proxy(&self) -> Result<(), KindError> {
        let status = [
            "rollout",
            "status",
            "daemonset/kube-proxy",
            "--namespace=kube-system",
            "--timeout=120s",
        ];
        self.kubectl(&status).map(drop)
    }

    fn build_kube_proxy(&self, image: &str) -> Result<(), KindError> {
        let debian = images::debian(self.daemon())?;
        let program = Programs::kube_proxy()?;
        let context = tempfile::tempdir().map_err(failed("make a directory"))?;
        let inside = context.path().join("kube-proxy");
        std::fs::copy(&program, &inside).map_err(failed(format!("copy {}", program.display())))?;
        let text = format!("FROM {debian}\nCOPY kube-proxy /usr/local/bin/\n");
        images::write_containerfile(context.path(), &text)?;
        images::build(self.daemon(), image, context.path(), &[])
    }
}
