//! The API server, and its answers in sentences.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::{Api, ListParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use sluice_api_access::{Authority, KubectlAccess, Requests, distrust, with_causes};

use crate::error::PluginError;

/// Objects of one page.
const PAGE: u32 = 500;
/// Somebody waits for the answer.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(60);

/// Someone to ask.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    authority: Authority,
    server: String,
}

impl Cluster {
    /// Whether it answers is not asked yet.
    pub(crate) async fn open(access: &KubectlAccess) -> Result<Self, PluginError> {
        let mut opened = access.open().await?;
        opened.config.connect_timeout = Some(CONNECT);
        opened.config.read_timeout = Some(ANSWER);
        opened.config.default_retry = false;
        Ok(Self {
            client: opened.client(&Requests::default())?,
            server: opened.config.cluster_url.to_string(),
            authority: opened.authority,
        })
    }

    /// Address of the API server, as the kubeconfig has it.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// All objects. `what` names them as roles do.
    pub(crate) async fn list<K>(
        &self,
        api: &Api<K>,
        what: &str,
        params: ListParams,
    ) -> Result<Vec<K>, PluginError>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let listed = pages(api, params).await;
        listed.map_err(|error| self.error(&error, "list", what))
    }

    /// All objects of a kind of Sluice's, which may not be installed.
    pub(crate) async fn list_own<K>(&self, what: &str) -> Result<Vec<K>, PluginError>
    where
        K: Own + Clone + DeserializeOwned + Debug,
    {
        let api = Api::all(self.client.clone());
        match pages(&api, ListParams::default()).await {
            Err(error) if is_missing(&error) => Err(PluginError::NotInstalled { kind: K::KIND }),
            listed => listed.map_err(|error| self.error(&error, "list", what)),
        }
    }

    /// One object, if it is there.
    pub(crate) async fn get<K>(
        &self,
        api: &Api<K>,
        what: &str,
        name: &str,
    ) -> Result<Option<K>, PluginError>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let got = api.get_opt(name).await;
        got.map_err(|error| self.error(&error, "get", what))
    }

    /// An error in one sentence, with what to change.
    pub(crate) fn error(&self, error: &kube::Error, verb: &str, what: &str) -> PluginError {
        if let Some(words) = distrust(error, &self.authority) {
            return PluginError::Api(words);
        }
        let server = &self.server;
        PluginError::Api(match error {
            kube::Error::Api(status) => match status.code {
                401 => format!(
                    "the API server at {server} does not accept these credentials: renew them, or check --kubeconfig and --context"
                ),
                403 => format!(
                    "you may not {verb} {what} ({}): ask for a role that allows it, or use another context",
                    status.message
                ),
                code => format!(
                    "the API server at {server} cannot {verb} {what} ({code}: {}): look at its log if that is not what you asked for",
                    status.message
                ),
            },
            other => format!(
                "the API server at {server} cannot be asked ({}): check that it runs, and that --kubeconfig and --context mean this cluster",
                with_causes(other)
            ),
        })
    }
}

/// Page by page, so that no answer is very large.
async fn pages<K>(api: &Api<K>, params: ListParams) -> kube::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut params = params.limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = api.list(&params).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// Nothing is known under that address.
fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Sluice's own kinds.
pub(crate) trait Own:
    Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
{
    /// Their name.
    const KIND: &'static str;
}

impl Own for sluice_crds::v1alpha1::ServiceProxyPolicy {
    const KIND: &'static str = sluice_crds::v1alpha1::SERVICE_PROXY_POLICY;
}

impl Own for sluice_crds::v1alpha1::NodeServiceProxy {
    const KIND: &'static str = sluice_crds::v1alpha1::NODE_SERVICE_PROXY;
}
