//! Errors in a file, in words that never come from the file.

use super::label::UNKNOWN;
use super::wanted::Wanted;

/// Why a file lacks the wanted content. Goes behind the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// Nothing is in it.
    #[error("the file is empty; {0} is needed here")]
    Empty(Wanted),
    /// Text in UTF-16.
    #[error("the file is text in UTF-16; save it as UTF-8 or plain ASCII")]
    Utf16,
    /// DER, without the lines of PEM.
    #[error("the file is DER, not PEM; `{}` converts it", .0.converting_der())]
    Der(Wanted),
    /// A container of keys and certificates (`.p12`, `.pfx`).
    #[error(
        "the file is a PKCS#12 container, not PEM; `{}` extracts the needed parts",
        .0.opening_pkcs12()
    )]
    Pkcs12(Wanted),
    /// A container of Java's.
    #[error(
        "the file is a Java key store, not PEM; `keytool -importkeystore -deststoretype PKCS12` \
         and then `openssl pkcs12` take out what is needed"
    )]
    JavaKeyStore,
    /// Some other binary file.
    #[error("the file is binary, not PEM; {0} is needed here")]
    Binary(Wanted),
    /// Text without a `BEGIN` line.
    #[error("the file is not PEM: it has no `-----BEGIN` line; {0} is needed here")]
    NoSection(Wanted),
    /// The base64 text alone.
    #[error("the file has base64 text only; put the lines of {0} and its `-----END` around it")]
    BareBase64(Wanted),
    /// A JSON text, such as a JWK.
    #[error("the file is JSON, not PEM; {0} is needed here")]
    Json(Wanted),
    /// A public key in the own format of OpenSSH.
    #[error(
        "the file is a public key in OpenSSH's own format; `ssh-keygen -e -m PKCS8 -f FILE` \
         converts it"
    )]
    OpenSsh,
    /// A key in the own format of `PuTTY`.
    #[error(
        "the file is a key in PuTTY's own format; export it from PuTTYgen as an OpenSSH key in \
         the old format"
    )]
    Putty,
    /// All in one line.
    #[error(
        "its line breaks are lost; `-----BEGIN …-----` and `-----END …-----` need lines of their \
         own: copy the file again, as it is"
    )]
    NoLineBreaks,
    /// All in one line, with `\n` for the line breaks.
    #[error(
        "its line breaks are written as `\\n`; they must be real ones, as \
         `printf '%b' \"$TEXT\" > FILE` makes them"
    )]
    EscapedLineBreaks,
    /// A `BEGIN` or `END` line with something else in it.
    #[error(
        "a `-----BEGIN …-----` or `-----END …-----` line has something else in it; it must stand \
         alone, without quotes or a key before it"
    )]
    BrokenLine,
    /// A section without an `END` line.
    #[error(
        "a section has no `-----END …-----` line; the end of the file, or of that section, is \
         missing: copy it again"
    )]
    NoEnd,
    /// The two lines of a section do not fit.
    #[error(
        "a section begins as {} and ends as {}; copy the file again, or correct the line",
        named(.begin),
        named(.end)
    )]
    OtherEnd {
        /// The label of the first line.
        begin: &'static str,
        /// The label of the last line.
        end: &'static str,
    },
    /// A section without anything between its lines.
    #[error("there is nothing between the lines of {}; copy the file again", named(.0))]
    EmptySection(&'static str),
    /// A character that base64 does not have.
    #[error(
        "there is something between the `BEGIN` and `END` lines that is not base64; copy the file \
         again, as it is"
    )]
    NotBase64,
    /// Something is missing at the end of a section.
    #[error("{} is cut off: some of its lines are missing; copy the file again", named(.0))]
    CutOff(&'static str),
    /// A section's content does not have the expected form.
    #[error("{} is damaged: it decodes to something else; copy the file again", named(.0))]
    Damaged(&'static str),
    /// A section's content does not fit the label of its lines.
    #[error(
        "its lines say {}, but what is between them is {}; correct both lines",
        named(.label),
        named(.right)
    )]
    Mislabelled {
        /// The label of its lines.
        label: &'static str,
        /// The right label.
        right: &'static str,
    },
    /// A private key that needs a passphrase; whether it is PKCS#8.
    #[error(
        "the key is encrypted with a passphrase, which nobody could type in here; \
         `openssl {} -in FILE -out FILE.pem` decrypts it",
        if *.0 { "pkey" } else { "rsa" }
    )]
    Encrypted(bool),
    /// Sections of other kinds only.
    #[error("{}", other_section(.label, *.wanted))]
    OtherSection {
        /// The first one's.
        label: &'static str,
        /// The missing kind.
        wanted: Wanted,
    },
    /// More than one, where one is needed.
    #[error("it holds {count} {}s; keep the one that is meant", .wanted.noun())]
    Several {
        /// How many there are.
        count: usize,
        /// Of these.
        wanted: Wanted,
    },
}

