//! Authenticates callers by the configured bearer tokens (RFC 6750), where there
//! are any.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::{Choice, ConstantTimeEq};
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::counted::Counted;

type Hash = [u8; SHA256_OUTPUT_LEN];

/// The tokens that are accepted at this moment. Only their hashes are kept.
#[derive(Default)]
pub struct Tokens(ArcSwap<Vec<Hash>>);

impl Tokens {
    /// With no tokens, all callers are accepted.
    pub fn new<T: AsRef<[u8]>>(tokens: impl IntoIterator<Item = T>) -> Self {
        let this = Self::default();
        this.replace(tokens);
        this
    }

    /// Accepts these from now on, and no others.
    pub fn replace<T: AsRef<[u8]>>(&self, tokens: impl IntoIterator<Item = T>) {
        self.0.store(Arc::new(tokens.into_iter().map(|token| hash(token.as_ref())).collect()));
    }

    /// Takes the same time whichever token it is and however much of it is right:
    /// hashes are compared in full, and all of them.
    fn accept(&self, token: &[u8]) -> bool {
        let shown = hash(token);
        let tokens = self.0.load();
        tokens.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&shown)).into()
    }

    fn judge(&self, authorization: Option<&[u8]>) -> Result<(), Status> {
        if self.0.load().is_empty() {
            return Ok(());
        }
        let Some(authorization) = authorization else {
            return Err(Status::unauthenticated(
                "a token is wanted: send `authorization: Bearer <token>`",
            ));
        };
        let (scheme, token) = authorization.split_at_checked(7).unwrap_or((authorization, b""));
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return Err(Status::unauthenticated("authorization is no `Bearer <token>`"));
        }
        if self.accept(token) { Ok(()) } else { Err(Status::unauthenticated("unknown token")) }
    }
}

/// Refuses calls without a valid token.
#[derive(Clone)]
pub(super) struct Guard {
    tokens: Arc<Tokens>,
    counted: Arc<Counted>,
}

impl Guard {
    pub(super) fn new(tokens: Arc<Tokens>, counted: Arc<Counted>) -> Self {
        Self { tokens, counted }
    }
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let authorization = request.metadata().get("authorization");
        self.counted.checked(self.tokens.judge(authorization.map(MetadataValue::as_bytes)))?;
        Ok(request)
    }
}

fn hash(token: &[u8]) -> Hash {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(tokens: &Tokens, authorization: Option<&str>) -> Option<String> {
        let judged = tokens.judge(authorization.map(str::as_bytes));
        judged.err().map(|status| {
            assert_eq!(status.code(), tonic::Code::Unauthenticated);
            status.message().to_owned()
        })
    }

    #[test]
    fn any_of_the_tokens_opens() {
        let tokens = Tokens::new(["first", "second"]);
        for authorization in ["Bearer first", "bearer second", "BEARER first"] {
            assert_eq!(refusal(&tokens, Some(authorization)), None, "{authorization}");
        }
    }

    #[test]
    fn anything_else_says_what_is_wrong_and_never_what_would_be_right() {
        let tokens = Tokens::new(["first"]);
        for (authorization, says) in [
            (None, "send `authorization: Bearer <token>`"),
            (Some("first"), "no `Bearer <token>`"),
            (Some("Basic first"), "no `Bearer <token>`"),
            (Some("Bearer firs"), "unknown token"),
            (Some("Bearer first "), "unknown token"),
            (Some("Bearer "), "unknown token"),
        ] {
            let refusal = refusal(&tokens, authorization).unwrap();
            assert!(refusal.contains(says) && !refusal.contains("first"), "{refusal}");
        }
    }

    #[test]
    fn without_tokens_everybody_may_call() {
        assert_eq!(refusal(&Tokens::default(), None), None);
    }

    #[test]
    fn tokens_are_replaced_all_at_once() {
        let tokens = Tokens::new(["old"]);
        tokens.replace(["new"]);
        assert!(refusal(&tokens, Some("Bearer old")).is_some());
        assert_eq!(refusal(&tokens, Some("Bearer new")), None);
    }
}
