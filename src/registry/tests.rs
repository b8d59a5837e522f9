use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};

use futures_util::task::noop_waker_ref;

use super::*;
use crate::outbox::{Outbox, Reader, Signal};
use crate::protocol::Event;

struct Session {
    presence: Presence,
    reader: Reader,
}

fn session(user: &str, platform: &str, device: &str) -> Session {
    let (outbox, reader) = Outbox::new(1024);
    let presence = Presence {
        session_id: SessionId::random(),
        user_id: user.into(),
        platform: platform.into(),
        device_id: device.into(),
        app_version: "".into(),
        language: "".into(),
        remote_ip: "127.0.0.1".into(),
        encrypted: false,
        connected_at: SystemTime::UNIX_EPOCH,
        generation: 0,
        outbox,
    };
    Session { presence, reader }
}

impl Session {
    fn id(&self) -> String {
        self.presence.session_id.to_string()
    }

    fn close(&self) -> Option<Close> {
        match self.reader.poll_signal(&mut Context::from_waker(noop_waker_ref())) {
            Poll::Ready(Signal::Close(close)) => Some(close),
            _ => None,
        }
    }
}

fn ids(sessions: &[Arc<Presence>]) -> Vec<String> {
    let mut ids: Vec<_> = sessions.iter().map(|p| p.session_id.to_string()).collect();
    ids.sort_unstable();
    ids
}

fn sorted<const N: usize>(sessions: [&Session; N]) -> Vec<String> {
    let mut ids: Vec<_> = sessions.iter().map(|session| session.id()).collect();
    ids.sort_unstable();
    ids
}

fn told(watch: &mut Watch) -> Vec<(Change, String)> {
    let mut told = Vec::new();
    loop {
        let mut next = std::pin::pin!(watch.next());
        match next.as_mut().poll(&mut Context::from_waker(noop_waker_ref())) {
            Poll::Ready(event) => {
                let event = event.unwrap();
                told.push((event.change, event.presence.session_id.to_string()));
            }
            Poll::Pending => return told,
        }
    }
}

use std::future::Future;

#[test]
fn sessions_are_found_by_each_condition_and_by_all_together() {
    let registry = Registry::new(OneSessionPer::Device);
    let phone = session("u1", "ios", "d1");
    let browser = session("u1", "web", "d2");
    let other = session("u2", "web", "d2");
    let _members = [&phone, &browser, &other].map(|s| registry.join(s.presence.clone()));
    let select = |target: Target| ids(&registry.select(&target).present);

    assert_eq!(select(Target::everyone()), sorted([&phone, &browser, &other]));
    assert_eq!(select(Target::everyone().users(["u1"])), sorted([&phone, &browser]));
    assert_eq!(select(Target::everyone().platforms(["web"])), sorted([&browser, &other]));
    assert_eq!(select(Target::everyone().devices(["d2"])), sorted([&browser, &other]));
    assert_eq!(select(Target::everyone().sessions([phone.id()])), sorted([&phone]));
    assert_eq!(select(Target::everyone().users(["u1"]).platforms(["web"])), sorted([&browser]));
    assert_eq!(select(Target::everyone().users(["u2"]).sessions([phone.id()])), sorted([]));
    assert_eq!(select(Target::everyone().except([phone.id()])), sorted([&browser, &other]));
    assert_eq!(select(Target::everyone().users(["u1", "u1"])), sorted([&phone, &browser]));
}

#[test]
fn whoever_is_named_and_not_there_is_told() {
    let registry = Registry::new(OneSessionPer::Device);
    let phone = session("u1", "ios", "d1");
    let _member = registry.join(phone.presence.clone());
    let absent = |target: Target| registry.select(&target).absent_users;

    assert_eq!(absent(Target::everyone().users(["u0", "u1", "u2"])), ["u0".into(), "u2".into()]);
    assert_eq!(absent(Target::everyone().users(["u1"]).platforms(["web"])), ["u1".into()]);
    assert!(absent(Target::everyone().users(["u1"]).except([phone.id()])).is_empty());

    let gone = SessionId::random().to_string();
    let named = Target::everyone().sessions([&*gone, "nonsense", &*phone.id()]);
    let selection = registry.select(&named);
    assert_eq!(ids(&selection.present), [phone.id()]);
    assert_eq!(selection.absent_sessions, ["nonsense".into(), gone.into()]);

    let selection = registry.select(&Target::everyone().sessions(["nonsense"]));
    assert_eq!((selection.present.len(), selection.absent_sessions.len()), (0, 1));
}

