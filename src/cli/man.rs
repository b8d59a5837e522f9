//! `bridgehead man`: manual pages, made from the same declarations that parse
//! arguments, with the sections that these do not have.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, Args, Command};
use clap_mangen::roff::{Roff, bold, roman};

use super::failure::Failure;
use super::output::print;

const PROGRAM: &str = "bridgehead";

/// Variables that every command knows, and their meanings.
const COLOURS: [(&str, &str); 2] = [
    ("NO_COLOR", "If it is set, output has no colours."),
    (
        "CLICOLOR, CLICOLOR_FORCE",
        "With CLICOLOR=0, output has no colours; with CLICOLOR_FORCE=1, it has them also where it \
         is not a terminal.",
    ),
];

/// Print the manual page, or write those of all commands.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Write a page for each command into this folder, which is created if it does not
    /// exist.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    /// `program`: the command with all below it.
    pub(super) fn run(self, program: Command) -> Result<(), Failure> {
        let mut command = program.disable_help_subcommand(true);
        command.build();
        let unwritten = |error: &io::Error| Failure::failed(format!("cannot write pages: {error}"));
        let root = Page { command: &command, name: PROGRAM.to_owned(), parent: None };
        match self.out {
            None => {
                let page = root.render().map_err(|error| unwritten(&error))?;
                print(String::from_utf8_lossy(&page).trim_end())
            }
            Some(folder) => root
                .write(&folder)
                .map_err(|error| unwritten(&error).of(&folder.display().to_string())),
        }
    }
}

/// The page of a command.
struct Page<'a> {
    command: &'a Command,
    /// With the names of the commands above it: `bridgehead-bench-call`.
    name: String,
    parent: Option<&'a Page<'a>>,
}

impl Page<'_> {
    /// Writes the pages of a command and of all below it.
    fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(format!("{}.1", self.name)), self.render()?)?;
        for command in below(self.command) {
            let name = format!("{}-{}", self.name, command.get_name());
            Page { command, name, parent: Some(self) }.write(folder)?;
        }
        Ok(())
    }

    fn render(&self) -> io::Result<Vec<u8>> {
        let name: &'static str = self.name.clone().leak(); // once for each command
        let usage = self.command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        let command = self.command.clone().name(name).override_usage(usage);
        let version = format!("{PROGRAM} {}", env!("BRIDGEHEAD_VERSION"));
        let page = clap_mangen::Man::new(command).source(version).manual("Bridgehead");
        let mut out = Vec::new();
        page.render_title(&mut out)?;
        page.render_name_section(&mut out)?;
        page.render_synopsis_section(&mut out)?;
        page.render_description_section(&mut out)?;
        page.render_options_section(&mut out)?;
        let mut rest = Roff::new();
        self.commands(&mut rest);
        self.environment(&mut rest);
        self.exit_status(&mut rest);
        self.examples(&mut rest);
        self.see_also(&mut rest);
        rest.to_writer(&mut out)?;
        Ok(out)
    }

    fn commands(&self, roff: &mut Roff) {
        if below(self.command).next().is_none() {
            return;
        }
        roff.control("SH", ["COMMANDS"]);
        for command in below(self.command) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            item(roff, &format!("{} {}", self.name.replace('-', " "), command.get_name()), &about);
        }
    }

    fn environment(&self, roff: &mut Roff) {
        roff.control("SH", ["ENVIRONMENT"]);
        let mut variables = Variables::new();
        gather_variables(self.command, "", &mut variables);
        for (name, (flag, commands)) in variables {
            let of = match commands.join(", ").as_str() {
                "" => String::new(),
                commands => format!(" ({commands})"),
            };
            item(
                roff,
                &name,
                &format!("The value of {flag}{of}, where the command line has none."),
            );
        }
        if self.command.get_arguments().any(|argument| argument.get_id() == "config") {
            let any = "Variables that the configuration names take their values from here.";
            item(roff, "${VARIABLE}", any);
        }
        for (name, text) in COLOURS {
            item(roff, name, text);
        }
    }

    fn exit_status(&self, roff: &mut Roff) {
        roff.control("SH", ["EXIT STATUS"]);
        let failed = match self.name.as_str() {
            "bridgehead-check" => {
                "The file is right as far as is known, and a server that was asked did not answer \
                 as it should."
            }
            "bridgehead-health" => "The gateway is not ready, or there is no answer.",
            _ => "The command has failed; standard error says why.",
        };
        item(roff, "0", "The command has succeeded.");
        item(roff, "1", failed);
        item(roff, "64", "The command line, or the configuration, cannot be used.");
        if self.name.contains("-bench") {
            item(roff, "130", "Ctrl-C has ended the measurement early.");
        }
    }

    fn examples(&self, roff: &mut Roff) {
        let Some(text) = self.command.get_after_long_help() else { return };
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        for line in text.to_string().lines().filter(|line| *line != "Examples:") {
            roff.text([roman(line.trim_start())]);
        }
        roff.control("fi", []);
    }

    fn see_also(&self, roff: &mut Roff) {
        let mut pages: Vec<_> = self.parent.iter().map(|parent| parent.name.clone()).collect();
        // The pages below this one, or beside it.
        let of = if below(self.command).next().is_some() { Some(self) } else { self.parent };
        pages.extend(of.into_iter().flat_map(|of| {
            below(of.command).map(move |command| format!("{}-{}", of.name, command.get_name()))
        }));
        pages.retain(|page| *page != self.name);
        let pages: Vec<_> = pages.iter().map(|page| format!("{page}(1)")).collect();
        roff.control("SH", ["SEE ALSO"]);
        roff.text([roman(pages.join(", "))]);
    }
}

fn below(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set())
}

/// The variables that arguments have: the arguments' names, and the commands below
/// that have them.
type Variables = BTreeMap<String, (String, Vec<String>)>;

/// Gathers the variables of a command and of all below it. `path`: from the page's
/// command to this one.
fn gather_variables(command: &Command, path: &str, variables: &mut Variables) {
    for argument in command.get_arguments() {
        if let Some(name) = argument.get_env() {
            let name = name.to_string_lossy().into_owned();
            let (_, commands) = variables.entry(name).or_insert((flag(argument), Vec::new()));
            commands.extend((!path.is_empty()).then(|| path.to_owned()));
        }
    }
    for below in below(command) {
        let path = format!("{path} {}", below.get_name());
        gather_variables(below, path.trim_start(), variables);
    }
}

fn flag(argument: &Arg) -> String {
    argument.get_long().map_or_else(|| argument.get_id().to_string(), |long| format!("--{long}"))
}

fn item(roff: &mut Roff, name: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(text)]);
}
