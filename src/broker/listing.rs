//! The sessions of this gateway, and then the sessions of the others.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::cluster::{Gathering, Incomplete, News, unknown};
use super::told;
use crate::proto::push::Session;
use crate::registry::Presence;

/// Sessions, one after the other.
pub struct Listing {
    node: Arc<str>,
    here: std::vec::IntoIter<Arc<Presence>>,
    elsewhere: Option<Gathering>,
    ready: VecDeque<Bytes>,
    missing: Vec<String>,
}

impl Listing {
    pub(super) fn new(
        node: Arc<str>,
        here: Vec<Arc<Presence>>,
        elsewhere: Option<Gathering>,
    ) -> Self {
        let (ready, missing) = (VecDeque::new(), Vec::new());
        Self { node, here: here.into_iter(), elsewhere, ready, missing }
    }

    /// The next session; `None`: there are no more.
    ///
    /// # Errors
    ///
    /// Not every gateway of the cluster could be asked: there may be more.
    pub async fn next(&mut self) -> Result<Option<Session>, Incomplete> {
        if let Some(presence) = self.here.next() {
            return Ok(Some(told::session(&presence, &self.node)));
        }
        loop {
            if let Some(encoded) = self.ready.pop_front() {
                match Session::decode(encoded) {
                    Ok(session) => return Ok(Some(session)),
                    Err(error) => {
                        tracing::warn!(%error, "another gateway's session cannot be read");
                        continue;
                    }
                }
            }
            let Some(elsewhere) = &mut self.elsewhere else {
                let missing = std::mem::take(&mut self.missing);
                if missing.is_empty() {
                    return Ok(None);
                }
                return Err(Incomplete { missing, kicked: 0 });
            };
            match elsewhere.next().await {
                None => self.elsewhere = None,
                Some(news) => {
                    for news in news {
                        match news {
                            News::Session(session) => self.ready.push_back(session),
                            news => self.missing.extend(unknown(&news)),
                        }
                    }
                }
            }
        }
    }
}
