use super::*;

const A: u64 = 1;
const B: u64 = 2;

fn member(node: u64) -> Option<Arc<str>> {
    [(A, "a"), (B, "b")].into_iter().find(|(known, _)| *known == node).map(|(_, name)| name.into())
}

fn members() -> Vec<Member> {
    [A, B].into_iter().filter_map(|node| Some((node, member(node)?))).collect()
}

fn about_user() -> Survey {
    Survey::new(vec![Question::user("u".into(), false, Vec::new(), false)])
}

fn about_everybody() -> Survey {
    let (sessions, users) = (vec!["s".into(), "t".into()], vec!["v".into(), "w".into()]);
    Survey::new(vec![Question::everybody(members(), true, sessions, users)])
}

/// An answer of a gateway that has named all of its sessions.
fn answer(node: u64, sessions: &[&'static str]) -> Answer {
    Answer {
        node,
        name: format!("node {node}"),
        sessions: sessions.iter().map(|name| Bytes::from_static(name.as_bytes())).collect(),
        is_named: true,
        is_user_here: !sessions.is_empty(),
        is_last: sessions.is_empty(),
        ..Answer::default()
    }
}

/// Its next one: the outcome of its first session, and no more.
fn confirmed(node: u64) -> Answer {
    Answer {
        node,
        number: 1,
        outcomes: vec![outcomes::pack(0, Outcome::Confirmed)],
        is_last: true,
        ..Answer::default()
    }
}

fn session(name: &'static str) -> News {
    News::Session(Bytes::from_static(name.as_bytes()))
}

fn outcome(name: &'static str, outcome: Outcome) -> News {
    News::Outcome(Bytes::from_static(name.as_bytes()), outcome)
}

#[test]
fn a_user_for_whom_nobody_listens_is_offline_at_once() {
    let mut survey = about_user();
    assert_eq!(survey.hear(0, None, Instant::now(), member), [News::Offline("u".into())]);
    assert!(survey.is_done());
    let mut here = Survey::new(vec![Question::user("u".into(), true, Vec::new(), false)]);
    assert_eq!(here.hear(0, None, Instant::now(), member), []);
    assert!(here.is_done());
}

#[test]
fn the_only_holder_is_enough() {
    let (mut survey, now) = (about_user(), Instant::now());
    assert_eq!(survey.hear(0, Some(answer(A, &["x"])), now, member), [session("x")]);
    assert!(survey.is_named() && !survey.is_done());
    let told = survey.hear(0, Some(confirmed(A)), now, member);
    assert_eq!(told, [outcome("x", Outcome::Confirmed)]);
    assert!(survey.is_done());
}

#[test]
fn co_holders_that_are_named_are_waited_for() {
    let (mut survey, now) = (about_user(), Instant::now());
    let first = Answer { co_holders: vec![B], ..answer(A, &[]) };
    assert_eq!(survey.hear(0, Some(first), now, member), []);
    assert!(!survey.is_named(), "b has not answered");
    assert_eq!(survey.hear(0, Some(answer(B, &["y"])), now, member), [session("y")]);
    assert!(survey.is_named());
}

#[test]
fn a_co_holder_that_is_not_there_any_more_is_a_doubt() {
    let (mut survey, now) = (about_user(), Instant::now());
    let first = Answer { co_holders: vec![99], ..answer(A, &["x"]) };
    let news = survey.hear(0, Some(first), now, member);
    assert_eq!(news, [session("x"), News::UnknownUser("u".into())]);
}

#[test]
fn a_user_is_not_offline_while_a_gateway_is_overdue() {
    let now = Instant::now();
    let overdue = || Survey::new(vec![Question::user("u".into(), false, Vec::new(), true)]);
    assert_eq!(overdue().hear(0, None, now, member), [News::UnknownUser("u".into())]);
    assert_eq!(overdue().hear(0, Some(answer(A, &["x"])), now, member), [session("x")]);
}

#[test]
fn those_who_may_not_know_all_are_doubted_while_a_gateway_is_overdue() {
    let now = Instant::now();
    let user = || Question::user("u".into(), true, Vec::new(), true);
    let mut survey = Survey::new(vec![user()]);
    let first = Answer { is_unsettled: true, ..answer(A, &["x"]) };
    assert_eq!(survey.hear(0, Some(first), now, member), [session("x")]);
    assert_eq!(survey.pass(survey.passes_at().unwrap()), [News::UnknownUser("u".into())]);
}

#[test]
fn a_holder_that_is_known_and_cannot_be_asked_is_a_doubt() {
    let known = vec![(B, "b".into())];
    let mut survey = Survey::new(vec![Question::user("u".into(), true, known, false)]);
    assert_eq!(survey.hear(0, None, Instant::now(), member), [News::UnknownUser("u".into())]);
    assert!(survey.is_done());
}

#[test]
fn a_user_that_has_just_come_is_waited_for_a_little_longer() {
    let (mut survey, now) = (about_user(), Instant::now());
    let first = Answer { is_unsettled: true, ..answer(A, &[]) };
    survey.hear(0, Some(first), now, member);
    assert!(!survey.is_named());
    let at = survey.passes_at().unwrap();
    assert_eq!(survey.pass(at - Duration::from_millis(1)), []);
    assert_eq!(survey.pass(at), [News::Offline("u".into())]);
    assert_eq!(survey.passes_at(), None);
}

#[test]
fn all_members_answer_for_everybody() {
    let (mut survey, now) = (about_everybody(), Instant::now());
    let both = vec!["s".to_owned(), "t".to_owned()];
    let users = vec!["w".to_owned(), "v".to_owned()];
    let first = Answer { absent_sessions: both, absent_users: users, ..answer(A, &[]) };
    assert_eq!(survey.hear(0, Some(first), now, member), []);
    let (sessions, users) = (vec!["s".into()], vec!["w".into()]);
    let second = Answer { absent_sessions: sessions, absent_users: users, ..answer(B, &["t"]) };
    assert_eq!(
        survey.hear(0, Some(second), now, member),
        [session("t"), News::NoSession("s".into()), News::Offline("w".into())]
    );
}

#[test]
fn what_a_lost_gateway_would_have_said_is_unknown() {
    let (mut survey, now) = (about_user(), Instant::now());
    survey.hear(0, Some(answer(A, &["x"])), now, member);
    assert_eq!(survey.lose(|_| false, now), [outcome("x", Outcome::Expired)]);
    assert!(survey.is_done());
    assert_eq!(survey.hear(0, Some(confirmed(A)), now, member), [], "too late");

    let mut survey = about_user();
    survey.hear(0, Some(Answer { co_holders: vec![B], ..answer(A, &[]) }), now, member);
    assert_eq!(survey.lose(|node| node != B, now), [News::UnknownUser("u".into())]);

    let mut survey = about_everybody();
    assert_eq!(survey.lose(|node| node != B, now), [News::UnknownNode("b".into())]);
    assert!(!survey.is_named());
}

#[test]
fn the_only_holder_may_be_lost_before_it_has_answered() {
    let (mut survey, now) = (about_user(), Instant::now());
    assert_eq!(survey.lose(|_| true, now), [], "somebody has gone since it was asked");
    let at = survey.passes_at().unwrap();
    assert_eq!(survey.pass(at), [News::UnknownUser("u".into())]);
    assert!(survey.is_done());

    let mut survey = about_user();
    survey.lose(|_| true, now);
    let news = survey.hear(0, Some(answer(A, &["x"])), now, member);
    assert_eq!((news, survey.pass(at)), (vec![session("x")], vec![]), "it was another one");
}

#[test]
fn a_gateway_whose_answer_was_lost_is_not_believed() {
    let (mut survey, now) = (about_user(), Instant::now());
    survey.hear(0, Some(answer(A, &["x"])), now, member);
    let late = Answer { number: 2, ..confirmed(A) };
    assert_eq!(survey.hear(0, Some(late), now, member), [outcome("x", Outcome::Expired)]);
    assert!(survey.is_done());

    let mut survey = about_user();
    let news = survey.hear(0, Some(confirmed(A)), now, member);
    assert_eq!(news, [News::UnknownUser("u".into())]);
}

#[test]
fn at_the_deadline_nothing_is_said_of_what_is_not_known() {
    let mut survey = about_user();
    assert_eq!(survey.give_up(), [News::UnknownUser("u".into())]);
    assert!(survey.is_done());

    let (mut survey, now) = (about_everybody(), Instant::now());
    survey.hear(0, Some(answer(A, &["x"])), now, member);
    let unknown = [
        News::UnknownNode("b".into()),
        outcome("x", Outcome::Expired),
        // Of neither a has said that it is there.
    ];
    let news = survey.give_up();
    assert_eq!(news[..2], unknown);
    assert!(!news.iter().any(|news| matches!(news, News::NoSession(_))), "who knows");
}

#[test]
fn nobody_listens_although_some_should() {
    let mut survey = about_everybody();
    let news = survey.hear(0, None, Instant::now(), member);
    let unknown = news.iter().filter(|news| matches!(news, News::UnknownNode(_)));
    assert_eq!(unknown.count(), 2);
    assert!(survey.is_done());
}
