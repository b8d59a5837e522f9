//! Wakes connections when a request of theirs is due. Tokio's own timers are
//! exact to a millisecond, which is more than many a request takes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::desk::Desk;
use super::schedule::Schedule;

/// Runs until everything has become due. May be dropped at any time.
pub(super) async fn pace(desk: Arc<Mutex<Desk>>, schedule: Schedule) -> io::Result<()> {
    let timer = Timer::new()?;
    let mut next = 0;
    loop {
        let wait = {
            let desk = desk.lock();
            let now = desk.now();
            loop {
                let Some(due) = schedule.due(next) else { return Ok(()) };
                if due > now {
                    break Duration::from_nanos(due - now);
                }
                desk.wake(schedule.connection(next));
                next += 1;
            }
        };
        timer.wait(wait).await?;
    }
}

#[cfg(target_os = "linux")]
use exact::Timer;
#[cfg(not(target_os = "linux"))]
use inexact::Timer;

#[cfg(target_os = "linux")]
mod exact {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// A timer that is exact to some microseconds.
    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            #[expect(
                deprecated,
                reason = "its successor is unsafe, for types that change their descriptor; this one does not"
            )]
            AsyncFd::with_interest(timer, Interest::READABLE).map(Self)
        }

        /// Waits so long.
        pub(super) async fn wait(&self, wait: Duration) -> io::Result<()> {
            let never = Timespec { tv_sec: 0, tv_nsec: 0 };
            // Zero would switch it off.
            let wait = Timespec::try_from(wait.max(Duration::from_nanos(1)));
            let wait = wait.map_err(io::Error::other)?;
            let once = Itimerspec { it_interval: never, it_value: wait };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            // Setting it anew takes back that it has expired, so nothing is read.
            self.0.readable().await?.clear_ready();
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod inexact {
    use std::io;
    use std::time::Duration;

    /// Tokio's timer, where there is no other.
    pub(super) struct Timer;

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) async fn wait(&self, wait: Duration) -> io::Result<()> {
            tokio::time::sleep(wait).await;
            Ok(())
        }
    }
}
