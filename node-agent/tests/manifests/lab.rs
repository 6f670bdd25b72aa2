//! A directory to write manifests into.

use std::fs;
use std::net::IpAddr;

use sluice_agent::source::{ManifestSource, Update};
use sluice_crds::v1alpha1::ServiceProxyPolicySpec;
use tempfile::TempDir;

/// A manifest directory and the source that reads it.
pub(crate) struct Lab {
    pub(crate) directory: TempDir,
    pub(crate) source: ManifestSource,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = ManifestSource::new(directory.path(), "n1", ServiceProxyPolicySpec::default());
        Self { directory, source }
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        // As careful writers do: a reader never sees half a file.
        let temporary = self.directory.path().join(".new");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, self.directory.path().join(file)).unwrap();
    }

    pub(crate) fn remove(&self, file: &str) {
        fs::remove_file(self.directory.path().join(file)).unwrap();
    }

    pub(crate) fn load(&mut self) -> Update {
        self.source.load().unwrap()
    }
}

/// What an update says, in one line for each thing, without refusals: `+service ns/a 10.0.0.1`, `-slice ns/b`.
pub(crate) fn changes(update: &Update) -> Vec<String> {
    let services = update.services.iter().map(|(name, service)| match service {
        Some(service) => {
            let words = service.cluster_ips.iter().map(ToString::to_string);
            [format!("+service {name}")]
                .into_iter()
                .chain(words)
                .collect::<Vec<_>>()
                .join(" ")
        }
        None => format!("-service {name}"),
    });
    let slices = update.slices.iter().map(|(name, slice)| match slice {
        Some(slice) => format!("+slice {name} of {}", slice.service),
        None => format!("-slice {name}"),
    });
    services.chain(slices).collect()
}

pub(crate) fn refusals(update: &Update) -> Vec<String> {
    update.refusals.iter().map(ToString::to_string).collect()
}

pub(crate) fn service(name: &str, ip: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: ns}}\nspec:\n  clusterIP: {ip}\n  ports:\n  - port: 80\n"
    )
}

pub(crate) fn slice(name: &str, service: &str) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, namespace: ns, labels: {{kubernetes.io/service-name: {service}}}}}\naddressType: IPv4\nendpoints: []\n"
    )
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
