//! The files that a configuration names.

use std::io;
use std::path::Path;

use crate::config::diagnostics::Diagnostics;
use crate::config::structure::FileUse;
use crate::config::words;

/// Checks that the files that a document names can be read, with `open`.
pub(in crate::config) fn check_files(
    files: &[FileUse],
    open: &dyn Fn(&Path) -> io::Result<()>,
    diagnostics: &mut Diagnostics,
) {
    for file in files {
        let Err(error) = open(&file.path) else { continue };
        let written = words::shorten(&file.written);
        let message = match error.kind() {
            // The value may be the secret itself.
            _ if file.key == "secret" => "`secret`: there is no such file to read".to_owned(),
            io::ErrorKind::NotFound => format!("`{}`: there is no file `{written}`", file.key),
            io::ErrorKind::IsADirectory => {
                format!("`{}`: `{written}` is a folder, not a file", file.key)
            }
            kind => format!("`{}`: the file `{written}` can't be read: {kind}", file.key),
        };
        let help = match file.key.as_str() {
            "private_key" => {
                "make one with `bridgehead keygen`, or leave the key out to refuse encryption"
            }
            "secret" => {
                "it is the name of a file that holds the secret: `bridgehead token --new-key hs256` makes one"
            }
            "descriptors" => {
                "write one with `buf build -o` or `protoc --include_imports --descriptor_set_out`; a relative path starts at the folder of this file"
            }
            _ => "a relative path starts at the folder of this file",
        };
        diagnostics.error(file.span, message, help);
    }
}

/// Whether a file is there and may be read.
pub(in crate::config) fn open_file(path: &Path) -> io::Result<()> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;
    use crate::config::testing::{environment, with_basics};

    #[test]
    fn a_secret_in_the_place_of_its_file_is_not_repeated() {
        let text = with_basics("").replace("none: {}", "jwt: { secret: hunter2hunter2 }");
        let loaded = parse("t.yaml", &text, Path::new("/nowhere"), &environment);
        let lines: Vec<_> = loaded.unwrap_err().lines().collect();
        assert!(lines[0].contains("it is the name of a file"), "{lines:?}");
        assert!(!lines[0].contains("hunter2"), "{lines:?}");
    }

    #[test]
    fn files_must_be_there_and_be_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("there.pem"), "").unwrap();
        let errors = |text: &str| {
            let text = with_basics(text);
            match parse("t.yaml", &text, folder.path(), &environment) {
                Ok(loaded) => panic!("{:?}", loaded.config),
                Err(diagnostics) => diagnostics.lines().collect::<Vec<_>>().join("\n"),
            }
        };
        let missing = errors("session: { private_key: gone.pem }\n");
        assert!(
            missing.contains("there is no file `gone.pem`")
                && missing.contains("bridgehead keygen"),
            "{missing}"
        );
        let directory = errors("session: { private_key: . }\n");
        assert!(directory.contains("is a folder"), "{directory}");
        let text = with_basics("session: { private_key: there.pem }\n");
        let loaded = parse("t.yaml", &text, folder.path(), &environment).unwrap();
        assert_eq!(loaded.config.session.private_key, Some(folder.path().join("there.pem")));
        assert_eq!(loaded.files().collect::<Vec<_>>(), [folder.path().join("there.pem")]);
    }
}
