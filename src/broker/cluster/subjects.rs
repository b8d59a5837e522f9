//! The NATS subjects of a cluster, and their messages.
//!
//! | subject, behind `<name>.v1` | listeners | messages |
//! | --- | --- | --- |
//! | `user.<hash>` | gateways that hold the user | logins, questions about the user |
//! | `all` | all | questions about everybody, watches |
//! | `nodes` | all | hellos and goodbyes |
//! | `node.<id>` | that gateway | messages to it alone |
//! | `reply.<id>.<ask>.<part>` | that gateway | answers to its questions |
//! | `watch.<id>.<watch>` | that gateway | events for its watches |

use async_nats::Subject;
use aws_lc_rs::digest;

/// Raised when gateways would not understand each other any more.
const VERSION: &str = "v1";

/// The names of a cluster's subjects, as one of its gateways needs them.
#[derive(Debug)]
pub(super) struct Subjects {
    /// `<name>.v1`
    prefix: Box<str>,
    node: u64,
}

impl Subjects {
    /// The subjects of the cluster `name`, for the gateway `node`.
    pub(super) fn new(name: &str, node: u64) -> Self {
        Self { prefix: format!("{name}.{VERSION}").into(), node }
    }

    /// For the gateways that hold a user. User ids may be any text, subjects may
    /// not, and are visible to observers of NATS: so it is a hash, long enough
    /// that two users never share one.
    pub(super) fn user(&self, user: &str) -> Subject {
        let hash = digest::digest(&digest::SHA256, user.as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&hash.as_ref()[..16]);
        format!("{}.user.{:032x}", self.prefix, u128::from_be_bytes(short)).into()
    }

    /// For all gateways.
    pub(super) fn all(&self) -> Subject {
        format!("{}.all", self.prefix).into()
    }

    /// For all gateways, with messages about themselves.
    pub(super) fn nodes(&self) -> Subject {
        format!("{}.nodes", self.prefix).into()
    }

    /// For one gateway.
    pub(super) fn node(&self, node: u64) -> Subject {
        format!("{}.node.{node:016x}", self.prefix).into()
    }

    /// For all answers to this gateway.
    pub(super) fn replies(&self) -> Subject {
        format!("{}.reply.{:016x}.*.*", self.prefix, self.node).into()
    }

    /// For answers to a part of a question.
    pub(super) fn reply(&self, ask: u64, part: u32) -> Subject {
        format!("{}.reply.{:016x}.{ask:x}.{part:x}", self.prefix, self.node).into()
    }

    /// For all watches of this gateway.
    pub(super) fn watches(&self) -> Subject {
        format!("{}.watch.{:016x}.*", self.prefix, self.node).into()
    }

    /// Where one of this gateway's watches hears.
    pub(super) fn watch(&self, watch: u64) -> Subject {
        format!("{}.watch.{:016x}.{watch:x}", self.prefix, self.node).into()
    }
}

/// The question and the part of it that a [reply](Subjects::reply) subject is of.
pub(super) fn read_reply(subject: &str) -> Option<(u64, u32)> {
    let mut tokens = subject.rsplit('.');
    let part = u32::from_str_radix(tokens.next()?, 16).ok()?;
    Some((u64::from_str_radix(tokens.next()?, 16).ok()?, part))
}

/// The watch that a [watch](Subjects::watch) subject is of.
pub(super) fn read_watch(subject: &str) -> Option<u64> {
    u64::from_str_radix(subject.rsplit('.').next()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn whatever_a_user_is_called_it_has_a_subject_of_its_own() {
        let subjects = Subjects::new("bridgehead", 7);
        let users = ["", "a", "a.b", "*", ">", "a b", "\u{fc}", "\r\n"];
        let of: BTreeSet<_> = users.iter().map(|user| subjects.user(user).to_string()).collect();
        assert_eq!(of.len(), users.len());
        let token = |c: char| c.is_ascii_alphanumeric() || c == '.';
        assert!(of.iter().all(|subject| subject.chars().all(token)));
    }

    #[test]
    fn subjects_are_read_as_they_are_written() {
        let subjects = Subjects::new("a.b", u64::MAX);
        assert_eq!(read_reply(&subjects.reply(u64::MAX, u32::MAX)), Some((u64::MAX, u32::MAX)));
        assert_eq!(read_watch(&subjects.watch(17)), Some(17));
        for nonsense in ["", "x", "x.y", "1.fffffffff", "-1.1"] {
            assert_eq!(read_reply(nonsense), None, "{nonsense}");
        }
    }
}
