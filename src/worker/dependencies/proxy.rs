//! The proxy that fetches go through: tunnels to the hosts of an allow-list, and nothing else. It
//! listens on a socket that one sandbox sees, and notes who was asked for.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a host may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The port of a host that names none.
const HTTPS: u16 = 443;
/// Connections at once; who wants more waits.
const MOST_CONNECTIONS: usize = 256;
/// Hosts that are remembered, of either kind.
const MOST_HOSTS: usize = 64;
/// The longest name that a host can have.
const MAX_HOST_BYTES: usize = 253;

/// A host that may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registry {
    host: String,
    port: u16,
    /// Whoever names a port means a server of their own, wherever it stands.
    may_be_private: bool,
}

impl Registry {
    /// `host` or `host:port`, as configuration has them.
    pub(super) fn read(text: &str) -> Self {
        let named = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = named.unwrap_or((text, HTTPS));
        Self { host: host.to_ascii_lowercase(), port, may_be_private: named.is_some() }
    }
}

/// What went through a proxy.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic {
    pub(super) hosts: BTreeSet<String>,
    pub(super) refused_hosts: BTreeSet<String>,
    /// Both ways.
    pub(super) bytes: u64,
}

/// A proxy at work. Dropping it ends every tunnel.
#[derive(Debug)]
pub(super) struct Proxy {
    tunnels: Arc<Tunnels>,
    _open: DropGuard,
}

#[derive(Debug)]
struct Tunnels {
    registries: Vec<Registry>,
    /// Bytes that may go through.
    most_bytes: u64,
    bytes: AtomicU64,
    hosts: Mutex<(BTreeSet<String>, BTreeSet<String>)>,
    closed: CancellationToken,
}

impl Proxy {
    /// Listens on `name` in `dir`, which must not exist.
    pub(super) fn start(
        dir: &Path,
        name: &str,
        registries: Vec<Registry>,
        most_bytes: u64,
    ) -> io::Result<Self> {
        // The address of a socket has room for a hundred bytes, and directories may be deep.
        let dir = File::open(dir)?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))?;
        let closed = CancellationToken::new();
        let tunnels = Arc::new(Tunnels {
            registries,
            most_bytes,
            bytes: AtomicU64::new(0),
            hosts: Mutex::default(),
            closed: closed.clone(),
        });
        tokio::spawn(closed.clone().run_until_cancelled_owned(listen(listener, tunnels.clone())));
        Ok(Self { tunnels, _open: closed.drop_guard() })
    }

    /// What went through so far.
    pub(super) fn traffic(&self) -> Traffic {
        let (hosts, refused_hosts) =
            self.tunnels.hosts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Traffic { hosts, refused_hosts, bytes: self.tunnels.bytes.load(Ordering::Relaxed) }
    }
}

async fn listen(listener: UnixListener, tunnels: Arc<Tunnels>) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        let Ok((client, _)) = listener.accept().await else {
            // No descriptor is free, or whoever called is gone again.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let place = Arc::new(place);
        let tunnels = Arc::clone(&tunnels);
        let closed = tunnels.closed.clone();
        let served = async move {
            let service = service_fn(|request| {
                let (tunnels, place) = (Arc::clone(&tunnels), Arc::clone(&place));
                async move { Ok::<_, std::convert::Infallible>(tunnels.answer(request, place).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(client), service)
                .with_upgrades();
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the proxy broke off");
            }
        };
        tokio::spawn(closed.run_until_cancelled_owned(served));
    }
}

impl Tunnels {
    /// Opens a tunnel, which keeps its `place`, or says why there is none.
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Response<String> {
        if request.method() != Method::CONNECT {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "Only https goes through here.");
        }
        let Some(authority) = request.uri().authority() else {
            return refusal(StatusCode::BAD_REQUEST, "Name a host and a port.");
        };
        let host = authority.host().to_ascii_lowercase();
        let port = authority.port_u16().unwrap_or(HTTPS);
        let is_it = |registry: &&Registry| registry.host == host && registry.port == port;
        let Some(registry) = self.registries.iter().find(is_it) else {
            self.note(false, &host, port);
            return refusal(StatusCode::FORBIDDEN, "This host is not among `registries`.");
        };
        let server = match reach(registry).await {
            Ok(server) => server,
            Err(error) => {
                tracing::info!(host, %error, "a registry could not be reached");
                self.note(false, &host, port);
                return refusal(StatusCode::BAD_GATEWAY, &format!("{host}: {error}"));
            }
        };
        self.note(true, &host, port);
        let tunnels = Arc::clone(&self);
        let through = async move {
            match hyper::upgrade::on(request).await {
                Ok(client) => tunnels.carry(TokioIo::new(client), server).await,
                Err(error) => tracing::debug!(%error, "a tunnel was not taken"),
            }
            drop(place);
        };
        tokio::spawn(self.closed.clone().run_until_cancelled_owned(through));
        Response::new(String::new())
    }

    fn note(&self, is_allowed: bool, host: &str, port: u16) {
        let mut name: String =
            host.chars().filter(|c| !c.is_control()).take(MAX_HOST_BYTES).collect();
        if port != HTTPS {
            name.push_str(&format!(":{port}"));
        }
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = if is_allowed { &mut hosts.0 } else { &mut hosts.1 };
        if kept.len() < MOST_HOSTS {
            kept.insert(name);
        }
    }

    async fn carry(
        &self,
        client: impl AsyncRead + AsyncWrite + Unpin,
        server: impl AsyncRead + AsyncWrite + Unpin,
    ) {
        let (client_reads, client_writes) = tokio::io::split(client);
        let (server_reads, server_writes) = tokio::io::split(server);
        let ended = tokio::try_join!(
            self.pump(client_reads, server_writes),
            self.pump(server_reads, client_writes)
        );
        if let Err(error) = ended {
            tracing::debug!(%error, "a tunnel broke off");
        }
    }

    async fn pump(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 32 << 10];
        loop {
            let count = from.read(&mut buffer).await?;
            if count == 0 {
                return to.shutdown().await;
            }
            let so_far = self.bytes.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
            if so_far > self.most_bytes {
                return Err(io::Error::other("more was fetched than may be kept"));
            }
            to.write_all(&buffer[..count]).await?;
        }
    }
}

