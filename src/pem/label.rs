//! The labels of `BEGIN` and `END` lines.
//!
//! Only known labels are printed: in a file with broken lines, the text in the
//! place of a label may be a part of the key.

use super::wanted::Wanted;

/// The kind of a section, as its first line has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Certificate,
    PrivateKey,
    RsaPrivateKey,
    EcPrivateKey,
    PublicKey,
    EncryptedPrivateKey,
    /// Any other; only its name may be of interest.
    Other(&'static str),
}

/// Other labels that are found in the place of keys and certificates.
const OTHERS: [&str; 17] = [
    "OPENSSH PRIVATE KEY",
    "RSA PUBLIC KEY",
    "DSA PRIVATE KEY",
    "CERTIFICATE REQUEST",
    "NEW CERTIFICATE REQUEST",
    "TRUSTED CERTIFICATE",
    "X509 CERTIFICATE",
    "X509 CRL",
    "PKCS7",
    "CMS",
    "DH PARAMETERS",
    "EC PARAMETERS",
    "PGP PRIVATE KEY BLOCK",
    "PGP PUBLIC KEY BLOCK",
    "NATS USER JWT",
    "USER NKEY SEED",
    "OPENVPN STATIC KEY V1",
];

/// The name of a label that is not known.
pub(super) const UNKNOWN: &str = "section of another kind";

impl Label {
    pub(super) fn of(text: &str) -> Self {
        match text {
            "CERTIFICATE" => Self::Certificate,
            "PRIVATE KEY" => Self::PrivateKey,
            "RSA PRIVATE KEY" => Self::RsaPrivateKey,
            "EC PRIVATE KEY" => Self::EcPrivateKey,
            "PUBLIC KEY" => Self::PublicKey,
            "ENCRYPTED PRIVATE KEY" => Self::EncryptedPrivateKey,
            _ => Self::Other(OTHERS.into_iter().find(|name| *name == text).unwrap_or(UNKNOWN)),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::PrivateKey => "PRIVATE KEY",
            Self::RsaPrivateKey => "RSA PRIVATE KEY",
            Self::EcPrivateKey => "EC PRIVATE KEY",
            Self::PublicKey => "PUBLIC KEY",
            Self::EncryptedPrivateKey => "ENCRYPTED PRIVATE KEY",
            Self::Other(name) => name,
        }
    }

    /// Whether such a section is of the wanted kind.
    pub(super) fn is(self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::Certificate => self == Self::Certificate,
            Wanted::PrivateKey => {
                matches!(self, Self::PrivateKey | Self::RsaPrivateKey | Self::EcPrivateKey)
            }
            Wanted::PublicKey => self == Self::PublicKey,
        }
    }

    pub(super) fn is_pkcs8(self) -> bool {
        matches!(self, Self::PrivateKey | Self::EncryptedPrivateKey)
    }
}
