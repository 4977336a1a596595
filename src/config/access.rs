//! Who may reach the server, how often, and by which certificate it is known.

use std::path::PathBuf;

use url::{Host, Url};

use super::ConfigError;
use super::dependencies::is_host;
use super::settings::Settings;

/// How the server's doors are kept.
#[derive(Debug, Clone)]
pub struct AccessConfig {
    /// `hosts` / `CODY_HOSTS`, separated by commas: names by which the server is called, beside its
    /// addresses and those of this machine. A request for another is refused.
    pub hosts: Vec<String>,
    /// `origins` / `CODY_ORIGINS`, separated by commas: other sites, such as
    /// `https://dashboard.example`, whose pages may use the server.
    pub origins: Vec<String>,
    /// `requests_a_minute` / `CODY_REQUESTS_A_MINUTE` of each token, and of each address without
    /// one; 0 means any number.
    pub requests_a_minute: u32,
    /// `refusals_a_minute` / `CODY_REFUSALS_A_MINUTE`: how often an address may come with a bad
    /// credential, or none where one is needed; 0 means any number.
    pub refusals_a_minute: u32,
    /// `connections` / `CODY_CONNECTIONS`: open at once; further ones wait.
    pub connections: usize,
    /// `public_url` / `CODY_PUBLIC_URL`: where callers reach the server, such as
    /// `https://cody.example.org`, without a path; its name is one of `hosts`.
    pub public_url: Option<String>,
    /// `oauth_issuer` / `CODY_OAUTH_ISSUER`: the authorization server whose access tokens open the door
    /// for AI assistants, if they were made for its address below `public_url`.
    pub oauth_issuer: Option<String>,
    /// `tls_cert` / `CODY_TLS_CERT`: a PEM file with the certificate and those that lead to it.
    pub tls_cert: Option<PathBuf>,
    /// `tls_key` / `CODY_TLS_KEY`: a PEM file with its private key.
    pub tls_key: Option<PathBuf>,
}

impl AccessConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        let (mut hosts, public) = (hosts(settings)?, public_url(settings)?);
        let oauth_issuer = oauth_issuer(settings, public.as_ref())?;
        hosts.extend(public.iter().filter_map(|url| url.host_str().map(str::to_owned)));
        Ok(Self {
            hosts,
            oauth_issuer,
            public_url: public.map(|url| url.as_str().trim_end_matches('/').to_owned()),
            origins: origins(settings)?,
            requests_a_minute: settings.number(
                "requests_a_minute",
                "CODY_REQUESTS_A_MINUTE",
                600,
            )?,
            refusals_a_minute: settings.number(
                "refusals_a_minute",
                "CODY_REFUSALS_A_MINUTE",
                30,
            )?,
            connections: settings.parsed(
                "connections",
                "CODY_CONNECTIONS",
                "2048".to_owned(),
                "a number from 1 to 100000",
                |text| text.parse().ok().filter(|count| (1..=100_000).contains(count)),
            )?,
            tls_cert: settings.optional("tls_cert", "CODY_TLS_CERT").map(PathBuf::from),
            tls_key: settings.optional("tls_key", "CODY_TLS_KEY").map(PathBuf::from),
        })
    }
}

fn hosts(settings: &mut Settings<'_>) -> Result<Vec<String>, ConfigError> {
    let expected = "a list of names without ports, such as `cody.example.org`";
    settings.parsed("hosts", "CODY_HOSTS", String::new(), expected, |text| {
        let is_name = |host: &&str| is_host(host) && !host.contains(':');
        listed(text).map(|host| Some(host).filter(is_name).map(str::to_lowercase)).collect()
    })
}

fn origins(settings: &mut Settings<'_>) -> Result<Vec<String>, ConfigError> {
    let expected = "a list of sites, such as `https://dashboard.example, http://localhost:3000`";
    settings.parsed("origins", "CODY_ORIGINS", String::new(), expected, |text| {
        let is_origin = |origin: &&str| {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            host.is_some_and(is_host)
        };
        listed(text).map(|origin| Some(origin).filter(is_origin).map(str::to_lowercase)).collect()
    })
}

/// Whether what is asked for at `url` can be read and changed by nobody in between.
pub fn is_private(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        },
        _ => false,
    }
}

fn public_url(settings: &mut Settings<'_>) -> Result<Option<Url>, ConfigError> {
    let expected = "an address such as `https://cody.example.org`, without a path, or none";
    settings.parsed("public_url", "CODY_PUBLIC_URL", "none".to_owned(), expected, |text| match text
    {
        "none" => Some(None),
        text => {
            let url: Url = text.parse().ok().filter(is_private)?;
            let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            (is_bare && url.username().is_empty() && url.password().is_none()).then_some(Some(url))
        }
    })
}

fn oauth_issuer(
    settings: &mut Settings<'_>,
    public: Option<&Url>,
) -> Result<Option<String>, ConfigError> {
    let expected =
        "the address of an authorization server, such as `https://login.example.org`, or none";
    let default = "none".to_owned();
    let issuer = settings.parsed(
        "oauth_issuer",
        "CODY_OAUTH_ISSUER",
        default,
        expected,
        |text| match text {
            "none" => Some(None),
            text => {
                let url: Url = text.parse().ok().filter(is_private)?;
                let is_plain = url.query().is_none() && url.fragment().is_none();
                is_plain.then(|| Some(text.to_owned()))
            }
        },
    )?;
    match (&issuer, public) {
        (Some(_), None) => Err(ConfigError::BadValue {
            key: "public_url",
            value: "none".to_owned(),
            source_name: "default",
            expected: "the address that `oauth_issuer` needs, because its tokens are made for one",
        }),
        _ => Ok(issuer),
    }
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}
