//! Who may use how much of the concurrency: reserved shares, and what is left for all others.
//!
//! A reservation is both: nobody else can use it, and its function cannot use more
//! (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>). It counts for a
//! function, over all its versions, so pools share a share. The same figures bound invocations and
//! sandboxes: a reservation without room for its sandboxes would guarantee nothing.
//! Pure bookkeeping: it refuses nothing by itself and knows no sandbox.

use std::collections::HashMap;

use super::invocation::Refusal;

pub(super) type ShareId = u64;

/// One function's use.
#[derive(Debug)]
pub(super) struct Share {
    key: String,
    reserved: Option<usize>,
    /// Invocations without an outcome.
    pub(super) active: usize,
    /// The service's own sandboxes that are not stopping.
    pub(super) live: usize,
    pub(super) pools: usize,
}

#[derive(Debug)]
pub(super) struct Shares {
    max: usize,
    by_key: HashMap<String, ShareId>,
    shares: HashMap<ShareId, Share>,
    /// How many reservations there are, and their sum.
    reservations: usize,
    reserved: usize,
    /// The sums over the functions without a reservation.
    unreserved_active: usize,
    unreserved_live: usize,
    next_id: ShareId,
}

/// The function's part of a pool's key: `region/name` of `region/name/version`.
pub(super) fn function_of(pool_key: &str) -> &str {
    pool_key.rsplit_once('/').map_or(pool_key, |(function, _)| function)
}

impl Shares {
    pub(super) fn new(max: usize) -> Shares {
        Shares {
            max,
            by_key: HashMap::new(),
            shares: HashMap::new(),
            reservations: 0,
            reserved: 0,
            unreserved_active: 0,
            unreserved_live: 0,
            next_id: 1,
        }
    }

    fn entry(&mut self, key: &str) -> ShareId {
        if let Some(&id) = self.by_key.get(key) {
            return id;
        }
        let id = self.next_id;
        self.next_id += 1;
        let share = Share { key: key.to_owned(), reserved: None, active: 0, live: 0, pools: 0 };
        self.shares.insert(id, share);
        self.by_key.insert(key.to_owned(), id);
        id
    }

    /// A pool of this function is made.
    pub(super) fn join(&mut self, key: &str) -> ShareId {
        let id = self.entry(key);
        if let Some(share) = self.shares.get_mut(&id) {
            share.pools += 1;
        }
        id
    }

    /// A pool of this share is gone.
    pub(super) fn leave(&mut self, id: ShareId) {
        if let Some(share) = self.shares.get_mut(&id) {
            share.pools -= 1;
        }
        self.drop_if_unused(id);
    }

    fn drop_if_unused(&mut self, id: ShareId) {
        let unused = |share: &Share| share.pools == 0 && share.reserved.is_none();
        if self.shares.get(&id).is_some_and(unused)
            && let Some(share) = self.shares.remove(&id)
        {
            self.by_key.remove(&share.key);
        }
    }

    /// Sets or lifts a function's reservation. What runs beyond it goes on to its end.
    pub(super) fn set_reserved(&mut self, key: &str, reserved: Option<usize>) {
        let id = self.entry(key);
        let Some(share) = self.shares.get_mut(&id) else { return };
        let earlier = std::mem::replace(&mut share.reserved, reserved);
        let (active, live) = (share.active, share.live);
        self.reserved = self.reserved - earlier.unwrap_or(0) + reserved.unwrap_or(0);
        match (earlier, reserved) {
            (None, Some(_)) => {
                self.reservations += 1;
                self.unreserved_active -= active;
                self.unreserved_live -= live;
            }
            (Some(_), None) => {
                self.reservations -= 1;
                self.unreserved_active += active;
                self.unreserved_live += live;
            }
            _ => {}
        }
        self.drop_if_unused(id);
    }

    /// Takes one of the share's invocations, or says why there is none to take.
    pub(super) fn take(&mut self, id: ShareId) -> Result<(), Refusal> {
        let unreserved = self.unreserved();
        let Some(share) = self.shares.get_mut(&id) else { return Ok(()) };
        match share.reserved {
            Some(reserved) if share.active >= reserved => Err(Refusal::ReservedLimit),
            None if self.unreserved_active >= unreserved => Err(Refusal::ConcurrencyLimit),
            reserved => {
                share.active += 1;
                if reserved.is_none() {
                    self.unreserved_active += 1;
                }
                Ok(())
            }
        }
    }

    /// An invocation that was taken has its outcome.
    pub(super) fn give_back(&mut self, id: ShareId) {
        if let Some(share) = self.shares.get_mut(&id) {
            share.active -= 1;
            if share.reserved.is_none() {
                self.unreserved_active -= 1;
            }
        }
    }