#[test]
fn each_policy_ends_the_sessions_that_it_should() {
    for (policy, ended) in [
        (OneSessionPer::Device, [true, false, false, false]),
        (OneSessionPer::Platform, [true, true, false, false]),
        (OneSessionPer::class([&vec!["ios".to_owned()]]), [true, true, false, false]),
        (OneSessionPer::class([&vec!["ipad".into()]]), [true, true, false, false]),
        (OneSessionPer::class([&vec!["web".into(), "ios".into()]]), [true, true, true, false]),
        (
            OneSessionPer::class([&vec!["web".into()], &vec!["ios".into()]]),
            [true, true, false, false],
        ),
        (OneSessionPer::User, [true, true, true, false]),
        (OneSessionPer::None, [false; 4]),
    ] {
        let registry = Registry::new(policy.clone());
        // All are there at once under the last policy only.
        for (place, is_ended) in ended.into_iter().enumerate() {
            let older = [
                session("u1", "ios", "d1"),
                session("u1", "ios", "d2"),
                session("u1", "web", "d1"),
                session("u2", "ios", "d1"),
            ];
            let older = &older[place];
            let _older = registry.join(older.presence.clone());
            let newer = session("u1", "ios", "d1");
            let _newer = registry.join(newer.presence.clone());
            assert_eq!(older.close(), is_ended.then_some(Close::Replaced), "{policy:?} {place}");
            assert_eq!(newer.close(), None);
            assert_eq!(registry.len(), if is_ended { 1 } else { 2 });
        }
    }
}

fn mobile() -> OneSessionPer {
    let platforms = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    OneSessionPer::class([&platforms(&["linux"]), &platforms(&["ios", "android"])])
}

#[test]
fn a_login_elsewhere_ends_the_older_and_yields_to_the_newer() {
    for (policy, platform, device, is_rival) in [
        (OneSessionPer::Device, "ios", "d1", true),
        (OneSessionPer::Device, "ios", "d2", false),
        (OneSessionPer::Platform, "ios", "d2", true),
        (mobile(), "android", "d2", true),
        (mobile(), "ios", "d2", true),
        (mobile(), "web", "d1", false),
        (OneSessionPer::User, "web", "d2", true),
        (OneSessionPer::None, "ios", "d1", false),
    ] {
        for (later, wins_ties, is_ended) in
            [(1, false, true), (0, true, true), (0, false, false), (-1, true, false)]
        {
            let registry = Registry::new(policy.clone());
            let here = session("u1", "ios", "d1");
            let member = registry.join(here.presence.clone());
            let generation = member.presence().generation.checked_add_signed(later).unwrap();
            let newer = registry.give_way(&Elsewhere {
                user_id: "u1",
                platform,
                device_id: device,
                generation,
                wins_ties,
            });
            let closed = (is_rival && is_ended).then_some(Close::Replaced);
            assert_eq!(here.close(), closed, "{policy:?} {later}");
            assert_eq!(registry.is_empty(), closed.is_some());
            assert_eq!(newer.len(), usize::from(is_rival && !is_ended));
        }
    }
}

#[test]
fn a_session_is_as_new_as_its_last_login_as_somebody_else() {
    let registry = Registry::new(OneSessionPer::Device);
    let phone = session("u1", "ios", "d1");
    let mut member = registry.join(phone.presence.clone());
    let first = member.presence().generation;
    member.renew(phone.presence.clone()).unwrap();
    assert_eq!(member.presence().generation, first);
    member.renew(Presence { user_id: "u2".into(), ..phone.presence.clone() }).unwrap();
    assert!(member.presence().generation > first);
}

