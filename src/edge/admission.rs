//! Limits of simultaneous connections: in total, and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Connections over the limit that may get a reply at the same time. Beyond
/// that, sockets are dropped: refusals must not be a way to fill memory.
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

/// Why there is no room for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The total limit is reached.
    Full,
    /// The limit of its address is reached.
    PerAddress,
}

impl Refused {
    /// The text of the reply.
    pub fn text(self) -> &'static str {
        match self {
            Self::Full => "the gateway is full",
            Self::PerAddress => "too many connections from this address",
        }
    }
}

/// A place among the connections, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    /// The reason, if the connection is only to be refused.
    refusal: Option<Refused>,
    ip: Option<IpAddr>,
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

    /// A place for a new socket, from this address if that is known already.
    /// `None`: drop it without a reply.
    pub fn enter(self: &Arc<Self>, ip: Option<IpAddr>) -> Option<Permit> {
        if !take(&self.connections, self.max) {
            return self.refuse(Refused::Full);
        }
        let permit = Permit { admission: Arc::clone(self), refusal: None, ip: None };
        match ip {
            Some(ip) => permit.counted_for(ip),
            None => Some(permit),
        }
    }

    fn refuse(self: &Arc<Self>, why: Refused) -> Option<Permit> {
        take(&self.refusals, MAX_REFUSALS).then(|| Permit {
            admission: Arc::clone(self),
            refusal: Some(why),
            ip: None,
        })
    }
}

impl Permit {
    /// Why there is no room for this connection; it gets a reply and is closed.
    pub fn refusal(&self) -> Option<Refused> {
        self.refusal
    }

    /// The same place, counted for this address; or a place for a refusal with a
    /// reply; or `None`.
    pub fn counted_for(mut self, ip: IpAddr) -> Option<Self> {
        if self.refusal.is_some() {
            return Some(self);
        }
        let Err(why) = self.count_ip(ip) else { return Some(self) };
        let admission = Arc::clone(&self.admission);
        drop(self);
        admission.refuse(why)
    }

    /// Counts the connection for its client's address, unless it is counted
    /// already. The error says that there are too many from there.
    pub fn count_ip(&mut self, ip: IpAddr) -> Result<(), Refused> {
        let max = self.admission.max_per_ip;
        if max == 0 || self.ip.is_some() {
            return Ok(());
        }
        let mut by_ip = self.admission.by_ip.lock();
        let count = by_ip.entry(ip).or_default();
        if *count >= max {
            return Err(Refused::PerAddress);
        }
        *count += 1;
        self.ip = Some(ip);
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let count = match self.refusal {
            None => &self.admission.connections,
            Some(_) => &self.admission.refusals,
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
        let first = admission.enter(None).unwrap();
        assert_eq!(first.refusal(), None);
        assert_eq!(admission.enter(None).unwrap().refusal(), Some(Refused::Full));
        drop(first);
        assert_eq!(admission.enter(None).unwrap().refusal(), None);
    }

    #[test]
    fn refusals_are_bounded_too() {
        let admission = Arc::new(Admission::new(0, 0));
        let refused: Vec<_> = std::iter::from_fn(|| admission.enter(None)).collect();
        assert_eq!(refused.len(), MAX_REFUSALS);
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let admission = Arc::new(Admission::new(10, 2));
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let places: Vec<_> = (0..10).map(|_| admission.enter(Some(ip)).unwrap()).collect();
        assert_eq!(places.iter().filter(|place| place.refusal().is_none()).count(), 2);
        let other = admission.enter(Some("192.0.2.2".parse().unwrap())).unwrap();
        assert_eq!(other.refusal(), None);
        drop((places, other));
        assert!(admission.by_ip.lock().is_empty());
        assert_eq!(admission.connections.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_address_that_shows_before_the_request_gives_its_place_back_at_once() {
        let admission = Arc::new(Admission::new(10, 1));
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let places = || std::iter::repeat_with(|| admission.enter(None).unwrap());
        let places: Vec<_> = places().take(10).map(|it| it.counted_for(ip).unwrap()).collect();
        assert_eq!(places.iter().filter(|place| place.refusal().is_none()).count(), 1);
        assert_eq!(admission.connections.load(Ordering::Relaxed), 1);
        assert_eq!(places[9].refusal(), Some(Refused::PerAddress));
        drop(places);
        assert_eq!(admission.refusals.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_address_that_shows_later_is_counted_then_and_once() {
        let admission = Arc::new(Admission::new(10, 1));
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let [mut first, mut second] = std::array::from_fn(|_| admission.enter(None).unwrap());
        assert_eq!([first.count_ip(ip), first.count_ip(ip)], [Ok(()), Ok(())]);
        assert_eq!(second.count_ip(ip), Err(Refused::PerAddress));
        drop(first);
        assert_eq!(second.count_ip(ip), Ok(()));
    }
}