    pub(super) fn sandbox_made(&mut self, id: ShareId) {
        if let Some(share) = self.shares.get_mut(&id) {
            share.live += 1;
            if share.reserved.is_none() {
                self.unreserved_live += 1;
            }
        }
    }

    pub(super) fn sandbox_ended(&mut self, id: ShareId) {
        if let Some(share) = self.shares.get_mut(&id) {
            share.live -= 1;
            if share.reserved.is_none() {
                self.unreserved_live -= 1;
            }
        }
    }

    /// What the functions without a reservation have together.
    fn unreserved(&self) -> usize {
        self.max.saturating_sub(self.reserved)
    }

    /// The sandboxes of this share's kind, and how many there may be.
    fn sandboxes(&self, id: ShareId) -> (usize, usize) {
        match self.shares.get(&id).map(|share| (share.live, share.reserved)) {
            Some((live, Some(reserved))) => (live, reserved),
            _ => (self.unreserved_live, self.unreserved()),
        }
    }

    /// Whether this share has room for a sandbox. One is always allowed: what was accepted before a
    /// reservation was lowered to nothing is still carried out.
    pub(super) fn has_room(&self, id: ShareId) -> bool {
        let (live, most) = self.sandboxes(id);
        live < most.max(1)
    }

    /// Whether an idle sandbox of `other` may end so that `id` gets one.
    pub(super) fn yields(&self, other: ShareId, id: ShareId) -> bool {
        if !self.has_room(id) {
            let shared = |id| self.shares.get(&id).is_none_or(|share| share.reserved.is_none());
            return other == id || (shared(other) && shared(id));
        }
        // There is room by the figures, so somebody has more than their own: a reservation was set
        // or lowered while they had it.
        let (live, most) = self.sandboxes(other);
        live > most || self.sandboxes(id).1 == 0
    }

    /// Whether anything but the total bounds anybody.
    pub(super) fn any_reserved(&self) -> bool {
        self.reservations > 0
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = (ShareId, &Share)> {
        self.shares.iter().map(|(&id, share)| (id, share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_is_kept_for_its_function_and_bounds_it() {
        let mut shares = Shares::new(3);
        let (a, b) = (shares.join("r/a"), shares.join("r/b"));
        shares.set_reserved("r/a", Some(2));
        assert_eq!(shares.take(b), Ok(()));
        assert_eq!(shares.take(b), Err(Refusal::ConcurrencyLimit));
        assert_eq!((shares.take(a), shares.take(a)), (Ok(()), Ok(())));
        assert_eq!(shares.take(a), Err(Refusal::ReservedLimit));
        shares.give_back(a);
        assert_eq!(shares.take(a), Ok(()));
        shares.set_reserved("r/a", None);
        assert_eq!(shares.take(b), Err(Refusal::ConcurrencyLimit), "both count together again");
        shares.give_back(a);
        assert_eq!(shares.take(b), Ok(()));
    }

    #[test]
    fn nothing_reserved_stops_the_function_and_nobody_else() {
        let mut shares = Shares::new(1);
        let (a, b) = (shares.join("r/a"), shares.join("r/b"));
        shares.set_reserved("r/a", Some(0));
        assert_eq!(shares.take(a), Err(Refusal::ReservedLimit));
        assert_eq!(shares.take(b), Ok(()));
    }

    #[test]
    fn the_versions_of_a_function_count_together_and_a_reservation_outlives_its_pools() {
        let mut shares = Shares::new(10);
        assert_eq!(function_of("us-east-1/f/$LATEST"), function_of("us-east-1/f/7"));
        shares.set_reserved("r/f", Some(1));
        let one = shares.join("r/f");
        assert_eq!(shares.join("r/f"), one);
        shares.leave(one);
        shares.leave(one);
        assert_eq!(shares.join("r/f"), one);
        shares.set_reserved("r/f", None);
        shares.leave(one);
        assert_eq!(shares.all().count(), 0);
    }

    #[test]
    fn sandboxes_make_room_within_their_own_share() {
        let mut shares = Shares::new(2);
        let (a, b, c) = (shares.join("r/a"), shares.join("r/b"), shares.join("r/c"));
        shares.sandbox_made(b);
        shares.sandbox_made(b);
        shares.set_reserved("r/a", Some(1));
        assert!(shares.has_room(a) && shares.yields(b, a), "b has one more than is left for it");
        shares.sandbox_ended(b);
        shares.sandbox_made(a);
        assert!(!shares.has_room(c) && shares.yields(b, c), "those without a reservation share");
        assert!(!shares.yields(a, c), "what is reserved stays");
    }
}
