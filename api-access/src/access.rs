//! Where an API server is, and who asks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::identity::Renewed;
use crate::{AccessError, Authority, Requests, with_causes};

/// A server that does not take a connection for so long is tried again.
const CONNECT: Duration = Duration::from_secs(10);
/// Watches are told something every minute: one whose server is there and silent for longer is dead, and begun anew.
const SILENCE: Duration = Duration::from_secs(150);

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The kubeconfig to go by; absent: the service account of the pod that this is.
    pub kubeconfig: Option<PathBuf>,
    /// Address of the server, in place of the one that these name. The one that a pod is told is a service, which an agent may have to program first.
    pub server: Option<String>,
}

/// What was read, of which clients are made.
#[derive(Debug, Clone)]
pub struct Opened {
    /// May be changed before a client is made.
    pub config: Config,
    /// For the words of errors.
    pub authority: Authority,
}

impl Access {
    /// Reads what it names. Whether the server is there is not asked.
    pub async fn open(&self) -> Result<Opened, AccessError> {
        let mut opened = match &self.kubeconfig {
            Some(path) => by_kubeconfig(path).await?,
            None => Opened {
                config: Config::incluster().map_err(AccessError::NotInCluster)?,
                authority: Authority::of_pod(),
            },
        };
        let config = &mut opened.config;
        if let Some(address) = &self.server {
            let refused = |reason: String| AccessError::Address {
                address: address.clone(),
                reason,
            };
            if !address.starts_with("https://") && !address.starts_with("http://") {
                return Err(refused("it names no scheme".to_owned()));
            }
            let parsed = address.parse();
            config.cluster_url = parsed.map_err(|error| refused(format!("{error}")))?;
        }
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        Ok(opened)
    }
}

async fn by_kubeconfig(path: &Path) -> Result<Opened, AccessError> {
    opened(path, read(path)?).await
}

/// What is in a kubeconfig.
pub(crate) fn read(path: &Path) -> Result<Kubeconfig, AccessError> {
    std::fs::read(path).map_err(|source| AccessError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    Kubeconfig::read_from(path).map_err(|error| refused(path, &error))
}

/// By the current context of a kubeconfig that was read from this path.
pub(crate) async fn opened(path: &Path, read: Kubeconfig) -> Result<Opened, AccessError> {
    let authority = Authority::of(path, &read);
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(read, &options).await;
    let mut config = config.map_err(|error| refused(path, &error))?;
    // As in a pod, a file that is replaced counts without a restart.
    config.root_cert_file = authority.file().map(Path::to_owned);
    Ok(Opened { config, authority })
}

pub(crate) fn refused(path: &Path, error: &dyn std::error::Error) -> AccessError {
    AccessError::Kubeconfig {
        path: path.to_owned(),
        // What comes after may be lines of the file, tokens among them.
        reason: with_causes(error).lines().take(1).collect(),
    }
}

impl Opened {
    /// A client whose requests are counted. Wants to be called in a runtime.
    pub fn client(&self, requests: &Requests) -> Result<Client, AccessError> {
        let renewed = Renewed::new(self.config.clone());
        let renewed = renewed.map_err(|error| AccessError::Credentials {
            authority: self.authority.clone(),
            reason: with_causes(&error),
        })?;
        let builder = ClientBuilder::new(renewed, &self.config.default_namespace);
        Ok(builder.with_layer(requests).build())
    }
}

#[cfg(test)]
mod tests;