#[test]
fn a_session_that_was_replaced_does_not_take_the_newer_one_along() {
    let registry = Registry::new(OneSessionPer::Device);
    let (older, newer) = (session("u1", "ios", "d1"), session("u1", "ios", "d1"));
    let old_member = registry.join(older.presence.clone());
    let _member = registry.join(newer.presence.clone());
    drop(old_member);
    assert_eq!(ids(&registry.select(&Target::everyone().users(["u1"])).present), [newer.id()]);
}

#[test]
fn a_login_as_another_user_moves_the_session() {
    let registry = Registry::new(OneSessionPer::Device);
    let phone = session("u1", "ios", "d1");
    let mut member = registry.join(phone.presence.clone());
    let (_, mut watch) = registry.watch(Target::everyone());
    member.renew(Presence { user_id: "u2".into(), ..phone.presence.clone() }).unwrap();

    assert_eq!(registry.select(&Target::everyone().users(["u1"])).absent_users.len(), 1);
    for target in [Target::everyone().users(["u2"]), Target::everyone().devices(["d1"])] {
        assert_eq!(ids(&registry.select(&target).present), [phone.id()]);
    }
    let disconnected =
        Change::Disconnected { code: 0, reason: "the session has logged in anew".into() };
    assert_eq!(told(&mut watch), [(disconnected, phone.id()), (Change::Connected, phone.id())]);
    drop(member);
    assert!(registry.is_empty());
    assert!(registry.select(&Target::everyone().devices(["d1"])).present.is_empty());
}

#[test]
fn a_login_as_the_same_user_changes_nothing_for_others() {
    let registry = Registry::new(OneSessionPer::User);
    let phone = session("u1", "ios", "d1");
    let mut member = registry.join(phone.presence.clone());
    let (_, mut watch) = registry.watch(Target::everyone());
    member.renew(phone.presence.clone()).unwrap();
    assert_eq!(told(&mut watch), []);
    assert_eq!((registry.len(), phone.close()), (1, None));
}

#[test]
fn an_evicted_session_is_gone_at_once_and_does_not_come_back() {
    let registry = Registry::new(OneSessionPer::Device);
    let phone = session("u1", "ios", "d1");
    let mut member = registry.join(phone.presence.clone());
    let seen = Arc::clone(member.presence());
    // Logged in anew meanwhile: still the session that was meant.
    member.renew(phone.presence.clone()).unwrap();
    assert!(registry.evict(&seen, &Close::Kicked("out".into())));
    assert!(!registry.evict(&seen, &Close::Kicked("out".into())));
    assert!(registry.is_empty());
    assert_eq!(phone.close(), Some(Close::Kicked("out".into())));
    assert_eq!(member.renew(phone.presence.clone()), Err(Evicted));
    assert!(registry.is_empty());
}

#[test]
fn a_session_that_is_closing_already_is_out_for_its_own_reason() {
    for by_kick in [true, false] {
        let registry = Registry::new(OneSessionPer::Device);
        let phone = session("u1", "ios", "d1");
        let _member = registry.join(phone.presence.clone());
        let (_, mut watch) = registry.watch(Target::everyone());
        for _ in 0..2 {
            phone.presence.outbox.push(Arc::new(Event::new(0, vec![0; 2000].into())), None);
        }
        if by_kick {
            assert!(!registry.evict(&phone.presence, &Close::Kicked("out".into())));
        } else {
            let _newer = registry.join(session("u1", "ios", "d1").presence);
        }
        let too_slow = Change::Disconnected { code: 3006, reason: "too slow".into() };
        assert_eq!(told(&mut watch)[0], (too_slow, phone.id()));
        assert_eq!(phone.close(), Some(Close::TooSlow));
    }
}

