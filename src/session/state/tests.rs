//! Scenarios: sequences of events, and the effects that they must have.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::call::Client;
use crate::protocol::Request;
use crate::session::sweeper::Timeouts;

const SECOND: Duration = Duration::from_secs(1);
const NOON: SystemTime = SystemTime::UNIX_EPOCH;

/// Records effects, in the order in which they happen.
#[derive(Default)]
struct Recorder {
    log: Vec<String>,
    in_flight: usize,
    encrypted: bool,
    sealed: bool,
    /// A description needs a verification.
    change_matters: bool,
    /// The key service does not take a key.
    no_key: Option<Unwrapping>,
    /// An earlier reason to close.
    closing: Option<Close>,
}

impl Recorder {
    fn note(&mut self, effect: impl Into<String>) {
        self.log.push(effect.into());
    }
}

fn said(reply: &Reply) -> String {
    let Reply { head, outcome } = reply;
    match outcome {
        Outcome::Failure(failure) => format!("{}: {} {}", head.req_id, failure.code, failure.text),
        _ => format!("{}: {}", head.req_id, outcome.code()),
    }
}

impl Effects for Recorder {
    fn reply(&mut self, reply: Reply) {
        self.note(said(&reply));
    }
    fn reply_first(&mut self, reply: Reply) {
        self.note(format!("first {}", said(&reply)));
    }
    fn refuse(&mut self, _: &Caller, _: &RequestHead, refused: Refused) -> Failure {
        refused.failure()
    }
    fn call(&mut self, caller: &mut Caller, request: &Request) -> Result<(), Refused> {
        if !caller.has_user() {
            return Err(Refused::new(Refusal::NotLoggedIn, "not logged in"));
        }
        self.in_flight += 1;
        let user = caller.value(Member::UserId);
        self.note(format!("call {} as {user}", request.req_id));
        Ok(())
    }
    fn in_flight(&self) -> usize {
        self.in_flight
    }
    fn verify_login(&mut self, _: &Caller, credentials: &Credentials) {
        self.note(format!("verify {}", credentials.user_id));
    }
    fn verify_change(&mut self, caller: &Caller, device: &Description) -> bool {
        let verifies = self.change_matters && caller.has_user();
        if verifies {
            self.note(format!("verify device {}", device.device_id));
        }
        verifies
    }
    fn review(&mut self, _: &Caller) {
        self.note("review");
    }
    fn cancel_review(&mut self) {
        self.note("cancel review");
    }
    fn unwrap(&mut self, _: KeyExchange) -> Result<(), Unwrapping> {
        if let Some(why) = self.no_key {
            return Err(why);
        }
        self.note("unwrap");
        Ok(())
    }
    fn switch(&mut self, _: Cipher) {
        self.encrypted = true;
        self.note("switch");
    }
    fn is_encrypted(&self) -> bool {
        self.encrypted
    }
    fn set_stage(&mut self, stage: Stage) {
        self.note(format!("{stage:?}"));
    }
    fn set_expiry(&mut self, at: Option<SystemTime>) {
        let seconds = at.map(|at| at.duration_since(NOON).unwrap().as_secs());
        self.note(format!("expires {seconds:?}"));
    }
    fn join(&mut self, caller: &Caller) {
        let (user, device) = (caller.value(Member::UserId), caller.value(Member::DeviceId));
        self.note(format!("join {user}/{device}"));
    }
    fn leave(&mut self, _: &Caller, why: &Close) {
        self.note(format!("leave {}", why.code()));
    }
    fn refuse_pushes(&mut self) {
        self.note("no pushes");
    }
    fn take_pushes(&mut self) {
        self.note("pushes");
    }
    fn is_sealed(&self) -> bool {
        self.sealed
    }
    fn close(&mut self, why: Close) -> Close {
        self.closing.clone().unwrap_or(why)
    }
    fn count_login(&mut self, result: &'static str) {
        self.note(format!("login {result}"));
    }
    fn count_handshake(&mut self) {
        self.note("handshake");
    }
}

/// A session and its surroundings.
struct Session {
    state: State,
    fx: Recorder,
    config: Config,
    now: SystemTime,
}

impl Session {
    fn new() -> Self {
        let client = Client {
            remote_ip: [127, 0, 0, 1].into(),
            user_agent: String::new(),
            trace_parent: None,
        };
        let timeouts =
            Timeouts { handshake: SECOND, login: SECOND, ping_interval: SECOND, pong: SECOND };
        let config = Config {
            platforms: vec!["web".into(), "ios".into()],
            device_is_package: false,
            require_encryption: false,
            max_in_flight: 2,
            outbox: 1000,
            max_message: 1000,
            timeouts,
        };
        let state = State::new(Caller::new(client, "s".into()));
        Self { state, fx: Recorder::default(), config, now: NOON }
    }

