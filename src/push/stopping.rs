//! Notifies calls that the server stops.

use tokio::sync::watch;

/// Waits until the server is to stop.
pub(super) async fn stopping(mut stopped: watch::Receiver<bool>) {
    // An error means that the server was dropped: the end as well.
    let _end = stopped.wait_for(|stop| *stop).await;
}