#[test]
fn a_watch_begins_where_its_snapshot_ends() {
    let registry = Registry::new(OneSessionPer::Device);
    let (before, after) = (session("u1", "ios", "d1"), session("u2", "ios", "d2"));
    let member = registry.join(before.presence.clone());
    let (snapshot, mut watch) = registry.watch(Target::everyone());
    let other = registry.join(after.presence.clone());
    member.leave(1000, "bye");
    drop(other);
    assert_eq!(ids(&snapshot), [before.id()]);
    let mut told = told(&mut watch);
    told.sort_by_key(|(_, id)| *id != before.id());
    let bye = Change::Disconnected { code: 1000, reason: "bye".into() };
    let lost = Change::Disconnected { code: 1006, reason: "the connection was lost".into() };
    assert_eq!(told, [(bye, before.id()), (Change::Connected, after.id()), (lost, after.id())]);
}

#[test]
fn a_watch_hears_of_its_target_only_and_ends_when_dropped() {
    let registry = Registry::new(OneSessionPer::Device);
    let (_, mut watch) = registry.watch(Target::everyone().users(["u1"]));
    drop(registry.join(session("u2", "ios", "d2").presence));
    assert_eq!(told(&mut watch), []);
    drop(watch);
    assert!(registry.sessions.all().all(|shard| shard.watchers.is_empty()));
}

#[test]
fn a_watcher_that_does_not_read_is_told_that_it_is_behind() {
    let registry = Registry::new(OneSessionPer::Device);
    let (_, mut watch) = registry.watch(Target::everyone());
    for _ in 0..70_000 {
        drop(registry.join(session("u", "ios", "d").presence));
    }
    let mut seen = 0;
    loop {
        let mut next = std::pin::pin!(watch.next());
        match next.as_mut().poll(&mut Context::from_waker(noop_waker_ref())) {
            Poll::Ready(Ok(_)) => seen += 1,
            Poll::Ready(Err(Behind)) => break,
            Poll::Pending => panic!("it should be behind"),
        }
    }
    assert_eq!(seen, 128 * 1024);
}

#[test]
fn many_threads_leave_nothing_behind() {
    let registry = Registry::new(OneSessionPer::Device);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let registry = Arc::clone(&registry);
            scope.spawn(move || {
                for turn in 0..2_000 {
                    let user = ["a", "b", "c"][(thread + turn) % 3];
                    let s = session(user, "ios", ["1", "2"][turn % 2]);
                    let mut member = registry.join(s.presence.clone());
                    let moved = Presence { user_id: "d".into(), ..s.presence.clone() };
                    if turn % 5 == 0 {
                        let _evicted = member.renew(moved);
                    }
                    if turn % 7 == 0 {
                        let all = registry.select(&Target::everyone()).present;
                        let mut seen = ids(&all);
                        seen.dedup();
                        assert_eq!(seen.len(), all.len(), "a session was there twice");
                    }
                    if turn % 11 == 0 {
                        registry.evict(&s.presence, &Close::Kicked("".into()));
                    }
                }
            });
        }
    });
    assert!(registry.is_empty());
    assert!(registry.users.all().all(|table| table.is_empty()));
    assert!(registry.devices.all().all(|table| table.is_empty()));
}

#[test]
fn a_session_that_logs_in_anew_meanwhile_is_found_once() {
    // Many users and devices, so that there is time in between.
    let nth = |letter: &str, nth: usize| format!("{letter}{nth}");
    let all = |letter| (0..200).map(move |n| nth(letter, n));
    let by_user = Target::everyone().users(all("u"));
    let by_device = Target::everyone().devices(all("d"));
    let registry = Registry::new(OneSessionPer::Device);
    let one = session("u0", "ios", "d0");
    let mut membership = registry.join(one.presence.clone());
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0.. {
                if is_done.load(Ordering::Relaxed) {
                    return;
                }
                let user_id = nth("u", turn * 67 % 200).into();
                let device_id = nth("d", turn * 67 % 200).into();
                let moved = Presence { user_id, device_id, ..one.presence.clone() };
                membership.renew(moved).unwrap();
            }
        });
        let mut found = [0; 2];
        for _ in 0..3000 {
            let selected = registry.select(&by_user);
            found[0] = found[0].max(selected.present.len());
            assert_eq!(selected.absent_users.len(), 200 - selected.present.len());
            found[1] = found[1].max(registry.select(&by_device).present.len());
        }
        is_done.store(true, Ordering::Relaxed);
        assert_eq!(found, [1, 1]);
    });
}
