//! Readable texts for the errors of TLS about certificates.

use std::fmt::Display;

/// The library's text for a server with the certificate of an authority. There
/// is no variant of its own that could be matched on.
const AUTHORITY: &str = "Other(OtherError(CaUsedAsEndEntity))";

/// The same for a first byte that is not that of a TLS record.
const PLAIN: &str = "received corrupt message of type InvalidContentType";

/// The text of a failed handshake, with words instead of the library's internal
/// names.
#[must_use]
pub fn handshake(error: &dyn Display) -> String {
    error
        .to_string()
        .replace(
            AUTHORITY,
            "it is that of an authority (CA:TRUE), and a server must show one of its own; have the \
             authority sign one for the server, or make a self-signed one with \
             `-addext basicConstraints=critical,CA:FALSE`",
        )
        .replace(PLAIN, "the server does not speak TLS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_that_stands_for_a_server_is_explained() {
        let said = handshake(&format!("invalid peer certificate: {AUTHORITY}"));
        assert!(said.starts_with("invalid peer certificate: it is that of an authority"), "{said}");
        assert_eq!(handshake(&"connection reset"), "connection reset");
    }

    #[test]
    fn a_server_without_tls_is_explained() {
        use tokio_rustls::rustls::{Error, InvalidMessage};
        let error = Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(handshake(&error), "the server does not speak TLS");
    }
}
