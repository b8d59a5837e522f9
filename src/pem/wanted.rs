//! The expected content of a file of keys or certificates.

use std::fmt;

/// The expected content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// One or more certificates.
    Certificate,
    /// A private key.
    PrivateKey,
    /// A public key.
    PublicKey,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "a certificate (`-----BEGIN CERTIFICATE-----`)",
            Self::PrivateKey => "a private key (`-----BEGIN PRIVATE KEY-----`)",
            Self::PublicKey => "a public key (`-----BEGIN PUBLIC KEY-----`)",
        })
    }
}

impl Wanted {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::PrivateKey => "private key",
            Self::PublicKey => "public key",
        }
    }

    /// Makes PEM of DER.
    pub(super) fn converting_der(self) -> &'static str {
        match self {
            Self::Certificate => "openssl x509 -inform DER -in FILE -out FILE.pem",
            Self::PrivateKey => "openssl pkey -inform DER -in FILE -out FILE.pem",
            Self::PublicKey => "openssl pkey -pubin -inform DER -in FILE -pubout -out FILE.pem",
        }
    }

    /// Takes it out of a PKCS#12 container.
    pub(super) fn opening_pkcs12(self) -> &'static str {
        match self {
            Self::Certificate => "openssl pkcs12 -in FILE -nokeys -out FILE.pem",
            Self::PrivateKey | Self::PublicKey => {
                "openssl pkcs12 -in FILE -nocerts -nodes -out FILE.pem"
            }
        }
    }
}
