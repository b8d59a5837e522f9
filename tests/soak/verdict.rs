//! Invariants of all records.
//!
//! The events of the gateway's own watch say when each session was there. They
//! are checked first, and then everything else is checked against them.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use bridgehead::proto::push::push_receipt::Outcome;
use bridgehead::proto::push::session_event::Kind;
use bridgehead::proto::push::{Confirm, Session, Target};

use crate::clients::PATIENCE;
use crate::world::{End, Log, Look, PushId, Pushed, World};

/// An event is sent a moment before or after it takes effect, and on a busy
/// machine a thread may be suspended in between.
const SLACK: Duration = Duration::from_millis(300);

/// A session, as the same user and device from beginning to end.
struct Presence {
    session: Session,
    from: SystemTime,
    to: SystemTime,
    code: u32,
}

/// All violations; empty if there are none.
pub(crate) fn wrongs(world: &World) -> Vec<String> {
    let mut wrong = std::mem::take(&mut *world.wrong.lock());
    let presences = presences(world, &mut wrong);
    let pushes = world.pushes.lock();
    for pushed in &*pushes {
        if !pushed.given_up {
            check_receipts(pushed, &presences, &mut wrong);
        }
    }
    for look in &*world.looks.lock() {
        check_list(look, &presences, &mut wrong);
    }
    check_clients(world, &pushes, &presences, &mut wrong);
    let by_kick = presences.all.iter().filter(|presence| presence.code == 3005).count() as u64;
    let kicked = world.kicked.load(std::sync::atomic::Ordering::Relaxed);
    if by_kick != kicked {
        wrong.push(format!("{kicked} sessions were kicked, and {by_kick} have ended by that"));
    }
    wrong
}

/// When which session was there, in the order of their coming.
struct Presences {
    all: Vec<Presence>,
    longest: Duration,
}

fn presences(world: &World, wrong: &mut Vec<String>) -> Presences {
    let mut present: HashMap<String, (Session, SystemTime)> = HashMap::new();
    let mut devices = HashSet::new();
    let mut all = Vec::new();
    for event in &*world.events.lock() {
        let session = event.session.clone().unwrap();
        let at = SystemTime::try_from(event.at.unwrap()).unwrap();
        let device = (session.user_id.clone(), session.platform.clone(), session.device_id.clone());
        let id = session.session_id.clone();
        match event.kind() {
            Kind::Connected => {
                if !devices.insert(device) {
                    wrong.push(format!("two sessions of one device: {session:?}"));
                }
                if present.insert(id, (session, at)).is_some() {
                    wrong.push(format!("{event:?}, but it is there already"));
                }
            }
            Kind::Disconnected => {
                devices.remove(&device);
                match present.remove(&id) {
                    Some((session, from)) => {
                        all.push(Presence { session, from, to: at, code: event.close_code });
                    }
                    None => wrong.push(format!("{event:?}, but it was not there")),
                }
            }
            _ => wrong.push(format!("{event:?} without a snapshot")),
        }
    }
    if !present.is_empty() {
        wrong.push(format!("never disconnected: {:?}", present.into_values().next()));
    }
    all.sort_by_key(|presence| presence.from);
    let lengths = all.iter().map(|presence| presence.to.duration_since(presence.from));
    let longest = lengths.map(Result::unwrap_or_default).max().unwrap_or_default();
    Presences { all, longest }
}

impl Presences {
    /// Sessions that may have been there at some moment between `from` and `to`.
    fn around(&self, from: SystemTime, to: SystemTime) -> impl Iterator<Item = &Presence> {
        let earliest = from - self.longest - SLACK;
        let start = self.all.partition_point(|presence| presence.from < earliest);
        let begun = self.all[start..].iter().take_while(move |it| it.from <= to + SLACK);
        begun.filter(move |presence| presence.to + SLACK >= from)
    }

