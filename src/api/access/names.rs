//! By which names the server may be called, and from pages of which sites. A page of another site could
//! otherwise make a browser speak for it: by a name of its own that leads to this machine, or by a
//! form or a socket that needs no leave.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN, UPGRADE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method};

/// The names that are known.
#[derive(Debug)]
pub struct Names {
    hosts: BTreeSet<String>,
    origins: BTreeSet<String>,
    bound: Vec<IpAddr>,
}

/// Why a request is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misnamed {
    #[error("The request names no host, or more than one. Send one `Host` header.")]
    NoHost,
    #[error(
        "The server is not called so. Use its address, or have its owner add this name to `hosts`."
    )]
    Host,
    #[error("Pages of this site may not use the server. Have its owner add the site to `origins`.")]
    Origin,
}

impl Names {
    /// The configured names, those of this machine, and the addresses in `bound`.
    pub fn new(hosts: &[String], origins: &[String], bound: &[SocketAddr]) -> Self {
        Self {
            hosts: hosts.iter().map(|host| host.to_lowercase()).collect(),
            origins: origins.iter().map(|origin| origin.to_lowercase()).collect(),
            bound: bound.iter().map(|address| address.ip().to_canonical()).collect(),
        }
    }

    /// Whether `request`, which came over TLS or not, may be looked at.
    pub fn check(&self, request: &Request, is_tls: bool) -> Result<(), Misnamed> {
        let host = host(request).ok_or(Misnamed::NoHost)?;
        if !self.knows(&host) {
            return Err(Misnamed::Host);
        }
        let headers = request.headers();
        let is_socket = headers.contains_key(UPGRADE);
        let changes_nothing = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
        );
        // Who reads only, from elsewhere, is not shown the answer by its browser.
        if changes_nothing && !is_socket {
            return Ok(());
        }
        let fits = match single(headers, ORIGIN) {
            Ok(None) => true,
            Ok(Some(origin)) => self.takes(origin, &host, is_tls),
            Err(Ambiguous) => false,
        };
        if fits { Ok(()) } else { Err(Misnamed::Origin) }
    }

    /// Whether the server is called so. Ports do not matter: they may have been mapped.
    fn knows(&self, authority: &Authority) -> bool {
        let host = authority.host().to_lowercase();
        let name = host.strip_suffix('.').unwrap_or(&host);
        let plain = name.trim_start_matches('[').trim_end_matches(']');
        match plain.parse::<IpAddr>() {
            // An address cannot be made to lead elsewhere, as a name can.
            Ok(ip) => {
                let ip = ip.to_canonical();
                let fits = |bound: &IpAddr| bound.is_unspecified() || *bound == ip;
                ip.is_loopback() || self.bound.iter().any(fits)
            }
            Err(_) => name == "localhost" || self.hosts.contains(name),
        }
    }

    /// Whether pages of `origin` may speak to the server that they call `host`.
    fn takes(&self, origin: &str, host: &Authority, is_tls: bool) -> bool {
        let origin = origin.to_lowercase();
        if self.origins.contains(&origin) {
            return true;
        }
        let Some((scheme, theirs)) = origin.split_once("://") else { return false };
        let default_port = match scheme {
            "https" => 443,
            // What came over plain HTTP may have been TLS before a proxy; not the other way round.
            "http" if !is_tls => 80,
            _ => return false,
        };
        let Ok(theirs) = theirs.parse::<Authority>() else { return false };
        let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
        theirs.host().eq_ignore_ascii_case(host.host()) && port(&theirs) == port(host)
    }
}

/// More than one header where one decides, or one that is no text.
struct Ambiguous;

fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Ambiguous> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Ambiguous),
        (Some(_), Some(_)) => Err(Ambiguous),
    }
}

