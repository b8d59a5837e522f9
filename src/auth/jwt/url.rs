//! URLs that keys may be fetched from.
//!
//! An attacker that can change a fetched key set can log in as any user. So it
//! comes over HTTPS, or it does not leave the machine.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

/// A URL that keys, or the document that names their URL, may be fetched from.
/// Shown without its query, which may carry an access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysUrl(Url);

/// Why keys are not fetched from a URL, to be put behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    /// It cannot be read.
    #[error("is not a URL")]
    Malformed,
    /// Neither `https` nor `http`.
    #[error("is not an https URL")]
    Scheme,
    /// Plain HTTP to another machine.
    #[error(
        "is not https, so anyone on the network path could replace the keys; plain http is for 127.0.0.0/8, ::1 and localhost"
    )]
    Plain,
    /// With a user or a password in it.
    #[error("has a user or a password in it, which is not supported")]
    Credentials,
}

impl KeysUrl {
    /// Whether a text is meant as a URL rather than as the name of a file.
    pub fn is_meant_by(text: &str) -> bool {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
        text.contains("://") || ["http", "https"].iter().any(|it| scheme.eq_ignore_ascii_case(it))
    }

    /// Reads a URL: `https`, or `http` on the loopback interface.
    pub fn parse(text: &str) -> Result<Self, UrlProblem> {
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(UrlProblem::Malformed);
        }
        Self::check(Url::parse(text).map_err(|_| UrlProblem::Malformed)?)
    }

    /// The target of a redirect from this URL. It does not lead from HTTPS to HTTP.
    pub(super) fn redirected(&self, location: &str) -> Result<Self, UrlProblem> {
        let next = Self::check(self.0.join(location).map_err(|_| UrlProblem::Malformed)?)?;
        if self.is_https() && !next.is_https() { Err(UrlProblem::Plain) } else { Ok(next) }
    }

    fn check(mut url: Url) -> Result<Self, UrlProblem> {
        url.set_fragment(None);
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(UrlProblem::Plain),
            _ => return Err(UrlProblem::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlProblem::Credentials);
        }
        Ok(Self(url))
    }

    /// Where the document of OpenID Connect discovery of an issuer is
    /// (OpenID Connect Discovery 1.0, section 4.1).
    pub(super) fn discovery(issuer: &str) -> Result<Self, UrlProblem> {
        Self::parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host, an IPv6 address without its brackets.
    pub(super) fn host(&self) -> &str {
        let host = self.0.host_str().unwrap_or_default();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    /// The value of the `Host` header: without the scheme's default port.
    pub(super) fn authority(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The target in the request line.
    pub(super) fn path_and_query(&self) -> String {
        let query = self.0.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{query}", self.0.path())
    }
}

impl fmt::Display for KeysUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.0.scheme(), self.authority(), self.0.path())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for good in [
            "https://id.example.com/jwks.json",
            "HTTPS://id.example.com",
            "https://10.0.0.1:8443/a?b=c",
            "http://127.0.0.1:8080/jwks",
            "http://127.9.9.9/",
            "http://[::1]:80/jwks",
            "http://[::ffff:127.0.0.1]/jwks",
            "http://localhost:1/x",
        ] {
            assert!(KeysUrl::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://id.example.com/jwks.json", UrlProblem::Plain),
            ("http://10.0.0.1/", UrlProblem::Plain),
            ("http://localhost.example.com/", UrlProblem::Plain),
            ("http://127.0.0.1.example.com/", UrlProblem::Plain),
            ("http://[::2]/", UrlProblem::Plain),
            ("http://0.0.0.0/", UrlProblem::Plain),
            ("ftp://127.0.0.1/", UrlProblem::Scheme),
            ("file:///etc/jwks.json", UrlProblem::Scheme),
            ("https://u:p@id.example.com/", UrlProblem::Credentials),
            ("http://127.0.0.1@id.example.com/", UrlProblem::Plain),
            ("https://", UrlProblem::Malformed),
            ("https://a b/", UrlProblem::Malformed),
            (" https://a/", UrlProblem::Malformed),
            ("jwks.json", UrlProblem::Malformed),
        ] {
            assert_eq!(KeysUrl::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn a_redirect_does_not_leave_https() {
        let url = KeysUrl::parse("https://id.example.com/a/jwks").unwrap();
        let to = |location| url.redirected(location).map(|url| url.to_string());
        assert_eq!(to("keys").unwrap(), "https://id.example.com/a/keys");
        assert_eq!(to("//cdn.example.com/k").unwrap(), "https://cdn.example.com/k");
        assert_eq!(to("http://127.0.0.1/"), Err(UrlProblem::Plain));
        assert_eq!(to("http://id.example.com/a/jwks"), Err(UrlProblem::Plain));
        assert_eq!(to("file:///etc/passwd"), Err(UrlProblem::Scheme));
        let local = KeysUrl::parse("http://127.0.0.1/jwks").unwrap();
        assert!(local.redirected("https://id.example.com/").is_ok());
        assert!(local.redirected("http://id.example.com/").is_err());
    }

    #[test]
    fn a_file_is_told_from_a_url() {
        for url in ["https://a/b", "HTTP://a", "file:///a", "https:/a", "ftp://a"] {
            assert!(KeysUrl::is_meant_by(url), "{url}");
        }
        for file in ["jwks.json", "/etc/a:b", "./https", "c:keys", "a/http:x"] {
            assert!(!KeysUrl::is_meant_by(file), "{file}");
        }
    }

    #[test]
    fn a_query_is_sent_but_not_shown() {
        let url = KeysUrl::parse("https://id.example.com:8443/jwks?key=s3cret#x").unwrap();
        assert_eq!(url.to_string(), "https://id.example.com:8443/jwks");
        assert_eq!(url.path_and_query(), "/jwks?key=s3cret");
        assert_eq!(url.authority(), "id.example.com:8443");
        assert_eq!(KeysUrl::parse("https://[::2]/").unwrap().host(), "::2");
    }

    #[test]
    fn discovery_is_below_the_issuer() {
        for issuer in ["https://id.example.com/realms/im", "https://id.example.com/realms/im/"] {
            let url = KeysUrl::discovery(issuer).unwrap().to_string();
            assert_eq!(url, "https://id.example.com/realms/im/.well-known/openid-configuration");
        }
        assert!(KeysUrl::discovery("im").is_err());
    }
}
