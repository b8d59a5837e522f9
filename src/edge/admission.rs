//! How many connections may be there at once: in all, and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Connections over the limit that may be told so at the same time. Beyond
/// that, sockets are dropped: saying no must not be a way to fill memory.
const MAX_REFUSALS: usize = 256;

/// Counts connections of all workers.
#[derive(Debug)]
pub struct Admission {
    max: usize,
    max_per_ip: usize,
    connections: AtomicUsize,
    refusals: AtomicUsize,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
}

/// A place among the connections, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    kind: Kind,
    ip: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Admitted,
    Refused,
}

impl Admission {
    /// At most `max` connections, and `max_per_ip` from one address (0: no limit).
    pub fn new(max: usize, max_per_ip: usize) -> Self {
        Self {
            max,
            max_per_ip,
            connections: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            by_ip: Mutex::default(),
        }
    }

    /// A place for a new socket. `None`: drop it without a word.
    pub fn enter(self: &Arc<Self>) -> Option<Permit> {
        let kind = if take(&self.connections, self.max) {
            Kind::Admitted
        } else if take(&self.refusals, MAX_REFUSALS) {
            Kind::Refused
        } else {
            return None;
        };
        Some(Permit { admission: Arc::clone(self), kind, ip: None })
    }
}

impl Permit {
    /// Whether the gateway has room for this connection. One that it has no
    /// room for is told so and closed.
    pub fn is_admitted(&self) -> bool {
        self.kind == Kind::Admitted
    }

    /// Counts the connection for its client's address, once that is known.
    /// `false`: there are too many from there.
    pub fn count_ip(&mut self, ip: IpAddr) -> bool {
        let max = self.admission.max_per_ip;
        if max == 0 || self.ip.is_some() {
            return true;
        }
        let mut by_ip = self.admission.by_ip.lock();
        let count = by_ip.entry(ip).or_default();
        if *count >= max {
            return false;
        }
        *count += 1;
        self.ip = Some(ip);
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let count = match self.kind {
            Kind::Admitted => &self.admission.connections,
            Kind::Refused => &self.admission.refusals,
        };
        count.fetch_sub(1, Ordering::AcqRel);
        if let Some(ip) = self.ip {
            let mut by_ip = self.admission.by_ip.lock();
            if let Some(count) = by_ip.get_mut(&ip) {
                *count -= 1;
                if *count == 0 {
                    by_ip.remove(&ip);
                }
            }
        }
    }
}

fn take(count: &AtomicUsize, max: usize) -> bool {
    let step = |now| (now < max).then_some(now + 1);
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, step).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let admission = Arc::new(Admission::new(1, 0));
        let first = admission.enter().unwrap();
        assert!(first.is_admitted());
        assert!(!admission.enter().unwrap().is_admitted());
        drop(first);
        assert!(admission.enter().unwrap().is_admitted());
    }

    #[test]
    fn refusals_are_bounded_too() {
        let admission = Arc::new(Admission::new(0, 0));
        let refused: Vec<_> = std::iter::from_fn(|| admission.enter()).collect();
        assert_eq!(refused.len(), MAX_REFUSALS);
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let admission = Arc::new(Admission::new(10, 2));
        let [mut a, mut b, mut c, mut other] = std::array::from_fn(|_| admission.enter().unwrap());
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        assert!(a.count_ip(ip) && b.count_ip(ip));
        assert!(!c.count_ip(ip));
        assert!(other.count_ip("192.0.2.2".parse().unwrap()));
        drop(a);
        assert!(c.count_ip(ip));
        drop((b, c, other));
        assert!(admission.by_ip.lock().is_empty());
    }
}
