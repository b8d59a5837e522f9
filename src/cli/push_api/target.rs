//! Which sessions a command means, as arguments.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use crate::cli::failure::Failure;
use crate::proto::push::Target;

/// Conditions on sessions; all that are given must hold.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which sessions")]
pub(in crate::cli) struct Filters {
    /// Sessions of this user; several are separated by commas.
    ///
    /// May be repeated as well. The same is true of the conditions below.
    #[arg(long = "user", value_name = "USER", value_delimiter = ',',
          value_parser = NonEmptyStringValueParser::new())]
    users: Vec<String>,
    /// Sessions on this platform: ios, android, web, …
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',',
          value_parser = NonEmptyStringValueParser::new())]
    platforms: Vec<String>,
    /// Sessions of this device.
    #[arg(long = "device", value_name = "DEVICE", value_delimiter = ',',
          value_parser = NonEmptyStringValueParser::new())]
    devices: Vec<String>,
    /// The session with this id.
    #[arg(long = "session", value_name = "SESSION", value_delimiter = ',',
          value_parser = NonEmptyStringValueParser::new())]
    sessions: Vec<String>,
    /// Leave out the session with this id.
    #[arg(long = "except-session", value_name = "SESSION", value_delimiter = ',',
          value_parser = NonEmptyStringValueParser::new())]
    except_sessions: Vec<String>,
}

/// The sessions to do something to, which must be named.
#[derive(Debug, Args)]
pub(in crate::cli) struct Targets {
    #[command(flatten)]
    filters: Filters,
    /// Every logged-in session; the other conditions narrow it.
    #[arg(long, help_heading = "Which sessions")]
    everyone: bool,
}

impl Targets {
    /// The target, unless it is empty.
    pub(in crate::cli) fn target(self) -> Result<Target, Failure> {
        if !self.everyone && !self.filters.has_condition() {
            return Err(Failure::usage("no session is named").help(
                "say which with --user, --platform, --device or --session; --everyone means every \
                 logged-in session",
            ));
        }
        Ok(self.filters.target(self.everyone))
    }
}

impl Filters {
    /// The sessions that fulfil the conditions; all where there is none.
    pub(in crate::cli) fn or_everyone(self) -> Target {
        let everyone = !self.has_condition();
        self.target(everyone)
    }

    fn has_condition(&self) -> bool {
        [&self.users, &self.platforms, &self.devices, &self.sessions]
            .iter()
            .any(|condition| !condition.is_empty())
    }

    fn target(self, everyone: bool) -> Target {
        Target {
            user_ids: self.users,
            platforms: self.platforms,
            device_ids: self.devices,
            session_ids: self.sessions,
            except_session_ids: self.except_sessions,
            everyone,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        targets: Targets,
    }

    fn target(arguments: &[&str]) -> Result<Target, Failure> {
        Command::parse_from([&["x"], arguments].concat()).targets.target()
    }

    #[test]
    fn conditions_are_repeated_or_separated_by_commas() {
        let named = target(&["--user", "a,b", "--user", "c", "--platform", "ios"]).unwrap();
        assert_eq!(named.user_ids, ["a", "b", "c"]);
        assert_eq!(named.platforms, ["ios"]);
        assert!(!named.everyone);
        let named = target(&["--device=d", "--session=s", "--except-session=x,y"]).unwrap();
        assert_eq!((named.device_ids, named.session_ids), (vec!["d".into()], vec!["s".into()]));
        assert_eq!(named.except_session_ids, ["x", "y"]);
    }

    #[test]
    fn nobody_is_no_target_and_everybody_must_be_said() {
        for arguments in [&[][..], &["--except-session", "s"]] {
            let (text, is_usage) = target(arguments).unwrap_err().text();
            assert!(is_usage && text.contains("--everyone"), "{text}");
        }
        assert!(target(&["--everyone", "--except-session", "s"]).unwrap().everyone);
    }

    #[test]
    fn an_empty_condition_is_none() {
        for arguments in [["x", "--user", ""], ["x", "--user", "a,,b"], ["x", "--session", ""]] {
            assert!(Command::try_parse_from(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn where_all_are_meant_exceptions_still_count() {
        let all = Filters::default().or_everyone();
        assert!(all.everyone);
        let except =
            Filters { except_sessions: vec!["s".into()], ..Filters::default() }.or_everyone();
        assert!(except.everyone && except.except_session_ids == ["s"]);
        let some = Filters { users: vec!["a".into()], ..Filters::default() }.or_everyone();
        assert!(!some.everyone);
    }
}