    /// A session that has described itself.
    fn described() -> Self {
        let mut session = Self::new();
        session.describe("1", "web", "d", KeyOffer::Absent).unwrap();
        session.fx.log.clear();
        session
    }

    /// A session of `alice`, whose login ends after so many seconds.
    fn logged_in(seconds: Option<u64>) -> Self {
        let mut session = Self::described();
        session.log_in("2", "alice").unwrap();
        session.verified(accepted(seconds)).unwrap();
        session.fx.log.clear();
        session
    }

    fn message(&mut self, message: Result<Incoming, Unreadable>) -> Next {
        self.state.on_message(message, &self.config, &mut self.fx)
    }

    fn control(&mut self, id: &str, control: Control) -> Next {
        self.message(Ok(Incoming::Control(head(id), control)))
    }

    fn describe(&mut self, id: &str, platform: &str, device: &str, key: KeyOffer) -> Next {
        self.control(
            id,
            Control::Describe(Ok(Box::new(Description {
                platform: platform.into(),
                device_id: device.into(),
                package_id: "p".into(),
                key,
                ..Description::default()
            }))),
        )
    }

    fn log_in(&mut self, id: &str, user: &str) -> Next {
        let credentials = Credentials { user_id: user.into(), token: "t".into() };
        self.control(id, Control::LogIn(Ok(Box::new(credentials))))
    }

    fn call(&mut self, id: &str) -> Next {
        let request = Request { req_id: id.into(), method: "/m".into(), data: Bytes::new() };
        self.message(Ok(Incoming::Call(request)))
    }

    fn replied(&mut self, id: &str) -> Next {
        self.fx.in_flight -= 1;
        let reply = Reply { head: head(id), outcome: Outcome::EMPTY };
        self.state.on_replied(reply, &mut self.fx)
    }

    fn verified(&mut self, verdict: Verdict) -> Next {
        self.state.on_login_verified(verdict, &mut self.fx)
    }

    fn change_verified(&mut self, verdict: Verdict) -> Next {
        self.state.on_change_verified(verdict, &mut self.fx)
    }

    fn unwrapped(&mut self) -> Next {
        self.state.on_unwrapped(Some(Cipher::derive(b"k", b"i")), &mut self.fx)
    }

    fn flushed(&mut self) -> Next {
        self.state.on_flushed(&mut self.fx)
    }

    fn review_due(&mut self) {
        self.state.on_review_due(self.now, &mut self.fx);
    }

    fn reviewed(&mut self, verdict: Verdict) -> Next {
        self.state.on_reviewed(verdict, self.now, &mut self.fx)
    }

    fn expired(&mut self) {
        self.state.on_expired(self.now, &mut self.fx);
    }

    fn closed(&mut self, why: Close) -> Next {
        self.state.on_close(why, &mut self.fx)
    }

    fn appetite(&self, blocked: bool) -> Appetite {
        self.state.appetite(&self.config, self.fx.in_flight, blocked)
    }