/// What `request` calls the server; nothing if that is not clear.
fn host(request: &Request) -> Option<Authority> {
    let said = single(request.headers(), HOST).ok()?;
    let said = said.map(str::parse::<Authority>).transpose().ok()?;
    let asked = request.uri().authority().cloned();
    let host = match (said, asked) {
        (Some(said), Some(asked)) => (said == asked).then_some(said)?,
        (said, asked) => said.or(asked)?,
    };
    (!host.as_str().contains('@')).then_some(host)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn names(bound: &str) -> Names {
        let strings = |text: &str| vec![text.to_owned()];
        Names::new(
            &strings("Cody.Example"),
            &strings("https://dash.example"),
            &[bound.parse().unwrap()],
        )
    }

    fn request(method: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method(method).uri("/graphql");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn the_server_has_a_few_names_and_no_other() {
        let known = [
            "localhost",
            "LOCALHOST:9",
            "localhost.:8080",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:8080",
            "cody.example",
            "CODY.example.:443",
            "192.0.2.7:8080",
            "[::ffff:127.0.0.1]",
        ];
        for host in known {
            assert_eq!(
                names("192.0.2.7:1").check(&request("GET", &[("host", host)]), false),
                Ok(()),
                "{host}"
            );
        }
        let foreign = [
            "evil.example",
            "cody.example.evil",
            "localhost.evil.example",
            "192.0.2.8",
            "0.0.0.0",
            "[2001:db8::1]",
            "127.0.0.1.nip.io",
            "xlocalhost",
        ];
        for host in foreign {
            let answer = names("192.0.2.7:1").check(&request("GET", &[("host", host)]), false);
            assert_eq!(answer, Err(Misnamed::Host), "{host}");
        }
        for headers in [
            &[][..],
            &[("host", "localhost"), ("host", "localhost")],
            &[("host", "a@localhost")],
            &[("host", "a b")],
        ] {
            let answer = names("192.0.2.7:1").check(&request("GET", headers), false);
            assert_eq!(answer, Err(Misnamed::NoHost), "{headers:?}");
        }
    }

    #[test]
    fn who_listens_everywhere_may_be_called_by_any_address() {
        for (host, expected) in [("10.1.2.3:8080", Ok(())), ("evil.example", Err(Misnamed::Host))] {
            let answer = names("0.0.0.0:8080").check(&request("GET", &[("host", host)]), false);
            assert_eq!(answer, expected, "{host}");
        }
    }

    #[test]
    fn pages_of_other_sites_change_nothing_and_open_no_socket() {
        let host = ("host", "localhost:8080");
        let cases = [
            ("http://localhost:8080", false, true),
            ("https://localhost:8080", false, true),
            ("https://localhost:8080", true, true),
            ("http://localhost:8080", true, false),
            ("https://dash.example", false, true),
            ("http://dash.example", false, false),
            ("http://localhost:3000", false, false),
            ("http://localhost", false, false),
            ("http://127.0.0.1:8080", false, false),
            ("http://localhost:8080.evil.example", false, false),
            ("https://evil.example", true, false),
            ("null", false, false),
            ("file://", false, false),
            ("", false, false),
        ];
        for (origin, is_tls, expected) in cases {
            let headers = [host, ("origin", origin)];
            let socket = [host, ("origin", origin), ("upgrade", "websocket")];
            for request in
                [request("POST", &headers), request("DELETE", &headers), request("GET", &socket)]
            {
                let answer = names("127.0.0.1:8080").check(&request, is_tls);
                assert_eq!(answer.is_ok(), expected, "{origin} {is_tls} {}", request.method());
            }
            let reading = names("127.0.0.1:8080").check(&request("GET", &headers), is_tls);
            assert_eq!(reading, Ok(()), "{origin}");
        }
        let twice = [host, ("origin", "http://localhost:8080"), ("origin", "https://evil.example")];
        let answer = names("127.0.0.1:8080").check(&request("POST", &twice), false);
        assert_eq!(answer, Err(Misnamed::Origin));
    }

    #[test]
    fn a_port_that_goes_without_saying_may_be_said() {
        let headers = [("host", "cody.example:443"), ("origin", "https://cody.example")];
        assert_eq!(names("127.0.0.1:1").check(&request("POST", &headers), true), Ok(()));
    }
}
