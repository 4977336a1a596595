//! Where dependencies come from.

use super::ConfigError;
use super::settings::Settings;

/// What repositories depend on.
#[derive(Debug, Clone)]
pub struct DependenciesConfig {
    /// `registries` / `CODY_REGISTRIES`, separated by commas: hosts that dependencies are fetched
    /// from; none means that nothing is fetched. One that names its port may be a private address.
    pub registries: Vec<String>,
    /// `dependencies_bytes` / `CODY_DEPENDENCIES_BYTES`: how much of them is kept for other jobs.
    pub bytes: u64,
}

impl DependenciesConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            registries: registries(settings)?,
            bytes: settings.number("dependencies_bytes", "CODY_DEPENDENCIES_BYTES", 10 << 30)?,
        })
    }
}

fn registries(settings: &mut Settings<'_>) -> Result<Vec<String>, ConfigError> {
    let expected = "a list of hosts, such as `index.example.org, files.example.org:8443`";
    settings.parsed("registries", "CODY_REGISTRIES", String::new(), expected, |text| {
        let hosts = text.split(',').map(str::trim).filter(|host| !host.is_empty());
        hosts.map(|host| is_host(host).then(|| host.to_owned())).collect()
    })
}

/// Whether a text is a host's name or IPv4 address, with or without a port.
pub(super) fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    name.contains(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_name)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}
