//! `bridgehead keygen`: the key pair of the session protocol's encryption.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::failure::Failure;
use super::files;
use super::output::print;
use crate::protocol::seed::rsa::generate_key;

/// Make the key pair that lets clients encrypt their sessions.
#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// Where to write the private key.
    #[arg(long, value_name = "FILE", default_value = "session.pem")]
    out: PathBuf,
    /// Where to write the public key [default: like --out, but .pub.pem].
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
    /// The key's length in bits. More than 2048 cost the gateway much more time
    /// for each session that is opened.
    #[arg(
        long,
        default_value = "2048",
        value_parser = PossibleValuesParser::new(["2048", "3072", "4096", "8192"])
            .try_map(|bits| bits.parse::<usize>())
    )]
    bits: usize,
    /// Overwrite files that exist. Clients that have the old public key can
    /// then not encrypt any more.
    #[arg(long)]
    force: bool,
}

impl Keygen {
    pub(super) fn run(self) -> Result<(), Failure> {
        let public = self.write_pair()?;
        let (private, public) = (self.out.display(), public.display());
        print(&format!(
            "{private}: the private key, for the gateway alone. In routes.yaml:\n\
             \n    session:\n      private_key: {private}\n\n\
             {public}: the public key, for clients to be built with. To try it:\n\
             \n    bridgehead call --encrypt {public} …"
        ))
    }

    /// Makes the two files; returns the public one's path.
    fn write_pair(&self) -> Result<PathBuf, Failure> {
        let public = self.public.clone().unwrap_or_else(|| self.out.with_extension("pub.pem"));
        if public == self.out {
            return Err(Failure::usage("--out and --public name the same file"));
        }
        if let Some(existing) = [&self.out, &public].into_iter().find(|path| path.exists())
            && !self.force
        {
            return Err(exists(existing));
        }
        let key = generate_key(self.bits).map_err(Failure::failed)?;
        self.write(&self.out, 0o600, key.private_pem.as_bytes())?;
        self.write(&public, 0o644, key.public_pem.as_bytes())?;
        Ok(public)
    }

    fn write(&self, path: &Path, mode: u32, content: &[u8]) -> Result<(), Failure> {
        files::write(path, mode, content, self.force).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(path),
            _ => Failure::failed(format!("cannot write {}: {error}", path.display())),
        })
    }
}

/// Makes a key pair of the usual length, and replaces existing files.
pub(super) fn make(private: &Path, public: &Path) -> Result<(), Failure> {
    let (out, public) = (private.to_owned(), Some(public.to_owned()));
    Keygen { out, public, bits: 2048, force: true }.write_pair().map(drop)
}

fn exists(path: &Path) -> Failure {
    Failure::failed(format!("{} exists and is not overwritten", path.display()))
        .help("name another file with --out, or replace the key with --force")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::protocol::seed::{PrivateKey, PublicKey};

    fn keygen(out: &Path) -> Keygen {
        Keygen { out: out.to_owned(), public: None, bits: 2048, force: false }
    }

    #[test]
    fn the_two_files_belong_together() {
        let folder = tempfile::tempdir().unwrap();
        keygen(&folder.path().join("k.pem")).run().unwrap();
        let private = fs::read(folder.path().join("k.pem")).unwrap();
        let public = fs::read(folder.path().join("k.pub.pem")).unwrap();
        let sealed = PublicKey::from_pem(public).unwrap().wrap_secret(b"secret").unwrap();
        let private = PrivateKey::from_pem(private).unwrap();
        assert_eq!(private.unwrap_secret(&sealed).unwrap().as_bytes(), b"secret");
    }

    #[cfg(unix)]
    #[test]
    fn the_private_key_is_readable_by_its_owner_alone_also_when_it_replaces_another() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.pem");
        fs::write(&path, "old").unwrap();
        Keygen { force: true, ..keygen(&path) }.run().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(&path).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_exists_stays_and_no_other_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let public = folder.path().join("k.pub.pem");
        fs::write(&public, "old").unwrap();
        let failure = keygen(&folder.path().join("k.pem")).run().unwrap_err();
        assert!(failure.text().0.contains("k.pub.pem exists"), "{failure:?}");
        assert_eq!(fs::read_to_string(&public).unwrap(), "old");
        assert!(!folder.path().join("k.pem").exists());
    }
}
