//! The gateways of the cluster.
//!
//! Each says hello every second. One that has been silent for a while is lost,
//! and its answers are not waited for any more. While this gateway has no
//! connection itself, it takes no other for lost.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often a gateway says hello.
pub(super) const HELLO: Duration = Duration::from_secs(1);
/// After such a silence a gateway may be lost.
const OVERDUE: Duration = Duration::from_millis(1600);
/// After such a silence a gateway is lost.
const SILENCE: Duration = Duration::from_millis(3500);

/// The other gateways of the cluster.
pub(super) struct Members {
    table: Mutex<Table>,
    /// Counts lost gateways and goodbyes.
    departures: watch::Sender<u64>,
}

/// The state in which a gateway was before it was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is new.
    First,
    /// It was there all the time.
    Still,
    /// It was lost.
    Again,
    /// It has said goodbye.
    Gone,
}

#[derive(Default)]
struct Table {
    members: HashMap<u64, Member>,
    /// Lost gateways. One that has really gone does not come back under its
    /// number, but there are not so many of them.
    lost: HashSet<u64>,
    /// Gateways that have said goodbye: their earlier messages may arrive later.
    gone: HashSet<u64>,
    /// Since when this gateway can hear; `None`: it cannot.
    hearing: Option<Instant>,
}

struct Member {
    name: Arc<str>,
    heard: Instant,
    /// Since this gateway can hear.
    was_heard: bool,
}

impl Members {
    pub(super) fn new() -> Self {
        Self { table: Mutex::default(), departures: watch::channel(0).0 }
    }

    /// This gateway can hear the others from now on, or not any more.
    pub(super) fn can_hear(&self, can_hear: bool) {
        let now = Instant::now();
        let mut table = self.table.lock();
        table.hearing = can_hear.then_some(now);
        // Silence meanwhile was no gateway's fault.
        for member in table.members.values_mut() {
            (member.heard, member.was_heard) = (now, false);
        }
    }

    /// Whether this gateway has been able to hear for long enough to know all
    /// present gateways.
    pub(super) fn are_known(&self) -> bool {
        self.table.lock().hearing.is_some_and(|since| since.elapsed() > 2 * HELLO)
    }

    /// Whether this gateway can hear the others.
    pub(super) fn is_hearing(&self) -> bool {
        self.table.lock().hearing.is_some()
    }

    /// A gateway has said hello.
    pub(super) fn heard(&self, node: u64, name: &str) -> Heard {
        let heard = Instant::now();
        let mut table = self.table.lock();
        if let Some(member) = table.members.get_mut(&node) {
            (member.heard, member.was_heard) = (heard, true);
            return Heard::Still;
        }
        if table.gone.contains(&node) {
            return Heard::Gone;
        }
        table.members.insert(node, Member { name: name.into(), heard, was_heard: true });
        if table.lost.remove(&node) { Heard::Again } else { Heard::First }
    }

    /// Whether a gateway is overdue, but not lost yet: the present gateways cannot
    /// be known then.
    pub(super) fn is_somebody_overdue(&self) -> bool {
        let table = self.table.lock();
        let is_overdue = |member: &Member| !member.was_heard || member.heard.elapsed() > OVERDUE;
        table.members.values().any(is_overdue)
    }

    /// A gateway has said goodbye.
    pub(super) fn left(&self, node: u64) {
        let mut table = self.table.lock();
        table.gone.insert(node);
        let was_there = table.members.remove(&node).is_some();
        drop(table);
        if was_there {
            self.departures.send_modify(|count| *count += 1);
        }
    }

    /// Removes the lost gateways, and returns their names.
    pub(super) fn find_lost(&self) -> Vec<Arc<str>> {
        let mut table = self.table.lock();
        if table.hearing.is_none() {
            return Vec::new();
        }
        let is_lost = |_: &u64, member: &mut Member| member.heard.elapsed() > SILENCE;
        let lost: Vec<_> = table.members.extract_if(is_lost).collect();
        table.lost.extend(lost.iter().map(|(node, _)| *node));
        drop(table);
        let lost: Vec<_> = lost.into_iter().map(|(_, member)| member.name).collect();
        if !lost.is_empty() {
            self.departures.send_modify(|count| *count += 1);
        }
        lost
    }

    /// The present gateways.
    pub(super) fn all(&self) -> Vec<(u64, Arc<str>)> {
        let table = self.table.lock();
        table.members.iter().map(|(node, member)| (*node, Arc::clone(&member.name))).collect()
    }

    /// The name of a gateway, if it is present.
    pub(super) fn name(&self, node: u64) -> Option<Arc<str>> {
        self.table.lock().members.get(&node).map(|member| Arc::clone(&member.name))
    }

    /// Changes whenever a gateway was lost or has left.
    pub(super) fn departures(&self) -> watch::Receiver<u64> {
        self.departures.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_lost_unless_nobody_can_be_heard() {
        let members = Members::new();
        members.can_hear(true);
        assert_eq!(members.heard(1, "a"), Heard::First);
        assert_eq!(members.heard(1, "a"), Heard::Still);
        let mut departures = members.departures();
        tokio::time::sleep(SILENCE / 2).await;
        members.heard(2, "b");
        tokio::time::sleep(SILENCE * 3 / 4).await;
        assert_eq!(members.find_lost(), ["a".into()]);
        assert!(departures.has_changed().unwrap());
        departures.mark_unchanged();
        assert_eq!(members.heard(1, "a"), Heard::Again);
        assert_eq!(members.heard(1, "a"), Heard::Still);
        members.left(1);
        assert_eq!(members.heard(1, "a"), Heard::Gone);
        assert_eq!(members.name(1), None);
        departures.mark_unchanged();

        members.can_hear(false);
        tokio::time::sleep(2 * SILENCE).await;
        assert!(members.find_lost().is_empty());
        members.can_hear(true);
        assert!(members.find_lost().is_empty(), "it had no chance to be heard");
        assert!(members.is_somebody_overdue());
        members.heard(2, "b");
        assert!(!members.is_somebody_overdue());
        tokio::time::sleep(2 * OVERDUE).await;
        assert!(members.is_somebody_overdue());
        assert_eq!(members.name(2).as_deref(), Some("b"));
        members.left(2);
        assert!(departures.has_changed().unwrap());
        assert!(members.all().is_empty());
    }
}
