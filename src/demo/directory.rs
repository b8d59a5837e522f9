//! The demo's users.

use std::collections::BTreeSet;

use parking_lot::Mutex;

/// Users that exist from the beginning, so that every user has friends.
const RESIDENTS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// The users that have ever logged in.
#[derive(Default)]
pub(super) struct Directory {
    registered: Mutex<BTreeSet<String>>,
}

impl Directory {
    /// Makes `user` known; whether it was not before.
    pub(super) fn register(&self, user: &str) -> bool {
        self.registered.lock().insert(user.to_owned())
    }

    /// Everybody but `user`, in alphabetical order: in the demo, all are friends.
    pub(super) fn friends(&self, user: &str) -> Vec<String> {
        let mut friends = self.registered.lock().clone();
        friends.extend(RESIDENTS.map(str::to_owned));
        friends.remove(user);
        friends.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_new_only_once() {
        let directory = Directory::default();
        assert!(directory.register("zoe"));
        assert!(!directory.register("zoe"));
    }

    #[test]
    fn everybody_else_is_a_friend_once() {
        let directory = Directory::default();
        for user in ["zoe", "alice", "anna"] {
            directory.register(user);
        }
        assert_eq!(directory.friends("zoe"), ["alice", "anna", "bob", "carol", "dave", "erin"]);
    }
}
