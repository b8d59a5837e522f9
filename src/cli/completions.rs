//! `bridgehead completions`: scripts for shells, made from the same declarations
//! that parse arguments.

use clap::{Arg, Args, Command, ValueHint};
use clap_complete::Shell;

use super::failure::Failure;
use super::output::print;

/// Print a completion script for a shell.
///
/// For bash: `bridgehead completions bash > /etc/bash_completion.d/bridgehead`, or
/// `source <(bridgehead completions bash)` in the current shell.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    /// `program`: the command with all below it.
    pub(super) fn run(self, program: Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        let mut program = with_hints(program);
        clap_complete::generate(self.shell, &mut program, "bridgehead", &mut script);
        print(String::from_utf8_lossy(&script).trim_end())
    }
}

/// The commands, with a hint for each value: only a file or a folder is completed
/// with the names of files. The generators take any other value for a file as well,
/// unless it is declared not to be one.
fn with_hints(command: Command) -> Command {
    command.mut_args(with_hint).mut_subcommands(with_hints)
}

fn with_hint(argument: Arg) -> Arg {
    if !argument.get_action().takes_values() {
        return argument;
    }
    let is_folder = argument.get_value_names() == Some(&["DIR".into()]);
    match argument.get_value_hint() {
        // That of a path, where nothing else is declared.
        ValueHint::AnyPath if is_folder => argument.value_hint(ValueHint::DirPath),
        ValueHint::AnyPath => argument.value_hint(ValueHint::FilePath),
        ValueHint::Unknown => argument.value_hint(ValueHint::Other),
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn hints(command: &Command, found: &mut Vec<(String, ValueHint)>) {
        for argument in command.get_arguments().filter(|it| it.get_action().takes_values()) {
            let name = format!("{} {}", command.get_name(), argument.get_id());
            found.push((name, argument.get_value_hint()));
        }
        for below in command.get_subcommands() {
            hints(below, found);
        }
    }

    #[test]
    fn only_files_and_folders_are_completed_with_file_names() {
        let mut command = with_hints(Cli::command());
        command.build();
        let mut found = Vec::new();
        hints(&command, &mut found);
        let of = |name: &str| found.iter().find(|(it, _)| it == name).map(|(_, hint)| *hint);
        for file in ["serve config", "call ca", "token key", "keygen out", "idle encrypt"] {
            assert_eq!(of(file), Some(ValueHint::FilePath), "{file}");
        }
        for folder in ["token out", "man out", "demo key_dir"] {
            assert_eq!(of(folder), Some(ValueHint::DirPath), "{folder}");
        }
        for other in ["push event", "call method", "call timeout", "health url", "token user"] {
            assert_eq!(of(other), Some(ValueHint::Other), "{other}");
        }
        assert!(found.iter().all(|(_, hint)| *hint != ValueHint::Unknown), "{found:?}");
    }
}