    /// Checks the sessions that were found for a target at some moment of a period.
    fn check(
        &self,
        what: &str,
        target: &Target,
        (from, to): (SystemTime, SystemTime),
        found: &[&Session],
        wrong: &mut Vec<String>,
    ) {
        let mut ids = HashSet::new();
        for session in found {
            if !ids.insert(&*session.session_id) {
                wrong.push(format!("{what}: {} twice", session.session_id));
            }
        }
        let around: Vec<_> = self.around(from, to).collect();
        for session in found {
            let is_known = around.iter().any(|presence| presence.session == **session);
            if !is_known || !selects(target, session) {
                wrong.push(format!("{what}: {session:?} was not meant, or not there"));
            }
        }
        for presence in around {
            let throughout = presence.from + SLACK < from && presence.to > to + SLACK;
            let session = &presence.session;
            if throughout && selects(target, session) && !ids.contains(&*session.session_id) {
                wrong.push(format!("{what}: {session:?} was left out"));
            }
        }
    }
}

fn selects(target: &Target, session: &Session) -> bool {
    let allows = |values: &[String], value: &String| values.is_empty() || values.contains(value);
    allows(&target.user_ids, &session.user_id)
        && allows(&target.platforms, &session.platform)
        && allows(&target.device_ids, &session.device_id)
        && allows(&target.session_ids, &session.session_id)
        && !target.except_session_ids.contains(&session.session_id)
}

/// One receipt for every session of the target, and none for others.
fn check_receipts(pushed: &Pushed, presences: &Presences, wrong: &mut Vec<String>) {
    let what = format!("push {}", pushed.id.text());
    let (mut sessions, mut absent, mut offline) = (Vec::new(), Vec::new(), Vec::new());
    for (receipt, _) in &pushed.receipts {
        let confirmed = match pushed.confirm {
            Confirm::Queued => Outcome::Queued,
            Confirm::Written => Outcome::Written,
            Confirm::Acknowledged => Outcome::Acknowledged,
        };
        match (receipt.outcome(), &receipt.session) {
            (Outcome::Offline, None) => offline.push(receipt.user_id.clone()),
            (Outcome::Closed, Some(session)) if session.user_id.is_empty() => {
                absent.push(session.session_id.clone());
            }
            (Outcome::Closed | Outcome::Expired | Outcome::Overflowed, Some(session)) => {
                sessions.push(session);
            }
            (outcome, Some(session)) if outcome == confirmed => sessions.push(session),
            _ => wrong.push(format!("{what}: a strange receipt {receipt:?}")),
        }
    }
    let target = &pushed.target;
    if let Some(chosen) = pushed.chosen {
        presences.check(&what, target, (pushed.began, chosen), &sessions, wrong);
    } else if !pushed.receipts.is_empty() {
        wrong.push(format!("{what}: receipts out of nothing"));
    }
    let is_simple = target.except_session_ids.is_empty();
    for user in target.user_ids.iter().collect::<HashSet<_>>() {
        let is_there = sessions.iter().any(|session| session.user_id == *user);
        match (offline.iter().filter(|name| *name == user).count(), is_there) {
            (0, true) | (1, false) => {}
            (0, false) if !is_simple => {}
            (times, _) => {
                wrong.push(format!("{what}: {user} is offline {times} times, {is_there}"));
            }
        }
    }
    for id in target.session_ids.iter().collect::<HashSet<_>>() {
        let there = sessions.iter().filter(|session| session.session_id == *id).count();
        match there + absent.iter().filter(|name| *name == id).count() {
            1 => {}
            0 if !is_simple || !target.platforms.is_empty() => {}
            times => wrong.push(format!("{what}: {times} receipts for the session {id}")),
        }
    }
    let is_named = |name: &String| target.user_ids.contains(name);
    if let Some(other) = offline.iter().find(|name| !is_named(name)) {
        wrong.push(format!("{what}: {other} is offline, and nobody has asked"));
    }
}

fn check_list(look: &Look, presences: &Presences, wrong: &mut Vec<String>) {
    let found: Vec<_> = look.sessions.iter().collect();
    presences.check("a list", &look.target, (look.began, look.ended), &found, wrong);
}

