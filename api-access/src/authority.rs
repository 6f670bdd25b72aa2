//! Where it is said whose signature the API server's certificate must have.

use std::fmt;
use std::path::{Path, PathBuf};

use kube::config::{Cluster, Kubeconfig};

/// Where the kubelet mounts it for a pod.
const OF_A_POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// Where a certificate authority is written. In words it is what a person has to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Absent in a pod.
    kubeconfig: Option<PathBuf>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// In a file of its own, which is read again from time to time.
    File(PathBuf),
    /// In the kubeconfig itself.
    Data,
    /// Nowhere: whom the system trusts counts.
    System,
}

impl Authority {
    /// A pod's.
    pub(crate) fn of_pod() -> Self {
        Self {
            kubeconfig: None,
            kind: Kind::File(PathBuf::from(OF_A_POD)),
        }
    }

    /// A kubeconfig's, for its current context.
    pub(crate) fn of(path: &Path, kubeconfig: &Kubeconfig) -> Self {
        let kind = match current_cluster(kubeconfig) {
            Some(cluster) if cluster.certificate_authority_data.is_some() => Kind::Data,
            Some(Cluster {
                certificate_authority: Some(file),
                ..
            }) => Kind::File(PathBuf::from(file)),
            _ => Kind::System,
        };
        Self {
            kubeconfig: Some(path.to_owned()),
            kind,
        }
    }

    /// The file that has it, where it has one of its own.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(file) => Some(file),
            Kind::Data | Kind::System => None,
        }
    }

    /// What a change of it takes, beyond writing it.
    pub(crate) fn counts(&self) -> &'static str {
        match self.kind {
            Kind::File(_) => "the file is read again within a minute",
            Kind::Data | Kind::System => "it counts from the next start",
        }
    }
}

fn current_cluster(kubeconfig: &Kubeconfig) -> Option<&Cluster> {
    let current = kubeconfig.current_context.as_ref()?;
    let mut contexts = kubeconfig.contexts.iter();
    let context = contexts.find(|context| context.name == *current)?;
    let name = &context.context.as_ref()?.cluster;
    let mut clusters = kubeconfig.clusters.iter();
    clusters
        .find(|cluster| cluster.name == *name)?
        .cluster
        .as_ref()
}

impl fmt::Display for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kubeconfig, &self.kind) {
            (Some(kubeconfig), Kind::File(file)) => write!(
                formatter,
                "certificate-authority in {} (the file {})",
                kubeconfig.display(),
                file.display()
            ),
            (None, Kind::File(file)) => {
                write!(formatter, "the certificate authority in {}", file.display())
            }
            (Some(kubeconfig), Kind::Data) => write!(
                formatter,
                "certificate-authority-data in {}",
                kubeconfig.display()
            ),
            (Some(kubeconfig), Kind::System) => write!(
                formatter,
                "certificate-authority in {}, which is not there",
                kubeconfig.display()
            ),
            (None, Kind::Data | Kind::System) => formatter.write_str("the certificate authority"),
        }
    }
}
