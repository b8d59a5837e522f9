//! From a file's text to its sections.

use base64ct::{Base64Unpadded, Encoding};
use zeroize::Zeroizing;

use super::content::{self, Content, NotDer};
use super::label::Label;
use super::problem::PemError;
use super::text;
use super::wanted::Wanted;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
/// Base64 text of this length without `BEGIN` and `END` lines is meant to be PEM.
const BARE: usize = 40;

/// One section of a file. Its bytes are wiped when it is dropped.
pub(super) struct Section {
    pub(super) label: Label,
    /// By the headers of RFC 1421.
    pub(super) is_encrypted: bool,
    /// The base64 text, without white space and padding.
    body: Zeroizing<String>,
    /// Empty until it is decoded.
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// All sections of a file, not decoded yet.
pub(super) fn sections(file: &[u8], wanted: Wanted) -> Result<Vec<Section>, PemError> {
    if let Some(wrong) = text::not_text(file, wanted) {
        return Err(wrong);
    }
    let text = String::from_utf8_lossy(text::without_mark(file));
    if !text.contains("-----BEGIN") {
        return Err(no_section(&text, wanted));
    }
    let mut found = Vec::new();
    // The section that is not closed yet, with its label's text.
    let mut open: Option<(&str, Section)> = None;
    for line in text.split(['\n', '\r']) {
        // Files that were put together have their marks inside.
        let line = line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        match &mut open {
            None if line.contains("-----BEGIN") => open = Some(begin(line)?),
            None => {}
            Some(_) if line.contains("-----BEGIN") => return Err(PemError::NoEnd),
            Some((label, _)) if line.contains("-----END") => {
                end(line, label)?;
                found.extend(open.take().map(|(_, section)| section));
            }
            Some((_, section)) => section.take_line(line),
        }
    }
    if open.is_some() { Err(PemError::NoEnd) } else { Ok(found) }
}

/// Reads the first line of a section, which has nothing else in it.
fn begin(line: &str) -> Result<(&str, Section), PemError> {
    let (before, rest) = line.split_once(BEGIN).ok_or(PemError::BrokenLine)?;
    let (label, behind) = rest.split_once(DASHES).ok_or(PemError::BrokenLine)?;
    if behind.starts_with("\\n") || behind.starts_with("\\r") {
        return Err(PemError::EscapedLineBreaks);
    }
    if !behind.is_empty() {
        return Err(PemError::NoLineBreaks);
    }
    if !before.is_empty() {
        return Err(PemError::BrokenLine);
    }
    let section = Section {
        label: Label::of(label),
        is_encrypted: false,
        body: Zeroizing::default(),
        der: Zeroizing::default(),
    };
    Ok((label, section))
}

/// Reads the last line of a section.
fn end(line: &str, label: &str) -> Result<(), PemError> {
    // Credentials of NATS have six dashes there.
    let rest = line.trim_start_matches('-').strip_prefix("END ");
    let Some(rest) = rest else { return Err(PemError::NoLineBreaks) };
    let (own, behind) = rest.split_once(DASHES).ok_or(PemError::BrokenLine)?;
    if own != label {
        let [begin, end] = [label, own].map(|text| Label::of(text).name());
        return Err(PemError::OtherEnd { begin, end });
    }
    let behind = behind.trim_start_matches('-');
    if behind.is_empty() { Ok(()) } else { Err(PemError::NoLineBreaks) }
}

impl Section {
    fn take_line(&mut self, line: &str) {
        if line.contains(':') {
            self.is_encrypted |= line.starts_with("Proc-Type:") && line.ends_with("ENCRYPTED");
        } else {
            let base64 = line.chars().filter(|c| !c.is_whitespace() && *c != '=');
            self.body.extend(base64);
        }
    }

    /// Decodes the base64 text.
    pub(super) fn decode(mut self) -> Result<Self, PemError> {
        if self.body.is_empty() {
            return Err(PemError::EmptySection(self.label.name()));
        }
        let at = self.body.chars().position(|c| !c.is_ascii_alphanumeric() && c != '+' && c != '/');
        if at.is_some() {
            let escaped = self.body.contains("\\n");
            return Err(if escaped { PemError::EscapedLineBreaks } else { PemError::NotBase64 });
        }
        // Four characters are three bytes, and one alone is less than one.
        if self.body.len() % 4 == 1 {
            return Err(PemError::CutOff(self.label.name()));
        }
        let der = Base64Unpadded::decode_vec(&self.body);
        self.der = Zeroizing::new(der.map_err(|_| PemError::CutOff(self.label.name()))?);
        Ok(self)
    }

    fn content(&self) -> Result<Content, PemError> {
        content::of(&self.der).map_err(|not| match not {
            NotDer::CutOff => PemError::CutOff(self.label.name()),
            NotDer::TooLong | NotDer::Nonsense => PemError::Damaged(self.label.name()),
        })
    }

    /// Checks that the section's content fits its label.
    pub(super) fn expect(&self, expected: Content) -> Result<(), PemError> {
        match self.content()? {
            content if content == expected => Ok(()),
            content => Err(self.mislabelled(content)),
        }
    }

    /// The same for a key in PKCS#8, of whichever algorithm.
    pub(super) fn expect_pkcs8(&self) -> Result<(), PemError> {
        match self.content()? {
            Content::Pkcs8(_) => Ok(()),
            content => Err(self.mislabelled(content)),
        }
    }

    /// The same for a public key.
    pub(super) fn expect_public(&self) -> Result<(), PemError> {
        self.expect(Content::Public)
    }

    fn mislabelled(&self, content: Content) -> PemError {
        let label = self.label.name();
        let right = match content {
            Content::Certificate => "CERTIFICATE",
            Content::Pkcs8(_) => "PRIVATE KEY",
            Content::Pkcs1 => "RSA PRIVATE KEY",
            Content::Sec1 => "EC PRIVATE KEY",
            Content::Public => "PUBLIC KEY",
            Content::Encrypted => "ENCRYPTED PRIVATE KEY",
            Content::Unknown => return PemError::Damaged(label),
        };
        PemError::Mislabelled { label, right }
    }
}

/// The error for a text without any section.
fn no_section(text: &str, wanted: Wanted) -> PemError {
    let text = text.trim();
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c) || c.is_whitespace();
    if text.is_empty() {
        PemError::Empty(wanted)
    } else if ["ssh-", "ecdsa-sha2-", "sk-ssh-", "---- BEGIN SSH2"]
        .iter()
        .any(|start| text.starts_with(start))
    {
        PemError::OpenSsh
    } else if text.starts_with("PuTTY-User-Key-File") {
        PemError::Putty
    } else if text.starts_with('{') {
        PemError::Json(wanted)
    } else if text.len() >= BARE && text.replace("\\n", "").chars().all(is_base64) {
        PemError::BareBase64(wanted)
    } else {
        PemError::NoSection(wanted)
    }
}
