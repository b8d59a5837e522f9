use std::future::{pending, ready};
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use prost_reflect::DynamicMessage;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::callout::{self, method, object};

/// The reaction of a service to a call: its nth, from 0, for the same event.
type Behaviour = Box<dyn Fn(&str, usize) -> Does + Send + Sync>;

#[derive(Clone)]
enum Does {
    Answers(Json),
    Fails,
    Hangs,
}

/// A service that notes each event, as `connected s1`, and its time.
struct Service {
    told: Mutex<Vec<(Duration, String)>>,
    start: Instant,
}

impl Service {
    fn new(behaviour: Behaviour) -> (Arc<Self>, Hooks) {
        let service = Arc::new(Self { told: Mutex::default(), start: Instant::now() });
        let behaviour = Arc::new(behaviour);
        let hook = |event: Event| {
            let (service, behaviour) = (Arc::clone(&service), Arc::clone(&behaviour));
            let call: Call = Arc::new(move |_, request| service.call(&request, &behaviour));
            Some(Hook::new(callout(event), call))
        };
        let hooks = Hooks::new(hook(Event::Connected), hook(Event::Disconnected));
        (service, hooks)
    }

    fn call(
        &self,
        request: &Bytes,
        behaviour: &Behaviour,
    ) -> futures_util::future::BoxFuture<'static, Result<Bytes, Status>> {
        let request = DynamicMessage::decode(method().input(), request.clone()).unwrap();
        let request = serde_json::to_value(request).unwrap();
        let event = format!(
            "{} {}",
            request["tags"][0].as_str().unwrap(),
            request["connParam"]["deviceId"].as_str().unwrap()
        );
        let mut told = self.told.lock();
        let nth = told.iter().filter(|(_, earlier)| *earlier == event).count();
        let does = behaviour(&event, nth);
        told.push((self.start.elapsed(), event));
        match does {
            Does::Answers(json) => {
                use prost::Message as _;
                let answer = DynamicMessage::deserialize(method().output(), json).unwrap();
                ready(Ok(answer.encode_to_vec().into())).boxed()
            }
            Does::Fails => ready(Err(Status::unavailable("away"))).boxed(),
            Does::Hangs => pending().boxed(),
        }
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().iter().map(|(_, event)| event.clone()).collect()
    }

    fn times(&self, event: &str) -> Vec<Duration> {
        let told = self.told.lock();
        told.iter().filter(|(_, known)| known == event).map(|(at, _)| *at).collect()
    }
}

fn callout(event: Event) -> Callout {
    let mut request = json!({
        "connParam": {"userId": "{user_id}", "deviceId": "{session_id}"},
        "tags": [event.name()],
    });
    if event == Event::Disconnected {
        request["labels"] = json!({"code": "{close_code}", "reason": "{reason}"});
    }
    let config = callout::Config {
        method: method(),
        request: object(request),
        accept_when: object(json!({"code": 0, "msg": ""})),
        reject_when: None,
        reason: Some("msg".into()),
    };
    Callout::new(config, &event.placeholders()).unwrap()
}

fn login(session_id: &str) -> Login<'_> {
    Login { user_id: "u1", session_id, ..Login::default() }
}

fn always(does: Does) -> Behaviour {
    Box::new(move |_, _| does.clone())
}

fn fine() -> Does {
    Does::Answers(json!({}))
}

/// Events of a hook that were delivered, given up, and dropped.
fn counted(dispatcher: &Dispatcher, event: Event) -> [u64; 3] {
    Outcome::ALL.map(|outcome| dispatcher.count(event, outcome))
}

