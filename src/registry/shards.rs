//! Tables in shards, each behind a lock of its own, so that sessions that begin
//! and end at the same time rarely contend, and a scan of all of them does not
//! stop everything.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard};

use super::presence::Presence;

/// Enough that a push to everyone holds any one session up for microseconds.
const SHARDS: usize = 64;
/// Below this a table is not made smaller.
const SMALL: usize = 32;

/// Sessions under a key that many of them may share; the key is part of the
/// presence, so an entry is one pointer.
pub(super) type Table = HashTable<Arc<Presence>>;

/// A value in 64 parts, by the hash of a key.
pub(super) struct Shards<T> {
    shards: Box<[Mutex<T>]>,
    hasher: RandomState,
}

impl<T: Default> Shards<T> {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new() }
    }

    pub(super) fn hash<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    pub(super) fn lock(&self, hash: u64) -> MutexGuard<'_, T> {
        self.shards[place(hash)].lock()
    }

    /// Every shard, one after the other.
    pub(super) fn all(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(Mutex::lock)
    }

    /// The shards of two keys at once, in an order that cannot deadlock.
    pub(super) fn lock_both(&self, first: u64, second: u64) -> Both<'_, T> {
        let (low, high) = (place(first).min(place(second)), place(first).max(place(second)));
        Both {
            low: self.shards[low].lock(),
            high: (low != high).then(|| self.shards[high].lock()),
            first_is_low: place(first) == low,
        }
    }
}

/// The shard of a hash. Its low bits are the table's, and the highest seven as well.
fn place(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

/// Two shards, or one that is both.
pub(super) struct Both<'a, T> {
    low: MutexGuard<'a, T>,
    high: Option<MutexGuard<'a, T>>,
    first_is_low: bool,
}

impl<T> Both<'_, T> {
    pub(super) fn first(&mut self) -> &mut T {
        match &mut self.high {
            Some(high) if !self.first_is_low => high,
            _ => &mut self.low,
        }
    }

    pub(super) fn second(&mut self) -> &mut T {
        match &mut self.high {
            Some(high) if self.first_is_low => high,
            _ => &mut self.low,
        }
    }
}

/// Takes a session out of a table, if this very presence is in it.
pub(super) fn remove(
    table: &mut Table,
    hash: u64,
    presence: &Arc<Presence>,
    rehash: impl Fn(&Arc<Presence>) -> u64,
) -> bool {
    let Ok(entry) = table.find_entry(hash, |known| Arc::ptr_eq(known, presence)) else {
        return false;
    };
    entry.remove();
    if table.capacity() > SMALL && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2, rehash);
    }
    true
}
