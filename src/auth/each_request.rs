//! An RPC that judges each request of a session, for services that would
//! otherwise judge every request themselves.
//!
//! A verdict holds for a while ([`EachRequest::new`]), for requests of the same
//! session about which the RPC would be asked the same. Requests that arrive
//! together wait for one call. The number of remembered verdicts is bounded, and
//! they are kept by the session ([`Judgements`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, ready};
use tokio::time::Instant;

use super::rpc::REFUSED;
use super::{Login, Rpc, Verdict};

/// Verdicts that one session remembers. Of a request that names no method there
/// is one.
const MAX_REMEMBERED: usize = 16;

/// The placeholder for the client's method.
const METHOD: &str = "method";

/// Judges each request that needs a login.
pub struct EachRequest {
    /// `None`: the RPC's descriptors are not known yet.
    rpc: Option<Rpc>,
    cache: Duration,
    /// Distinguishes verdicts of this instance from those of one before a reload.
    number: u64,
}

/// How many there have been.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// A verdict that may still be under way. Clones wait for the same call.
pub type Judgement = Shared<BoxFuture<'static, Verdict>>;

/// The verdicts that a session remembers.
#[derive(Default)]
pub struct Judgements(Vec<Remembered>);

struct Remembered {
    /// A digest of the request, since that holds a token.
    digest: [u8; SHA256_OUTPUT_LEN],
    asked: Instant,
    judgement: Judgement,
}

impl EachRequest {
    /// Asks `rpc`, whose placeholders must be
    /// [those of a request](Self::placeholders). A verdict holds for `cache`
    /// from the moment at which it was asked for; zero: for one request.
    pub fn new(rpc: Option<Rpc>, cache: Duration) -> Self {
        Self { rpc, cache, number: NUMBERS.fetch_add(1, Ordering::Relaxed) }
    }

    /// The placeholders that stand for something of a request: those of a login,
    /// and `method`.
    pub fn placeholders() -> impl Iterator<Item = &'static str> {
        Login::placeholders().chain([METHOD])
    }

    /// Judges a request of `method` by the session of `login`. `known` has that
    /// session's remembered verdicts.
    ///
    /// # Cancel safety
    ///
    /// The returned judgement may be dropped at any time. The call goes on only
    /// as long as some request waits for it.
    pub fn judge(&self, login: &Login<'_>, method: &str, known: &mut Judgements) -> Judgement {
        let Some(rpc) = &self.rpc else {
            let cause =
                "the descriptors of the RPC that verifies requests are not known yet".into();
            return ready(Verdict::Unavailable { cause }).boxed().shared();
        };
        let value = |name: &str| if name == METHOD { method } else { login.value(name) };
        let Some(request) = rpc.request(value) else {
            return ready(Verdict::refused(REFUSED)).boxed().shared();
        };
        let ask = |request| rpc.ask(login.worker, request).boxed().shared();
        if self.cache.is_zero() {
            return ask(request);
        }
        let mut of_request = [0; SHA256_OUTPUT_LEN];
        let mut context = Context::new(&SHA256);
        context.update(&self.number.to_be_bytes());
        context.update(&request);
        of_request.copy_from_slice(context.finish().as_ref());
        let now = Instant::now();
        known.0.retain(|known| known.holds(now, self.cache));
        if let Some(known) = known.0.iter().find(|known| known.digest == of_request) {
            return known.judgement.clone();
        }
        if known.0.len() == MAX_REMEMBERED {
            known.0.remove(0);
        }
        let judgement = ask(request);
        let remembered =
            Remembered { digest: of_request, asked: now, judgement: judgement.clone() };
        known.0.push(remembered);
        judgement
    }
}

