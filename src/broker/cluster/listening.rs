//! The subscription under a user's subject, and its orderly end.
//!
//! NATS may have delivered a question just before the gateway unsubscribes. Were
//! it dropped with the subscription, its asker would wait for an answer until its
//! patience ends, and would have to report an incomplete result. So the
//! subscription is drained: messages that are on their way are still answered.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::Cluster;

/// The longest time that a subscription is drained: by then its server has
/// answered, or there is no connection.
const DRAINING: Duration = Duration::from_secs(5);

/// A subscription that is drained when it is dropped.
pub(super) struct Listening {
    subscriber: Option<Subscriber>,
    cluster: Weak<Cluster>,
    user: Arc<str>,
}

impl Listening {
    pub(super) fn new(subscriber: Subscriber, cluster: &Arc<Cluster>, user: &Arc<str>) -> Self {
        let (cluster, user) = (Arc::downgrade(cluster), Arc::clone(user));
        Self { subscriber: Some(subscriber), cluster, user }
    }

    /// The next message; `None`: the subscription has ended.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn next(&mut self) -> Option<Message> {
        self.subscriber.as_mut()?.next().await
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let Some(mut subscriber) = self.subscriber.take() else { return };
        // Without a cluster the gateway stops.
        let Some(cluster) = self.cluster.upgrade() else { return };
        let user = Arc::clone(&self.user);
        let runtime = cluster.runtime.clone();
        runtime.spawn(async move {
            let rest = async {
                if subscriber.drain().await.is_err() {
                    return;
                }
                while let Some(message) = subscriber.next().await {
                    Box::pin(cluster.hear_of_user(&user, message)).await;
                }
            };
            // Either the rest is answered, or no asker waits for it any more.
            let _drained = timeout(DRAINING, rest).await;
        });
    }
}
