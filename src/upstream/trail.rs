//! The outcomes of one call's attempts, for traces.

use std::sync::Arc;
use std::time::SystemTime;

use http::uri::Authority;
use parking_lot::Mutex;
use tonic::Code;

use super::endpoint::Endpoint;

/// The attempts of one call, while they are made and after.
#[derive(Debug, Default)]
pub struct Trail {
    attempts: Mutex<Vec<Attempt>>,
}

/// One attempt of a call.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The address it was sent to, with the resolved one in parentheses for `dns:///`.
    pub endpoint: Arc<str>,
    /// When it failed, and with which status; `None`: it brought the response,
    /// or has no result.
    pub failure: Option<(SystemTime, Code)>,
    authority: Authority,
}

impl Trail {
    pub(super) fn sent(&self, endpoint: &Endpoint) {
        let authority = endpoint.target.authority.clone();
        let endpoint = Arc::clone(endpoint.label());
        self.attempts.lock().push(Attempt { endpoint, failure: None, authority });
    }

    /// The latest attempt has failed.
    pub(super) fn failed(&self, code: Code) {
        if let Some(latest) = self.attempts.lock().last_mut() {
            latest.failure = Some((SystemTime::now(), code));
        }
    }

    /// The attempts so far, in their order.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.attempts.lock().clone()
    }
}

impl Attempt {
    /// The host that the attempt was sent to, or the path of its Unix socket,
    /// and the port, where the address has one.
    pub fn server(&self) -> (&str, Option<u16>) {
        match self.endpoint.strip_prefix("unix://") {
            Some(path) => (path, None),
            None => (self.authority.host(), self.authority.port_u16()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(endpoint: &str, authority: &'static str) -> (String, Option<u16>) {
        let authority = Authority::from_static(authority);
        let attempt = Attempt { endpoint: endpoint.into(), failure: None, authority };
        let (host, port) = attempt.server();
        (host.to_owned(), port)
    }

    #[test]
    fn a_server_is_told_as_it_is_configured() {
        assert_eq!(server("http://msg:8080", "msg:8080"), ("msg".into(), Some(8080)));
        assert_eq!(server("https://msg", "msg"), ("msg".into(), None));
        assert_eq!(server("dns:///msg:1 (10.0.0.1:1)", "msg:1"), ("msg".into(), Some(1)));
        assert_eq!(server("unix:///run/a.sock", "localhost"), ("/run/a.sock".into(), None));
    }
}