fn refusal(status: StatusCode, why: &str) -> Response<String> {
    let mut response = Response::new(format!("{why}\n"));
    *response.status_mut() = status;
    response
}

/// A connection to a registry. Its name is looked up once, and what was found is what is connected
/// to: an answer that changes in between changes nothing.
async fn reach(registry: &Registry) -> io::Result<TcpStream> {
    let found: Vec<SocketAddr> =
        tokio::net::lookup_host((registry.host.as_str(), registry.port)).await?.collect();
    let may_reach = |address: &&SocketAddr| registry.may_be_private || is_public(address.ip());
    let mut last = io::Error::other(
        "it is in a private network; name it with its port in `registries` if that is meant",
    );
    for address in found.iter().filter(may_reach) {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::from(io::ErrorKind::TimedOut),
        }
    }
    Err(last)
}

/// Whether an address is one of the internet's, by the special-purpose registries of RFC 6890.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b));
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Only 2000::/3 is given out; of it, 6to4 and Teredo carry other addresses.
    let [a, b, ..] = address.segments();
    match address.to_ipv4_mapped() {
        Some(mapped) => is_public_v4(mapped),
        None => a & 0xe000 == 0x2000 && a != 0x2002 && !(a == 0x2001 && (b == 0 || b == 0xdb8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        let public = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        let special = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "203.0.113.1",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "ff02::1",
        ];
        for address in special {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    /// What a proxy that allows `registries` answers to `asked`, and what came through.
    async fn asked(registries: &[&str], most_bytes: u64, asked: &str) -> (String, Traffic) {
        let dir = tempfile::tempdir().unwrap();
        let registries = registries.iter().map(|text| Registry::read(text)).collect();
        let proxy = Proxy::start(dir.path(), "proxy", registries, most_bytes).unwrap();
        let mut client = tokio::net::UnixStream::connect(dir.path().join("proxy")).await.unwrap();
        client.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let count = client.read(&mut answer).await.unwrap();
        answer.truncate(count);
        if answer.starts_with(b"HTTP/1.1 200") {
            client.write_all(b"ping").await.unwrap();
            client.shutdown().await.unwrap();
            client.read_to_end(&mut answer).await.unwrap();
        }
        (String::from_utf8(answer).unwrap(), proxy.traffic())
    }

    /// A server that answers `ping` with `pong`, and its address.
    async fn server() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut words = [0; 4];
                if client.read_exact(&mut words).await.is_ok() && &words == b"ping" {
                    let _ = client.write_all(b"pong").await;
                }
            }
        });
        address.to_string()
    }

    #[tokio::test]
    async fn a_tunnel_leads_to_hosts_of_the_list_and_to_no_other() {
        let server = server().await;
        let connect = format!("CONNECT {server} HTTP/1.1\r\nhost: {server}\r\n\r\n");
        let (answer, traffic) = asked(&[&server], 1 << 20, &connect).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("pong"), "{answer}");
        assert_eq!((traffic.hosts.len(), traffic.refused_hosts.len(), traffic.bytes), (1, 0, 8));

        for listed in [&["other.example"][..], &["127.0.0.1:1"], &[]] {
            let (answer, traffic) = asked(listed, 1 << 20, &connect).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
            assert_eq!((traffic.hosts.len(), traffic.bytes), (0, 0));
            assert_eq!(traffic.refused_hosts, BTreeSet::from([server.clone()]));
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_into_a_private_network_is_refused() {
        let connect = "CONNECT localhost:443 HTTP/1.1\r\nhost: localhost:443\r\n\r\n";
        let (answer, traffic) = asked(&["localhost"], 1 << 20, connect).await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("private"), "{answer}");
        assert_eq!(traffic.refused_hosts, BTreeSet::from(["localhost".to_owned()]));
    }

    #[tokio::test]
    async fn what_is_no_tunnel_is_refused() {
        let server = server().await;
        let get = format!("GET http://{server}/x HTTP/1.1\r\nhost: {server}\r\n\r\n");
        let (answer, traffic) = asked(&[&server], 1 << 20, &get).await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        assert!(traffic.hosts.is_empty());
    }

    #[tokio::test]
    async fn a_tunnel_ends_when_more_went_through_than_may() {
        let server = server().await;
        let connect = format!("CONNECT {server} HTTP/1.1\r\nhost: {server}\r\n\r\n");
        let (answer, _) = asked(&[&server], 6, &connect).await;
        assert!(!answer.contains("pong"), "{answer}");
    }

    #[test]
    fn who_names_a_port_means_it() {
        let registry = |host: &str, port, may_be_private| Registry {
            host: host.to_owned(),
            port,
            may_be_private,
        };
        assert_eq!(Registry::read("Registry.Example"), registry("registry.example", 443, false));
        assert_eq!(Registry::read("r.example:443"), registry("r.example", 443, true));
        assert_eq!(Registry::read("localhost:4873"), registry("localhost", 4873, true));
    }
}
