//! Who may reach the server, how often, and by which certificate it is known.

use std::path::PathBuf;

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
    /// `tls_cert` / `CODY_TLS_CERT`: a PEM file with the certificate and those that lead to it.
    pub tls_cert: Option<PathBuf>,
    /// `tls_key` / `CODY_TLS_KEY`: a PEM file with its private key.
    pub tls_key: Option<PathBuf>,
}

impl AccessConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            hosts: hosts(settings)?,
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

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}