    /// The effects since the last time.
    fn effects(&mut self) -> Vec<String> {
        std::mem::take(&mut self.fx.log)
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn head(id: &str) -> RequestHead {
    RequestHead { req_id: id.into(), method: "/m".into() }
}

fn accepted(seconds: Option<u64>) -> Verdict {
    Verdict::Accepted { expires_at: seconds.map(|seconds| NOON + Duration::from_secs(seconds)) }
}

fn refused() -> Verdict {
    Verdict::Refused { reason: "no".into() }
}

fn unknown() -> Verdict {
    Verdict::Unavailable { cause: "down".into() }
}

fn key() -> KeyOffer {
    let iv = WrappedIv::Client(Bytes::new());
    KeyOffer::Complete(KeyExchange { aes_key: Bytes::new(), iv })
}

/// The close code of a session that ends.
#[track_caller]
fn code(next: Next) -> u16 {
    match next {
        Err(Ended::Closed(close)) => close.code(),
        other => panic!("{other:?}"),
    }
}

mod messages {
    use super::*;

    #[test]
    fn a_sign_of_life_is_answered() {
        let mut session = Session::new();
        session.control("1", Control::KeepAlive).unwrap();
        assert_eq!(session.effects(), ["1: Success"]);
    }

    #[test]
    fn a_call_before_the_login_is_refused() {
        let mut session = Session::described();
        session.call("1").unwrap();
        assert_eq!(session.effects(), ["1: AuthError not logged in"]);
    }

    #[test]
    fn a_call_is_made_as_the_user_and_its_reply_passed_on() {
        let mut session = Session::logged_in(None);
        session.call("1").unwrap();
        session.replied("1").unwrap();
        assert_eq!(session.effects(), ["call 1 as alice", "1: Success"]);
    }

    #[test]
    fn replies_leave_in_the_order_in_which_calls_end() {
        let mut session = Session::logged_in(None);
        session.call("1").unwrap();
        session.call("2").unwrap();
        session.replied("2").unwrap();
        session.replied("1").unwrap();
        assert_eq!(session.effects()[2..], ["2: Success", "1: Success"]);
    }

    #[test]
    fn malformed_data_is_refused_and_the_session_goes_on() {
        let mut session = Session::new();
        session.control("1", Control::LogIn(Err(Malformed("not a message")))).unwrap();
        session.control("2", Control::KeepAlive).unwrap();
        assert_eq!(session.effects(), ["1: RequestError not a message", "2: Success"]);
    }

    #[test]
    fn a_message_that_is_no_request_is_answered_without_an_id() {
        let mut session = Session::new();
        session.message(Err(Unreadable::Strike)).unwrap();
        assert_eq!(session.effects(), [": RequestError a frame that is no RequestBody"]);
    }

    #[test]
    fn eight_messages_in_a_row_that_are_no_requests_end_the_session() {
        let mut session = Session::new();
        for _ in 1..MAX_STRIKES {
            session.message(Err(Unreadable::Strike)).unwrap();
        }
        assert_eq!(code(session.message(Err(Unreadable::Strike))), 1008);
        assert_eq!(session.effects().len(), 8, "the last one is answered, too");
    }

    #[test]
    fn a_request_between_forgives() {
        let mut session = Session::new();
        for _ in 0..3 {
            for _ in 1..MAX_STRIKES {
                session.message(Err(Unreadable::Strike)).unwrap();
            }
            session.control("1", Control::KeepAlive).unwrap();
        }
    }

    #[test]
    fn a_refused_request_forgives_as_well() {
        let mut session = Session::new();
        for _ in 1..MAX_STRIKES {
            session.message(Err(Unreadable::Strike)).unwrap();
        }
        session.call("1").unwrap();
        session.message(Err(Unreadable::Strike)).unwrap();
    }

    #[test]
    fn a_fatal_message_ends_the_session_without_a_reply() {
        let mut session = Session::logged_in(None);
        let fatal = Err(Unreadable::Fatal(Close::ProtocolError));
        assert_eq!(code(session.message(fatal)), 1008);
        assert_eq!(session.effects(), [""; 0]);
    }
}

mod describing {
    use super::*;

    #[test]
    fn a_description_without_a_key_is_answered_at_once() {
        let mut session = Session::new();
        session.describe("1", "web", "d", KeyOffer::Absent).unwrap();
        assert_eq!(session.effects(), ["Described", "1: Success"]);
        assert_eq!(session.appetite(false), Appetite::Messages);
    }

    #[test]
    fn a_second_description_does_not_change_the_stage() {
        let mut session = Session::described();
        session.describe("2", "ios", "e", KeyOffer::Absent).unwrap();
        assert_eq!(session.effects(), ["2: Success"]);
    }

    #[test]
    fn an_unknown_platform_ends_the_session() {
        let mut session = Session::new();
        assert_eq!(code(session.describe("1", "toaster", "d", KeyOffer::Absent)), 3002);
    }

    #[test]
    fn a_missing_platform_is_no_matter_before_the_login() {
        let mut session = Session::new();
        session.describe("1", "", "", KeyOffer::Absent).unwrap();
        assert_eq!(session.effects(), ["Described", "1: Success"]);
    }

    #[test]
    fn a_long_field_is_refused() {
        let mut session = Session::new();
        session.describe("1", "web", &"d".repeat(1025), KeyOffer::Absent).unwrap();
        assert_eq!(session.effects(), ["1: RequestError a field is longer than 1,024 bytes"]);
    }

    #[test]
    fn a_device_id_that_no_header_can_hold_is_refused() {
        let mut session = Session::new();
        session.describe("1", "web", &"é".repeat(100), KeyOffer::Absent).unwrap();
        assert!(session.effects()[0].contains("percent-encoded"));
    }

    #[test]
    fn the_package_can_stand_for_the_device() {
        let mut session = Session::new();
        session.config.device_is_package = true;
        session.describe("1", "web", "Mozilla", KeyOffer::Absent).unwrap();
        assert_eq!(session.state.caller().value(Member::DeviceId), "p");
    }

    #[test]
    fn half_a_key_is_refused() {
        let mut session = Session::new();
        session.describe("1", "web", "d", KeyOffer::Incomplete).unwrap();
        assert_eq!(session.effects(), ["1: RequestError aesKey and aesIv go together"]);
        assert_eq!(session.state.stage, Stage::Connected);
    }

    #[test]
    fn a_key_is_missed_where_encryption_is_required() {
        let mut session = Session::new();
        session.config.require_encryption = true;
        session.describe("1", "web", "d", KeyOffer::Absent).unwrap();
        let effects = session.effects();
        assert_eq!(effects, ["1: RequestError encryption is required: send aesKey and aesIv"]);
    }

    #[test]
    fn an_encrypted_session_needs_no_further_key() {
        let mut session = Session::new();
        session.config.require_encryption = true;
        session.fx.encrypted = true;
        session.describe("1", "web", "d", KeyOffer::Absent).unwrap();
        assert_eq!(session.effects(), ["Described", "1: Success"]);
    }

    #[test]
    fn a_session_that_has_logged_in_keeps_a_platform_and_a_device() {
        for (platform, device) in [("", "d"), ("web", "")] {
            let mut session = Session::logged_in(None);
            session.describe("3", platform, device, KeyOffer::Absent).unwrap();
            assert!(session.effects()[0].starts_with("3: RequestError a session that has logged"));
            assert_eq!(session.state.caller().value(Member::DeviceId), "d");
        }
    }
}

mod keys_switch {
    use super::*;

    #[test]
    fn a_key_is_unwrapped_then_everything_is_flushed_then_the_key_changes() {
        let mut session = Session::new();
        session.describe("1", "web", "d", key()).unwrap();
        assert_eq!(session.appetite(false), Appetite::Pings, "a message behind it has to wait");
        session.unwrapped().unwrap();
        assert_eq!(session.appetite(false), Appetite::Nothing, "a pong may not overtake");
        assert_eq!(session.effects(), ["unwrap", "handshake"]);
        session.flushed().unwrap();
        assert_eq!(session.effects(), ["switch", "Described", "first 1: Success"]);
        assert_eq!(session.appetite(false), Appetite::Messages);
    }

    #[test]
    fn replies_that_come_before_the_switch_go_out_under_the_old_key() {
        let mut session = Session::logged_in(None);
        session.call("3").unwrap();
        session.describe("4", "web", "d", key()).unwrap();
        session.unwrapped().unwrap();
        session.replied("3").unwrap();
        session.flushed().unwrap();
        let effects = session.effects();
        let at = |effect: &str| effects.iter().position(|other| other == effect).unwrap();
        assert!(at("3: Success") < at("switch") && at("switch") < at("first 4: Success"));
    }

    #[test]
    fn a_flush_without_a_switch_means_nothing() {
        let mut session = Session::described();
        session.flushed().unwrap();
        session.log_in("2", "alice").unwrap();
        session.flushed().unwrap();
        session.verified(accepted(None)).unwrap();
        assert!(session.effects().contains(&"2: Success".to_owned()), "the login is not lost");
    }

    #[test]
    fn a_session_may_change_its_key_eight_times() {
        let mut session = Session::new();
        for _ in 0..MAX_KEYS {
            session.describe("1", "web", "d", key()).unwrap();
            session.unwrapped().unwrap();
            session.flushed().unwrap();
        }
        session.describe("9", "web", "d", key()).unwrap();
        assert_eq!(code(session.unwrapped()), 1008);
    }

    #[test]
    fn a_gateway_without_a_private_key_says_so() {
        let mut session = Session::new();
        session.fx.no_key = Some(Unwrapping::Unavailable);
        let Err(Ended::Closed(close)) = session.describe("1", "web", "d", key()) else { panic!() };
        assert_eq!((close.code(), close.reason()), (3001, "encryption is not available here"));
    }

    #[test]
    fn a_ciphertext_of_the_wrong_length_ends_the_session() {
        let mut session = Session::new();
        session.fx.no_key = Some(Unwrapping::Refused(keys::Refused::WrongLength));
        let Err(Ended::Closed(close)) = session.describe("1", "web", "d", key()) else { panic!() };
        assert!(close.code() == 3001 && close.reason().contains("aesIv"));
        let iv = WrappedIv::Gateway([0; 16]);
        let key = KeyOffer::Complete(KeyExchange { aes_key: Bytes::new(), iv });
        let Err(Ended::Closed(close)) = session.describe("1", "web", "d", key) else { panic!() };
        assert_eq!(close.reason(), "aesKey is not as long as the RSA modulus");
    }

    #[test]
    fn too_many_handshakes_at_once_are_a_full_gateway() {
        let mut session = Session::new();
        session.fx.no_key = Some(Unwrapping::Refused(keys::Refused::Busy));
        assert_eq!(code(session.describe("1", "web", "d", key())), 1013);
    }

    #[test]
    fn a_key_service_that_is_gone_means_that_the_gateway_stops() {
        let mut session = Session::new();
        session.describe("1", "web", "d", key()).unwrap();
        assert_eq!(code(session.state.on_unwrapped(None, &mut session.fx)), 1001);
    }

    #[test]
    fn an_unknown_platform_is_found_before_a_key_is_unwrapped() {
        let mut session = Session::new();
        assert_eq!(code(session.describe("1", "toaster", "d", key())), 3002);
        assert_eq!(session.effects(), [""; 0]);
    }

    #[test]
    fn a_new_key_of_a_logged_in_session_renews_its_place() {
        let mut session = Session::logged_in(None);
        session.describe("3", "web", "d", key()).unwrap();
        session.unwrapped().unwrap();
        session.flushed().unwrap();
        let effects = session.effects();
        let expected = ["unwrap", "handshake", "switch", "join alice/d", "first 3: Success"];
        assert_eq!(effects, expected);
    }
}

mod logging_in {
    use super::*;

    #[test]
    fn a_login_joins_behind_its_reply() {
        let mut session = Session::described();
        session.log_in("2", "alice").unwrap();
        assert_eq!(session.effects(), ["verify alice"]);
        assert_eq!(session.appetite(false), Appetite::Pings);
        session.verified(accepted(Some(60))).unwrap();
        assert_eq!(
            session.effects(),
            [
                "login accepted",
                "expires Some(60)",
                "Authenticated",
                "pushes",
                "2: Success",
                "join alice/d"
            ]
        );
    }

    #[test]
    fn a_refused_login_is_answered_and_ends_the_session() {
        let mut session = Session::described();
        session.log_in("2", "mallory").unwrap();
        session.effects();
        assert_eq!(code(session.verified(refused())), 3000);
        assert_eq!(session.effects(), ["login refused", "no pushes", "2: AuthError no"]);
    }

    #[test]
    fn a_login_that_cannot_be_verified_may_be_repeated() {
        let mut session = Session::described();
        session.log_in("2", "alice").unwrap();
        session.verified(unknown()).unwrap();
        let text = "2: RetryError login is not possible right now";
        assert_eq!(session.effects(), ["verify alice", "login unavailable", text]);
        session.log_in("3", "alice").unwrap();
        session.verified(accepted(None)).unwrap();
        assert!(session.effects().contains(&"join alice/d".to_owned()));
    }

    #[test]
    fn a_session_without_a_platform_cannot_log_in() {
        let mut session = Session::new();
        assert_eq!(code(session.log_in("1", "alice")), 3002);
    }

    #[test]
    fn a_refused_description_is_not_a_missing_one() {
        let mut session = Session::new();
        session.config.require_encryption = true;
        session.describe("1", "web", "d", KeyOffer::Absent).unwrap();
        let Err(Ended::Closed(close)) = session.log_in("2", "alice") else { panic!() };
        assert!(close.code() == 3002 && close.reason().contains("encryption is required"));
        session.control("3", Control::Describe(Err(Malformed("?")))).unwrap();
        let Err(Ended::Closed(close)) = session.log_in("4", "alice") else { panic!() };
        assert!(close.code() == 3002 && close.reason().contains("malformed"));
    }

    #[test]
    fn a_session_without_a_device_cannot_log_in() {
        let mut session = Session::new();
        session.describe("1", "web", "", KeyOffer::Absent).unwrap();
        let Err(Ended::Closed(close)) = session.log_in("2", "alice") else { panic!() };
        assert_eq!(close, Close::DeviceId);
        session.config.device_is_package = true;
        let Err(Ended::Closed(close)) = session.log_in("2", "alice") else { panic!() };
        assert_eq!(close, Close::PackageId);
    }

    #[test]
    fn a_long_user_id_is_refused_and_the_session_goes_on() {
        let mut session = Session::described();
        session.log_in("2", &"a".repeat(513)).unwrap();
        assert!(session.effects()[0].starts_with("2: RequestError userId is longer"));
        assert_eq!(session.appetite(false), Appetite::Messages);
    }

    #[test]
    fn a_long_token_is_a_refused_login() {
        let mut session = Session::described();
        let credentials = Credentials { user_id: "alice".into(), token: "t".repeat(4097) };
        assert_eq!(code(session.control("2", Control::LogIn(Ok(Box::new(credentials))))), 3000);
        let effects = session.effects();
        assert_eq!(effects[2], "2: AuthError token is too long: 4096 bytes at most");
    }

    #[test]
    fn a_session_that_has_to_close_does_not_log_in() {
        let mut session = Session::described();
        session.log_in("2", "alice").unwrap();
        session.fx.sealed = true;
        session.effects();
        session.verified(accepted(None)).unwrap();
        assert_eq!(session.effects(), [""; 0], "the user's other sessions are not evicted");
    }

    #[test]
    fn calls_under_way_stay_those_of_the_user_before() {
        let mut session = Session::logged_in(None);
        session.call("3").unwrap();
        session.log_in("4", "bob").unwrap();
        session.verified(accepted(None)).unwrap();
        session.replied("3").unwrap();
        session.call("5").unwrap();
        let effects = session.effects();
        assert_eq!(
            (&*effects[0], &**effects.last().unwrap()),
            ("call 3 as alice", "call 5 as bob")
        );
    }

    #[test]
    fn another_user_takes_the_place_of_the_one_before() {
        let mut session = Session::logged_in(None);
        session.log_in("3", "bob").unwrap();
        session.verified(accepted(None)).unwrap();
        assert_eq!(session.effects().last().unwrap(), "join bob/d");
    }

    #[test]
    fn a_refused_second_login_drops_the_pushes_of_the_first_user() {
        let mut session = Session::logged_in(None);
        session.log_in("3", "bob").unwrap();
        assert_eq!(code(session.verified(refused())), 3000);
        assert!(session.effects().contains(&"no pushes".to_owned()));
    }

    #[test]
    fn a_login_that_cannot_be_verified_leaves_the_login_of_before() {
        let mut session = Session::logged_in(None);
        session.log_in("3", "bob").unwrap();
        session.verified(unknown()).unwrap();
        session.call("4").unwrap();
        assert_eq!(session.effects().last().unwrap(), "call 4 as alice");
    }

    #[test]
    fn a_new_login_cancels_the_review_of_the_one_before() {
        let mut session = Session::logged_in(Some(60));
        session.review_due();
        session.log_in("3", "alice").unwrap();
        session.verified(accepted(None)).unwrap();
        assert!(session.effects().contains(&"cancel review".to_owned()));
        session.review_due();
        assert_eq!(session.effects(), ["review"], "and the next one is due again");
    }
}

mod changing_device {
    use super::*;

    fn changing() -> Session {
        let mut session = Session::logged_in(Some(60));
        session.fx.change_matters = true;
        session
    }

    #[test]
    fn a_change_is_verified_before_it_holds() {
        let mut session = changing();
        session.describe("3", "ios", "e", KeyOffer::Absent).unwrap();
        assert_eq!(session.effects(), ["verify device e"]);
        assert_eq!(session.state.caller().value(Member::DeviceId), "d");
        session.change_verified(accepted(Some(90))).unwrap();
        assert_eq!(session.effects(), ["expires Some(90)", "join alice/e", "3: Success"]);
    }

    #[test]
    fn a_refused_change_leaves_the_session_as_it_was() {
        let mut session = changing();
        session.describe("3", "ios", "e", KeyOffer::Absent).unwrap();
        session.change_verified(refused()).unwrap();
        assert_eq!(session.effects()[1..], ["3: AuthError no"]);
        assert_eq!(session.state.caller().value(Member::Platform), "web");
    }

    #[test]
    fn eight_refused_changes_end_the_session() {
        let mut session = changing();
        for _ in 1..MAX_REFUSED_CHANGES {
            session.describe("3", "ios", "e", KeyOffer::Absent).unwrap();
            session.change_verified(refused()).unwrap();
        }
        session.describe("3", "ios", "e", KeyOffer::Absent).unwrap();
        assert_eq!(code(session.change_verified(refused())), 3000);
    }

    #[test]
    fn a_change_that_cannot_be_verified_may_be_repeated() {
        let mut session = changing();
        session.describe("3", "ios", "e", KeyOffer::Absent).unwrap();
        session.change_verified(unknown()).unwrap();
        assert!(session.effects()[1].starts_with("3: RetryError"));
        session.describe("4", "ios", "e", KeyOffer::Absent).unwrap();
        session.change_verified(accepted(None)).unwrap();
        assert_eq!(session.effects().last().unwrap(), "4: Success");
    }

    #[test]
    fn a_key_is_unwrapped_only_for_a_change_that_is_accepted() {
        let mut session = changing();
        session.describe("3", "ios", "e", key()).unwrap();
        session.change_verified(refused()).unwrap();
        assert!(!session.effects().contains(&"unwrap".to_owned()));
        session.describe("4", "ios", "e", key()).unwrap();
        session.change_verified(accepted(None)).unwrap();
        session.unwrapped().unwrap();
        session.flushed().unwrap();
        let effects = session.effects();
        let expected = [
            "verify device e",
            "unwrap",
            "handshake",
            "switch",
            "expires None",
            "join alice/e",
            "first 4: Success",
        ];
        assert_eq!(effects, expected);
    }

    #[test]
    fn an_accepted_change_cancels_the_review_of_the_device_of_before() {
        let mut session = changing();
        session.review_due();
        session.describe("3", "ios", "e", KeyOffer::Absent).unwrap();
        session.change_verified(accepted(None)).unwrap();
        assert!(session.effects().contains(&"cancel review".to_owned()));
    }

    #[test]
    fn messages_wait_while_a_change_is_verified() {
        let mut session = changing();
        session.describe("3", "ios", "e", KeyOffer::Absent).unwrap();
        assert_eq!(session.appetite(false), Appetite::Pings);
    }
}

mod reviewing {
    use super::*;

    #[test]
    fn a_review_extends_the_login() {
        let mut session = Session::logged_in(Some(60));
        session.review_due();
        session.reviewed(accepted(Some(120))).unwrap();
        assert_eq!(session.effects(), ["review", "expires Some(120)"]);
        session.pass(100);
        session.expired();
        assert_eq!(session.effects(), [""; 0]);
    }

    #[test]
    fn messages_are_taken_during_a_review() {
        let mut session = Session::logged_in(None);
        session.review_due();
        assert_eq!(session.appetite(false), Appetite::Messages);
    }

    #[test]
    fn one_review_at_a_time() {
        let mut session = Session::logged_in(None);
        session.review_due();
        session.review_due();
        assert_eq!(session.effects(), ["review"]);
    }

    #[test]
    fn a_session_without_a_login_is_not_reviewed() {
        let mut session = Session::described();
        session.review_due();
        assert_eq!(session.effects(), [""; 0]);
    }

    #[test]
    fn a_revoked_login_ends_the_session() {
        let mut session = Session::logged_in(None);
        session.review_due();
        let Err(Ended::Closed(close)) = session.reviewed(refused()) else { panic!() };
        assert_eq!(close, Close::LoginRevoked);
        assert_eq!(session.effects(), ["review", "no pushes"]);
    }

    #[test]
    fn a_review_without_a_verdict_is_tried_again() {
        let mut session = Session::logged_in(None);
        session.review_due();
        session.reviewed(unknown()).unwrap();
        session.review_due();
        assert_eq!(session.effects(), ["review", "review"]);
    }

    #[test]
    fn a_login_that_expires_during_its_review_has_its_grace() {
        let mut session = Session::logged_in(Some(60));
        session.review_due();
        session.pass(60);
        session.reviewed(refused()).unwrap();
        assert_eq!(session.effects(), ["review", "no pushes", "Expired", "leave 3000"]);
    }

    #[test]
    fn an_expired_login_leaves_the_registry_once() {
        let mut session = Session::logged_in(Some(60));
        session.pass(60);
        session.expired();
        assert_eq!(session.effects(), ["no pushes", "Expired", "leave 3000"]);
        session.expired();
        assert_eq!(session.effects(), ["no pushes", "Expired"]);
    }

    #[test]
    fn an_expiry_that_comes_behind_a_new_login_means_nothing() {
        let mut session = Session::logged_in(Some(60));
        session.pass(59);
        session.log_in("3", "alice").unwrap();
        session.verified(accepted(Some(600))).unwrap();
        session.pass(1);
        session.effects();
        session.expired();
        assert_eq!(session.effects(), [""; 0]);
    }

    #[test]
    fn a_login_after_the_expiry_joins_again() {
        let mut session = Session::logged_in(Some(60));
        session.pass(60);
        session.expired();
        session.log_in("3", "alice").unwrap();
        session.verified(accepted(Some(600))).unwrap();
        let effects = session.effects();
        assert!(effects.contains(&"pushes".to_owned()));
        assert_eq!(effects.last().unwrap(), "join alice/d");
    }

    #[test]
    fn a_description_after_the_expiry_does_not_join() {
        let mut session = Session::logged_in(Some(60));
        session.pass(60);
        session.expired();
        session.effects();
        session.describe("3", "web", "d", KeyOffer::Absent).unwrap();
        assert_eq!(session.effects(), ["3: Success"]);
    }
}

mod leaving {
    use super::*;

    #[test]
    fn an_idle_session_leaves_at_once() {
        let mut session = Session::logged_in(None);
        assert_eq!(code(session.closed(Close::GoingAway)), 1001);
    }

    #[test]
    fn calls_are_answered_before_a_session_leaves() {
        let mut session = Session::logged_in(None);
        session.call("3").unwrap();
        session.call("4").unwrap();
        session.closed(Close::GoingAway).unwrap();
        assert_eq!(session.appetite(false), Appetite::Pings, "no further call is taken");
        session.replied("3").unwrap();
        assert_eq!(code(session.replied("4")), 1001);
        assert_eq!(session.effects()[2..], ["3: Success", "4: Success"]);
    }

    #[test]
    fn a_login_is_decided_before_a_session_leaves() {
        let mut session = Session::described();
        session.log_in("2", "alice").unwrap();
        session.closed(Close::GoingAway).unwrap();
        assert_eq!(code(session.verified(accepted(None))), 1001);
        assert!(session.effects().contains(&"2: Success".to_owned()));
    }

    #[test]
    fn a_key_changes_before_a_session_leaves() {
        let mut session = Session::new();
        session.describe("1", "web", "d", key()).unwrap();
        session.closed(Close::GoingAway).unwrap();
        session.unwrapped().unwrap();
        assert_eq!(code(session.flushed()), 1001);
        assert_eq!(session.effects().last().unwrap(), "first 1: Success");
    }

    #[test]
    fn other_reasons_do_not_wait() {
        let mut session = Session::logged_in(None);
        session.call("3").unwrap();
        assert_eq!(code(session.closed(Close::Idle)), 3008);
    }

    #[test]
    fn a_session_that_leaves_can_be_closed_for_another_reason() {
        let mut session = Session::logged_in(None);
        session.call("3").unwrap();
        session.closed(Close::GoingAway).unwrap();
        assert_eq!(code(session.closed(Close::Replaced)), 3004);
    }

    #[test]
    fn an_earlier_reason_is_the_one_that_the_client_gets() {
        let mut session = Session::logged_in(None);
        session.call("3").unwrap();
        session.closed(Close::GoingAway).unwrap();
        session.fx.closing = Some(Close::Kicked("why".into()));
        assert_eq!(code(session.replied("3")), 3005);
    }
}

mod back_pressure {
    use super::*;

    #[test]
    fn a_full_window_takes_pings_only() {
        let mut session = Session::logged_in(None);
        session.call("3").unwrap();
        assert_eq!(session.appetite(false), Appetite::Messages);
        session.call("4").unwrap();
        assert_eq!(session.appetite(false), Appetite::Pings);
        session.replied("3").unwrap();
        assert_eq!(session.appetite(false), Appetite::Messages);
    }

    #[test]
    fn a_socket_that_takes_no_output_is_not_read() {
        let mut session = Session::logged_in(None);
        assert_eq!(session.appetite(true), Appetite::Nothing);
        session.call("3").unwrap();
        session.call("4").unwrap();
        assert_eq!(session.appetite(true), Appetite::Nothing);
    }

    #[test]
    fn a_client_that_does_not_read_is_not_occupied_and_judged_by_its_silence() {
        let session = Session::logged_in(None);
        assert_eq!(session.appetite(true), Appetite::Nothing);
        assert!(!session.state.is_occupied(&session.config, 0));
    }

    #[test]
    fn a_switch_is_no_decision_that_the_client_waits_for() {
        let mut session = Session::new();
        session.describe("1", "web", "d", key()).unwrap();
        assert!(session.state.is_deciding());
        session.unwrapped().unwrap();
        assert!(session.state.is_switching() && !session.state.is_deciding());
    }
}
