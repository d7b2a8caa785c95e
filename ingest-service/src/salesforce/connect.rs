//! The connection below gRPC: as the library's own, but for names, which are resolved by the rules of every connection.

use std::{
    error::Error,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
    vec::IntoIter,
};

use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use tonic::codegen::Service;
use usher_runtime::address::Resolver;

/// How long a connection may take, over all addresses of the name together.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Resolves for the connector.
#[derive(Debug, Clone)]
pub(super) struct Names(Resolver);

impl Service<Name> for Names {
    type Response = IntoIter<SocketAddr>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (resolver, host) = (self.0.clone(), name.as_str().to_owned());
        Box::pin(async move { Ok(resolver.addresses(host).await?.into_iter()) })
    }
}

/// TLS comes on top of it, where the endpoint says so.
pub(super) fn connector(resolver: Resolver) -> HttpConnector<Names> {
    let mut connector = HttpConnector::new_with_resolver(Names(resolver));
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector
}