/// A section's label, in quotes if it is known.
fn named(label: &str) -> String {
    if label == UNKNOWN { format!("a {label}") } else { format!("`{label}`") }
}

fn other_section(label: &str, wanted: Wanted) -> String {
    let is_private = label.ends_with("PRIVATE KEY");
    let said = match (label, wanted) {
        ("OPENSSH PRIVATE KEY", Wanted::PrivateKey) => {
            "it holds a private key in OpenSSH's own format; `ssh-keygen -p -m PEM -f FILE` \
             converts a copy of it"
        }
        ("PUBLIC KEY" | "RSA PUBLIC KEY", Wanted::PrivateKey) => {
            "it holds a public key; the private key that belongs to it is needed here"
        }
        ("CERTIFICATE", Wanted::PrivateKey) => {
            "it holds a certificate; its private key is needed here \
             (`-----BEGIN PRIVATE KEY-----`): are the two files swapped?"
        }
        ("CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST", Wanted::Certificate) => {
            "it holds a certificate request; the certificate that an authority made of it is \
             needed here"
        }
        ("TRUSTED CERTIFICATE" | "X509 CERTIFICATE", Wanted::Certificate) => {
            "it holds a certificate in a form of OpenSSL's own; \
             `openssl x509 -in FILE -out FILE.pem` makes an ordinary one of it"
        }
        ("PKCS7", Wanted::Certificate) => {
            "it holds `PKCS7`; `openssl pkcs7 -print_certs -in FILE -out FILE.pem` takes the \
             certificates out"
        }
        (_, Wanted::Certificate) if is_private => {
            "it holds a private key; the certificate is needed here \
             (`-----BEGIN CERTIFICATE-----`): are the two files swapped?"
        }
        (_, Wanted::PublicKey) if is_private => {
            "it holds a private key, which should stay where it is used; the public key is needed \
             here: `openssl pkey -in FILE -pubout -out public.pem`"
        }
        ("CERTIFICATE", Wanted::PublicKey) => {
            "it holds a certificate; the public key is needed here: \
             `openssl x509 -in FILE -pubkey -noout`"
        }
        ("RSA PUBLIC KEY", Wanted::PublicKey) => {
            "it holds a `RSA PUBLIC KEY` (PKCS#1); `openssl rsa -RSAPublicKey_in -in FILE -pubout` \
             makes the `PUBLIC KEY` (SPKI) of it that is needed here"
        }
        (label, wanted) => return format!("it holds {}; {wanted} is needed here", named(label)),
    };
    said.to_owned()
}

/// Why a file is not the text that it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing is in it.
    #[error("the file is empty; it must hold a token or key, on one line")]
    Empty,
    /// Text in UTF-16.
    #[error("the file is text in UTF-16; save it as UTF-8 or plain ASCII")]
    Utf16,
    /// No text.
    #[error("the file is binary; it must hold a token or key, on one line")]
    Binary,
    /// A certificate or key.
    #[error("the file is PEM; it must hold a token or key, on one line")]
    Pem,
    /// Longer than any header.
    #[error("the file holds {0} bytes, which is too long for a header; 8 KiB are possible")]
    TooLong(usize),
    /// Several lines.
    #[error("the file has {0} lines; it must hold one token or key, on one line")]
    Lines(usize),
    /// Something that no header may hold.
    #[error("the file holds a character that is not visible ASCII, which no header can hold")]
    NotVisible,
}
