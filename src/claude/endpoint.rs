//! Where requests go: the base URL that a person configures, checked and completed. Opens nothing.

use url::Url;

use super::client::BadClient;

/// The URL of the Messages API below `base`. A base that could carry a secret, and would then show
/// it in messages, is refused.
pub fn messages_url(base: &Url) -> Result<Url, BadClient> {
    let plain = base.username().is_empty()
        && base.password().is_none()
        && base.query().is_none()
        && base.fragment().is_none();
    if !plain || !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
        return Err(BadClient::BaseUrl);
    }
    let text = format!("{}/v1/messages", base.as_str().trim_end_matches('/'));
    Url::parse(&text).map_err(|_| BadClient::BaseUrl)
}

/// Whether `url` stays on this machine, where no proxy belongs in between.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_may_have_a_path_and_nothing_that_hides_a_secret() {
        let url = |base: &str| messages_url(&base.parse().unwrap()).map(String::from).ok();
        assert_eq!(
            url("https://gate.example.com/anthropic/"),
            Some("https://gate.example.com/anthropic/v1/messages".into())
        );
        assert_eq!(url("http://127.0.0.1:4010"), Some("http://127.0.0.1:4010/v1/messages".into()));
        assert_eq!(url("https://user:pass@example.com"), None);
        assert_eq!(url("https://example.com/?key=1"), None);
        assert_eq!(url("ftp://example.com"), None);
    }
}
