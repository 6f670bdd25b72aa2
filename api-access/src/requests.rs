//! Requests to the API server, counted as they are answered.

use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tower::{Layer, Service};

use crate::request::Asked;

/// The code of a request that nobody answered.
const NO_ANSWER: &str = "none";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verb: &'static str,
    resource: String,
    code: String,
}

/// How many there were. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Requests(Family<Labels, Counter>);

impl Requests {
    /// Shows them as `requests` in a registry.
    pub fn register(&self, registry: &mut Registry) {
        let help =
            "Requests to the API server by verb, resource and code; a watch counts when it begins";
        registry.register("requests", help, self.0.clone());
    }

    fn count(&self, asked: Asked, code: String) {
        let Asked { verb, resource } = asked;
        let labels = Labels {
            verb,
            resource,
            code,
        };
        self.0.get_or_create(&labels).inc();
    }
}

impl<S> Layer<S> for Requests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            requests: self.clone(),
        }
    }
}

/// A service whose requests are counted.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    requests: Requests,
}

impl<S, B, A> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let asked = Asked::of(request.method(), request.uri());
        let requests = self.requests.clone();
        let answer = self.inner.call(request);
        let counted = answer.inspect(move |answer| {
            let code = answer.as_ref().ok().map(Response::status);
            let code = code.map_or(NO_ANSWER.to_owned(), |code| code.as_u16().to_string());
            requests.count(asked, code);
        });
        counted.boxed()
    }
}
