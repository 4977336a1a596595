//! The sockets of a server: one for everybody, and one for this machine's own programs if those cannot
//! come the same way.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::ServeError;
use crate::api::listening::Listening;

/// Whether others than this machine's programs can reach `address`.
pub fn is_beyond(address: &SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// Where a server listens: for everybody, and for its own workers and command line if those could not
/// come the same way. They do not know its certificate, so what they use is plain and of this machine
/// alone.
pub(super) struct Sockets {
    listener: TcpListener,
    pub address: SocketAddr,
    tls: Option<TlsAcceptor>,
    own: Option<(TcpListener, SocketAddr)>,
}

impl Sockets {
    pub async fn open(
        listen: Option<SocketAddr>,
        tls: Option<TlsAcceptor>,
    ) -> Result<Self, ServeError> {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        // A server for jobs of its own process has no visitors.
        let tls = tls.filter(|_| listen.is_some());
        let (listener, address) = bind(listen.unwrap_or(loopback)).await?;
        let own = match tls.is_some() || is_beyond(&address) {
            true => Some(bind(loopback).await?),
            false => None,
        };
        Ok(Self { listener, address, tls, own })
    }

    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub fn own_url(&self) -> String {
        let address = self.own.as_ref().map_or(self.address, |(_, address)| *address);
        format!("http://{address}")
    }

    pub fn bound(&self) -> Vec<SocketAddr> {
        let own = self.own.as_ref().map(|(_, address)| *address);
        [self.address].into_iter().chain(own).collect()
    }

    pub fn serve(self, doors: Router, connections: usize) -> Vec<Listening> {
        let own = self
            .own
            .map(|(listener, _)| Listening::start(listener, None, doors.clone(), connections));
        let open = Listening::start(self.listener, self.tls, doors, connections);
        own.into_iter().chain([open]).collect()
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
