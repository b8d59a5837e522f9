//! `bridgehead completions` and `bridgehead man`: what shells and `man` want to
//! know of the commands, made from the same declarations that parse arguments.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;

use super::failure::Failure;
use super::output::print;

/// Print a completion script for a shell.
///
/// For bash: `bridgehead completions bash > /etc/bash_completion.d/bridgehead`, or
/// `source <(bridgehead completions bash)` for the shell at hand.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    /// `program`: the command with all below it.
    pub(super) fn run(self, mut program: Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "bridgehead", &mut script);
        print(String::from_utf8_lossy(&script).trim_end())
    }
}

/// Print the manual page, or write those of all commands.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Write a page for each command into this folder, which is made if need be.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    /// `program`: the command with all below it.
    pub(super) fn run(self, program: Command) -> Result<(), Failure> {
        let mut command = program.disable_help_subcommand(true);
        command.build();
        let unwritten = |error: &io::Error| Failure::failed(format!("cannot write pages: {error}"));
        match self.out {
            None => {
                let page = page(&command, "bridgehead").map_err(|error| unwritten(&error))?;
                print(String::from_utf8_lossy(&page).trim_end())
            }
            Some(folder) => pages(&command, "bridgehead", &folder)
                .map_err(|error| unwritten(&error).of(&folder.display().to_string())),
        }
    }
}

fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let name: &'static str = name.to_owned().leak(); // once for each command
    clap_mangen::Man::new(command.clone().name(name)).render(&mut page)?;
    Ok(page)
}

/// Writes the pages of a command and of all below it.
fn pages(command: &Command, name: &str, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(format!("{name}.1")), page(command, name)?)?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below, &format!("{name}-{}", below.get_name()), folder)?;
    }
    Ok(())
}
