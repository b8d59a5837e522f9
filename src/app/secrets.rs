//! Tokens and keys in files of their own, and the key files of the
//! sections that only a restart changes.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::problem::Problem;
use crate::config::{Config, SecretSource};
use crate::pem;
use crate::protocol::seed::PrivateKey;
use crate::tls::{self, Tls};

/// The secret in a file, or the error.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let file = std::fs::read(path).map(Zeroizing::new);
    let file = file.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let secret = pem::secret(&file).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Zeroizing::new(secret.to_owned()))
}

/// A secret, wherever it is.
pub(super) fn from(source: &SecretSource) -> Result<Zeroizing<String>, String> {
    match source {
        SecretSource::Text(secret) => Ok(Zeroizing::new(secret.expose().to_owned())),
        SecretSource::File(file) => read(&file.file),
    }
}

/// The certificate of `edge.tls`, if there is one.
pub(super) fn client_tls(config: &Config) -> Result<Option<Arc<Tls>>, Problem> {
    let Some(tls) = &config.edge.tls else { return Ok(None) };
    let files = tls::Files { cert: tls.cert.clone(), key: tls.key.clone(), client_ca: None };
    let loaded = Tls::load(files, tls::Protocol::Http1);
    let loaded = loaded.map_err(|error| Problem::at(["edge", "tls"], error.to_string()))?;
    Ok(Some(Arc::new(loaded)))
}

/// The key that clients encrypt theirs with, if there is one.
pub(super) fn session_key(config: &Config) -> Result<Option<PrivateKey>, Problem> {
    let Some(path) = &config.session.private_key else { return Ok(None) };
    let problem = |message| Problem::at(["session", "private_key"], message);
    let file = std::fs::read(path).map(Zeroizing::new);
    let file = file.map_err(|error| problem(format!("cannot read {}: {error}", path.display())))?;
    let key = PrivateKey::from_pem(&*file);
    key.map(Some).map_err(|error| problem(format!("{}: {error}", path.display())))
}
