//! Why there is no connection to NATS, and never will be.

use std::path::PathBuf;

use crate::pem::TextError;

/// Why there can be no connection, ever.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A server's address is invalid. It is shown without its login.
    #[error("`{0}` is not the address of a NATS server: {1}")]
    Address(String, std::io::Error),
    /// The credentials cannot be read.
    #[error("cannot read the credentials in {}: {}", .0.display(), .1)]
    Unreadable(PathBuf, std::io::Error),
    /// The credentials cannot be used.
    #[error("cannot use the credentials in {}: {}", .0.display(), .1)]
    Credentials(PathBuf, CredsError),
    /// The certificates or the key cannot be used.
    #[error("{0}")]
    Tls(String),
    /// The options make no sense together.
    #[error("cannot connect to NATS: {0}")]
    Connect(#[from] async_nats::ConnectError),
}

/// Why a `.creds` file cannot be used, in words that never come from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredsError {
    /// It is no text, or an empty one.
    #[error("{0}")]
    Text(TextError),
    /// Sections without lines of their own.
    #[error(
        "its line breaks are lost; the JWT, the key and the lines around them need lines of their \
         own: copy the file again, as it is"
    )]
    NoLineBreaks,
    /// There is no JWT in it.
    #[error(
        "it has no user JWT, which stands between `-----BEGIN NATS USER JWT-----` and \
         `------END NATS USER JWT------`; `nsc generate creds` writes such files"
    )]
    NoJwt,
    /// There is no key in it.
    #[error(
        "it has no user key, which stands between `-----BEGIN USER NKEY SEED-----` and \
         `------END USER NKEY SEED------`; `nsc generate creds` writes such files"
    )]
    NoKey,
    /// A key that is damaged, or not a user's seed.
    #[error("its key is damaged, or not the seed of a user, which begins with `SU`")]
    BadKey,
    /// A JWT that does not have three parts.
    #[error("its JWT is damaged: it must be three texts of base64url with dots between")]
    BadJwt,
}