/// Compares the clients' records with the backends' receipts.
fn check_clients(world: &World, pushes: &[Pushed], presences: &Presences, wrong: &mut Vec<String>) {
    let pushes: HashMap<PushId, &Pushed> =
        pushes.iter().map(|pushed| (pushed.id, pushed)).collect();
    let mut told: HashMap<(&str, PushId), (Outcome, Instant)> = HashMap::new();
    for pushed in pushes.values() {
        for (receipt, at) in &pushed.receipts {
            if let Some(session) = &receipt.session {
                told.insert((&session.app_version, pushed.id), (receipt.outcome(), *at));
            }
        }
    }
    let mut codes: HashMap<&str, u32> = HashMap::new();
    for presence in &presences.all {
        // The last code counts, where there were several.
        codes.insert(&presence.session.app_version, presence.code);
    }
    let mut logs: HashMap<String, Log> = HashMap::new();
    for life in &*world.lives.lock() {
        logs.insert(life.tag.clone(), std::mem::take(&mut *life.log.lock()));
    }
    for (tag, log) in &logs {
        check_order(tag, log, wrong);
        for (id, seen_at) in &log.seen {
            let Some(pushed) = pushes.get(id) else {
                wrong.push(format!("{tag} has seen {id:?}, which is no push"));
                continue;
            };
            match told.get(&(&**tag, *id)) {
                None if pushed.given_up => {}
                None => wrong.push(format!("{tag} has seen {id:?} without a receipt")),
                Some((Outcome::Acknowledged, at)) if at < seen_at => {
                    wrong.push(format!("{tag} has seen {id:?} when it was ACKNOWLEDGED already"));
                }
                Some((Outcome::Overflowed, _)) => {
                    wrong.push(format!("{tag} has seen {id:?}, though OVERFLOWED"));
                }
                Some((Outcome::Closed, _)) if pushed.confirm == Confirm::Queued => {
                    wrong.push(format!("{tag} has seen {id:?}, though it was not queued"));
                }
                Some(_) => {}
            }
        }
        if let Some((at, what)) = log.gave_up {
            world.count("gave up waiting");
            let of_this = |presence: &&Presence| presence.session.app_version == *tag;
            let was_there = |presence: &Presence| presence.to + PATIENCE / 2 > at;
            if presences.all.iter().filter(of_this).any(was_there) {
                wrong.push(format!("{tag} has waited in vain for {what}"));
            }
        }
        if log.answers > log.calls || (log.end == Some(End::Left) && log.answers < log.calls) {
            wrong.push(format!("{tag}: {} answers to {} calls", log.answers, log.calls));
        }
        if let (Some(End::Closed(code)), Some(told)) = (log.end, codes.get(&**tag))
            && u32::from(code) != *told
        {
            wrong.push(format!("{tag} was closed with {code}, and its watchers told {told}"));
        }
    }
    for ((tag, id), (outcome, _)) in told.iter().filter(|((tag, _), _)| !tag.is_empty()) {
        let Some(log) = logs.get(*tag) else {
            wrong.push(format!("a receipt of {tag}, which never was"));
            continue;
        };
        let was_replaced = matches!(log.end, Some(End::Closed(3004 | 3005)));
        let must_have_it = match outcome {
            Outcome::Acknowledged => true,
            Outcome::Written => log.read_to_the_end,
            Outcome::Queued => log.read_to_the_end && (was_replaced || log.saw_the_quiet),
            Outcome::Expired => log.read_to_the_end && log.saw_the_quiet && !was_overflowed(log),
            _ => false,
        };
        world.count(format!("{outcome:?}"));
        if must_have_it && log.seen.iter().all(|(seen, _)| seen != id) {
            wrong.push(format!("{tag} has not seen {id:?}, though {outcome:?} ({:?})", log.end));
        }
    }
}

fn was_overflowed(log: &Log) -> bool {
    log.end == Some(End::Closed(3006))
}

fn check_order(tag: &str, log: &Log, wrong: &mut Vec<String>) {
    let mut last: HashMap<u32, u32> = HashMap::new();
    for (id, _) in &log.seen {
        let previous = last.insert(id.pusher, id.number);
        if previous.is_some_and(|previous| previous >= id.number) {
            wrong.push(format!("{tag} has seen {id:?} behind {previous:?}"));
        }
    }
}