impl Remembered {
    /// Whether the verdict holds for further requests: it is pending or definite, and
    /// not too old.
    fn holds(&self, now: Instant, cache: Duration) -> bool {
        match self.judgement.peek() {
            None => true,
            Some(Verdict::Unavailable { .. }) => false,
            Some(Verdict::Accepted { .. } | Verdict::Refused { .. }) => {
                now.duration_since(self.asked) < cache
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use futures_util::future::join_all;
    use serde_json::json;
    use tonic::Status;

    use super::*;
    use crate::callout::{Call, Callout, Config, method, object};

    const SECOND: Duration = Duration::from_secs(1);

    struct Fixture {
        each: EachRequest,
        asked: Arc<AtomicUsize>,
        known: Judgements,
    }

    /// A judge that answers `answer` after a second, and is asked about the
    /// user and perhaps the method.
    fn fixture(cache: Duration, by_method: bool, answer: Result<(), Status>) -> Fixture {
        let asked = Arc::new(AtomicUsize::new(0));
        let call: Call = {
            let asked = Arc::clone(&asked);
            Arc::new(move |_, _| {
                let (asked, answer) = (Arc::clone(&asked), answer.clone());
                async move {
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(SECOND).await;
                    answer.map(|()| Bytes::new())
                }
                .boxed()
            })
        };
        let platform = if by_method { "{method}" } else { "" };
        let param = json!({"userId": "{user_id}", "token": "{token}", "platform": platform});
        let config = Config {
            method: method(),
            request: object(json!({"connParam": param})),
            accept_when: object(json!({"code": 0, "msg": ""})),
            reject_when: None,
            reason: None,
        };
        let names: Vec<_> = EachRequest::placeholders().collect();
        let rpc = Rpc::new(Callout::new(config, &names).unwrap(), call);
        Fixture { each: EachRequest::new(Some(rpc), cache), asked, known: Judgements::default() }
    }

    impl Fixture {
        fn judge(&mut self, user: &str, method: &str) -> Judgement {
            let login = Login { user_id: user, token: "t", ..Login::default() };
            self.each.judge(&login, method, &mut self.known)
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    const YES: Verdict = Verdict::Accepted { expires_at: None };

    #[tokio::test(start_paused = true)]
    async fn requests_that_come_together_wait_for_one_call() {
        let mut f = fixture(5 * SECOND, false, Ok(()));
        let all: Vec<_> = (0..100).map(|_| f.judge("zoe", "/a")).collect();
        assert!(join_all(all).await.iter().all(|verdict| *verdict == YES));
        assert_eq!(f.asked(), 1);
        assert_eq!(f.judge("eve", "/a").await, YES);
        assert_eq!(f.asked(), 2, "another user");
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_holds_for_its_time_and_no_longer() {
        for answer in [Ok(()), Err(Status::permission_denied("no"))] {
            let mut f = fixture(5 * SECOND, false, answer);
            f.judge("zoe", "/a").await;
            tokio::time::sleep(3 * SECOND).await;
            f.judge("zoe", "/b").await;
            assert_eq!(f.asked(), 1);
            tokio::time::sleep(SECOND).await;
            f.judge("zoe", "/b").await;
            assert_eq!(f.asked(), 2, "5 s after the question");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_judge_that_could_not_be_asked_is_asked_again() {
        let mut f = fixture(5 * SECOND, false, Err(Status::unavailable("down")));
        assert!(matches!(f.judge("zoe", "/a").await, Verdict::Unavailable { .. }));
        f.judge("zoe", "/a").await;
        assert_eq!(f.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_of_before_a_reload_does_not_hold() {
        let mut before = fixture(5 * SECOND, false, Ok(()));
        before.judge("zoe", "/a").await;
        let mut after = fixture(5 * SECOND, false, Err(Status::permission_denied("no")));
        after.known = before.known;
        assert!(matches!(after.judge("zoe", "/a").await, Verdict::Refused { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_cache_every_request_is_judged() {
        let mut f = fixture(Duration::ZERO, false, Ok(()));
        let all: Vec<_> = (0..10).map(|_| f.judge("zoe", "/a")).collect();
        join_all(all).await;
        assert_eq!((f.asked(), f.known.0.len()), (10, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn methods_are_told_apart_where_the_judge_is_asked_about_them() {
        let mut f = fixture(5 * SECOND, true, Ok(()));
        for nth in 0..1000 {
            drop(f.judge("zoe", &format!("/{nth}")));
        }
        assert_eq!(f.known.0.len(), MAX_REMEMBERED);
        assert_eq!(f.asked(), 0, "nobody waited");
        f.judge("zoe", "/a").await;
        f.judge("zoe", "/a").await;
        f.judge("zoe", "/b").await;
        assert_eq!(f.asked(), 2);
    }

    #[tokio::test]
    async fn a_judge_that_is_not_known_yet_cannot_be_asked() {
        let each = EachRequest::new(None, SECOND);
        let verdict = each.judge(&Login::default(), "/a", &mut Judgements::default()).await;
        assert!(matches!(verdict, Verdict::Unavailable { .. }));
    }
}