async fn settled(dispatcher: &Dispatcher) {
    let done = async {
        while dispatcher.undelivered() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(120), done).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_session_is_told_of_in_order_even_while_its_service_fails() {
    let (service, hooks) = Service::new(Box::new(|event, nth| match event {
        "connected s1" if nth < 3 => Does::Fails,
        _ => fine(),
    }));
    let dispatcher = Dispatcher::default();
    dispatcher.connected(&hooks, &login("s1"));
    dispatcher.disconnected(&hooks, &login("s1"), 1000, "");
    dispatcher.connected(&hooks, &login("s1"));
    settled(&dispatcher).await;
    let told = service.told();
    assert_eq!(told[..4], ["connected s1"; 4]);
    assert_eq!(told[4..], ["disconnected s1", "connected s1"]);
    assert_eq!(counted(&dispatcher, Event::Connected), [2, 0, 0]);
    assert_eq!(counted(&dispatcher, Event::Disconnected), [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_session_holds_up_no_other() {
    let (service, hooks) = Service::new(Box::new(|event, _| match event {
        "connected s1" => Does::Fails,
        "connected s2" => Does::Hangs,
        _ => fine(),
    }));
    let dispatcher = Dispatcher::default();
    for session in ["s1", "s2", "s3"] {
        dispatcher.connected(&hooks, &login(session));
        dispatcher.disconnected(&hooks, &login(session), 1000, "");
    }
    sleep(Duration::from_millis(50)).await;
    let told = service.told();
    assert_eq!(told, ["connected s1", "connected s2", "connected s3", "disconnected s3"]);
}

#[tokio::test(start_paused = true)]
async fn attempts_come_at_growing_distances_until_the_event_is_a_minute_old() {
    let (service, hooks) = Service::new(Box::new(|event, _| match event {
        "connected s1" => Does::Fails,
        _ => fine(),
    }));
    let dispatcher = Dispatcher::default();
    dispatcher.connected(&hooks, &login("s1"));
    sleep(Duration::from_secs(5)).await;
    dispatcher.disconnected(&hooks, &login("s1"), 1000, "");
    settled(&dispatcher).await;
    let times = service.times("connected s1");
    let mut expected = Duration::from_millis(100);
    for pair in times.windows(2) {
        let pause = pair[1].checked_sub(pair[0]).unwrap();
        assert!(pause >= expected.mul_f64(0.69) && pause <= expected.mul_f64(1.31), "{times:?}");
        expected = (expected * 2).min(Duration::from_secs(10));
    }
    assert!((9..=16).contains(&times.len()), "{times:?}");
    // Its successor is delivered once it is given up, not before.
    let given_up = service.times("disconnected s1");
    assert!((60..61).contains(&given_up[0].as_secs()), "{given_up:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_match_is_a_failure() {
    let (service, hooks) = Service::new(Box::new(|_, nth| {
        Does::Answers(if nth < 2 { json!({"code": 5, "msg": "not now"}) } else { json!({}) })
    }));
    let dispatcher = Dispatcher::default();
    dispatcher.connected(&hooks, &login("s1"));
    settled(&dispatcher).await;
    assert_eq!(service.told().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_has_few_calls_under_way_and_holds_up_no_other_hook() {
    let (service, hooks) =
        Service::new(Box::new(
            |event, _| {
                if event.starts_with("connected") { Does::Hangs } else { fine() }
            },
        ));
    let dispatcher = Dispatcher::default();
    for session in 0..3 * MAX_CALLS {
        dispatcher.connected(&hooks, &login(&session.to_string()));
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(service.told().len(), MAX_CALLS);
    dispatcher.disconnected(&hooks, &login("other"), 1000, "");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(service.told().last().unwrap(), "disconnected other");
    assert_eq!(dispatcher.undelivered(), 3 * MAX_CALLS);
    settled(&dispatcher).await;
    assert!(service.start.elapsed() < Duration::from_secs(61));
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_dropped_and_counted() {
    let log = Log::default();
    let _guard = log.listen();
    let (service, hooks) = Service::new(always(Does::Hangs));
    let dispatcher = Dispatcher::default();
    let user = "u".repeat(1024 * 1024);
    for session in 0..20 {
        let session = session.to_string();
        let login = Login { user_id: &user, ..login(&session) };
        dispatcher.connected(&hooks, &login);
    }
    assert_eq!(dispatcher.undelivered(), 15);
    assert_eq!(log.count("dropped"), 1, "{}", log.text());
    sleep(Duration::from_secs(11)).await;
    let lines = log.matching("hook events dropped");
    assert_eq!(lines.len(), 2, "{}", log.text());
    assert!(lines[0].contains("dropped=1") && lines[0].contains("hook=\"connected\""), "{lines:?}");
    assert!(lines[1].contains("dropped=4") && lines[1].contains("too many events"), "{lines:?}");
    settled(&dispatcher).await;
    assert_eq!(counted(&dispatcher, Event::Connected), [0, 15, 5]);
    dispatcher.connected(&hooks, &Login { user_id: &user, ..login("later") });
    sleep(Duration::from_millis(1)).await;
    assert_eq!(service.told().last().unwrap(), "connected later");
}

#[tokio::test(start_paused = true)]
async fn giving_up_names_session_hook_and_status() {
    let log = Log::default();
    let _guard = log.listen();
    let (_, hooks) = Service::new(Box::new(|event, _| match event {
        "connected s1" => Does::Fails,
        "connected s2" => Does::Hangs,
        _ => Does::Answers(json!({"code": 5, "msg": "go away"})),
    }));
    let dispatcher = Dispatcher::default();
    dispatcher.connected(&hooks, &login("s1"));
    dispatcher.connected(&hooks, &login("s2"));
    dispatcher.disconnected(&hooks, &login("s3"), 1000, "");
    settled(&dispatcher).await;
    let lines = log.matching("hook given up");
    for (session, hook, status) in [
        ("s1", "connected", "status=UNAVAILABLE: away"),
        ("s2", "connected", "status=no answer"),
        ("s3", "disconnected", "status=the response does not match accept_when: go away"),
    ] {
        let names = |line: &&String| {
            line.contains(&format!("session=\"{session}\""))
                && line.contains(&format!("\"{hook}\""))
        };
        let line = lines.iter().find(names).unwrap_or_else(|| panic!("{lines:?}"));
        assert!(line.contains(status), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_is_not_known_yet_is_said_to_have_dropped_what_came() {
    let log = Log::default();
    let _guard = log.listen();
    let hooks = Hooks::new(None, Some(Hook::pending()));
    let dispatcher = Dispatcher::default();
    dispatcher.connected(&hooks, &login("s1"));
    dispatcher.disconnected(&hooks, &login("s1"), 1000, "");
    dispatcher.disconnected(&hooks, &login("s2"), 1000, "");
    assert_eq!(counted(&dispatcher, Event::Disconnected), [0, 0, 2]);
    assert_eq!(counted(&dispatcher, Event::Connected), [0; 3], "there is no such hook");
    drop(dispatcher);
    sleep(Duration::from_secs(11)).await;
    let lines = log.matching("not known yet");
    assert_eq!(lines.len(), 2, "{}", log.text());
    assert!(lines.iter().all(|line| line.contains("dropped=1")), "{lines:?}");
}

#[test]
fn without_a_runtime_events_are_dropped_and_nothing_panics() {
    let log = Log::default();
    let _guard = log.listen();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (_, hooks) = runtime.block_on(async { Service::new(always(fine())) });
    let dispatcher = Dispatcher::default();
    dispatcher.connected(&hooks, &login("s1"));
    assert_eq!(dispatcher.undelivered(), 0);
    assert_eq!(log.matching("the gateway is stopping").len(), 1, "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn an_event_keeps_the_hook_that_it_was_made_for() {
    let (old, hooks) = Service::new(Box::new(|_, nth| if nth < 5 { Does::Fails } else { fine() }));
    let (new, reloaded) = Service::new(always(fine()));
    let dispatcher = Dispatcher::default();
    dispatcher.connected(&hooks, &login("s1"));
    drop(hooks);
    dispatcher.disconnected(&reloaded, &login("s1"), 1000, "");
    settled(&dispatcher).await;
    assert_eq!(old.told(), ["connected s1"; 6]);
    assert_eq!(new.told(), ["disconnected s1"]);
}

#[tokio::test(start_paused = true)]
async fn in_a_hurry_whatever_failed_is_tried_at_once() {
    let (service, hooks) =
        Service::new(Box::new(|_, nth| if nth < 8 { Does::Fails } else { fine() }));
    let dispatcher = Dispatcher::default();
    dispatcher.connected(&hooks, &login("s1"));
    // The eighth failure is followed by about ten seconds of waiting.
    while service.told().len() < 8 {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_millis(10)).await;
    assert_eq!(dispatcher.undelivered(), 1);
    dispatcher.hurry();
    sleep(Duration::from_millis(10)).await;
    assert_eq!((service.told().len(), dispatcher.undelivered()), (9, 0));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_tells_its_close_code_and_reason() {
    let seen = Arc::new(Mutex::new(Json::Null));
    let call: Call = {
        let seen = Arc::clone(&seen);
        Arc::new(move |_, request| {
            let request = DynamicMessage::decode(method().input(), request).unwrap();
            *seen.lock() = serde_json::to_value(request).unwrap();
            ready(Ok(Bytes::new())).boxed()
        })
    };
    let hooks = Hooks::new(None, Some(Hook::new(callout(Event::Disconnected), call)));
    let dispatcher = Dispatcher::default();
    dispatcher.disconnected(&hooks, &login("s1"), 3005, "said {user_id}");
    settled(&dispatcher).await;
    assert_eq!(seen.lock()["labels"], json!({"code": "3005", "reason": "said {user_id}"}));
}

#[test]
fn how_a_session_ended_is_no_placeholder_of_its_beginning() {
    let config = |text: &str| callout::Config {
        method: method(),
        request: object(json!({ "ticket": text })),
        accept_when: object(json!({})),
        reject_when: None,
        reason: None,
    };
    for text in ["{close_code}", "{reason}"] {
        let names = Event::Connected.placeholders();
        let errors = Callout::new(config(text), &names).unwrap_err();
        assert!(errors[0].to_string().contains("is not a placeholder"), "{errors:?}");
        assert!(Callout::new(config(text), &Event::Disconnected.placeholders()).is_ok());
    }
}

/// The log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::WARN)
            .with_writer(self.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }

    fn matching(&self, part: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }

    fn count(&self, part: &str) -> usize {
        self.matching(part).len()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
