//! Who may use how much of the concurrency: reserved shares, provisioned parts, and what is left
//! for all others.
//!
//! A reservation is both: nobody else can use it, and its function cannot use more
//! (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>). It counts for a
//! function, over all its versions. Provisioned concurrency is promised to one version; it comes
//! out of its function's reservation, else out of what is left for all
//! (<https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html>).
//!
//! So there are pots, one for each reservation and one for everybody else, and each pool of
//! sandboxes has a claim: what it was promised is its own, what it uses beyond that comes out of
//! its pot. The same figures bound invocations and sandboxes: a promise without room for its
//! sandboxes would promise nothing. Pure bookkeeping: it knows no sandbox and no invocation.

use std::collections::HashMap;

use super::invocation::Refusal;

pub(super) type ClaimId = u64;
type FunctionId = u64;

/// What one pool was promised and what it uses.
#[derive(Debug, Clone)]
struct Claim {
    function: FunctionId,
    promised: usize,
    /// Invocations without an outcome.
    active: usize,
    /// The service's own sandboxes that are not stopping.
    live: usize,
}

/// What some claims share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pot {
    size: usize,
    promised: usize,
    /// Invocations and sandboxes beyond what was promised to each claim.
    active: usize,
    live: usize,
}

#[derive(Debug)]
struct Function {
    key: String,
    /// Of a function with a reservation.
    own: Option<Pot>,
    claims: usize,
}

#[derive(Debug)]
pub(super) struct Shares {
    max: usize,
    common: Pot,
    by_key: HashMap<String, FunctionId>,
    functions: HashMap<FunctionId, Function>,
    claims: HashMap<ClaimId, Claim>,
    next_id: u64,
}

/// The function's part of a pool's key: `region/name` of `region/name/version`.
pub(super) fn function_of(pool_key: &str) -> &str {
    pool_key.rsplit_once('/').map_or(pool_key, |(function, _)| function)
}

impl Pot {
    /// What is left once every promise is kept.
    fn open(&self) -> usize {
        self.size.saturating_sub(self.promised)
    }

    fn add(&mut self, claim: &Claim) {
        self.promised += claim.promised;
        self.active += claim.active.saturating_sub(claim.promised);
        self.live += claim.live.saturating_sub(claim.promised);
    }

    fn subtract(&mut self, claim: &Claim) {
        self.promised -= claim.promised;
        self.active -= claim.active.saturating_sub(claim.promised);
        self.live -= claim.live.saturating_sub(claim.promised);
    }
}

impl Shares {
    pub(super) fn new(max: usize) -> Shares {
        Shares {
            max,
            common: Pot { size: max, ..Pot::default() },
            by_key: HashMap::new(),
            functions: HashMap::new(),
            claims: HashMap::new(),
            next_id: 1,
        }
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn entry(&mut self, key: &str) -> FunctionId {
        if let Some(&id) = self.by_key.get(key) {
            return id;
        }
        let id = self.new_id();
        self.functions.insert(id, Function { key: key.to_owned(), own: None, claims: 0 });
        self.by_key.insert(key.to_owned(), id);
        id
    }

    /// The claim of a new pool of this function.
    pub(super) fn join(&mut self, key: &str) -> ClaimId {
        let function = self.entry(key);
        if let Some(of) = self.functions.get_mut(&function) {
            of.claims += 1;
        }
        let id = self.new_id();
        self.claims.insert(id, Claim { function, promised: 0, active: 0, live: 0 });
        id
    }

    /// The pool of this claim is gone.
    pub(super) fn leave(&mut self, id: ClaimId) {
        let Some(claim) = self.claims.remove(&id) else { return };
        self.pot_mut(claim.function).subtract(&claim);
        if let Some(function) = self.functions.get_mut(&claim.function) {
            function.claims -= 1;
        }
        self.drop_if_unused(claim.function);
    }

    fn drop_if_unused(&mut self, id: FunctionId) {
        let unused = |function: &Function| function.claims == 0 && function.own.is_none();
        if self.functions.get(&id).is_some_and(unused)
            && let Some(function) = self.functions.remove(&id)
        {
            self.by_key.remove(&function.key);
        }
    }

    fn pot(&self, function: FunctionId) -> &Pot {
        self.functions.get(&function).and_then(|f| f.own.as_ref()).unwrap_or(&self.common)
    }

    fn pot_mut(&mut self, function: FunctionId) -> &mut Pot {
        match self.functions.get_mut(&function).and_then(|f| f.own.as_mut()) {
            Some(own) => own,
            None => &mut self.common,
        }
    }

    /// Changes a claim and what its pot has of it.
    fn change(&mut self, id: ClaimId, change: impl FnOnce(&mut Claim)) {
        let Some(claim) = self.claims.get_mut(&id) else { return };
        let before = claim.clone();
        change(claim);
        let after = claim.clone();
        let pot = self.pot_mut(before.function);
        pot.subtract(&before);
        pot.add(&after);
    }

    /// Sets or lifts a function's reservation. What runs beyond it goes on to its end.
    pub(super) fn set_reserved(&mut self, key: &str, reserved: Option<usize>) {
        let id = self.entry(key);
        let claims = self.claims.values().filter(|claim| claim.function == id);
        let mut own = Pot::default();
        claims.for_each(|claim| own.add(claim));
        let Some(function) = self.functions.get_mut(&id) else { return };
        if function.own.take().is_none() {
            // They were part of the common pot until now.
            self.common.promised -= own.promised;
            self.common.active -= own.active;
            self.common.live -= own.live;
        }
        match reserved {
            Some(size) => function.own = Some(Pot { size, ..own }),
            None => {
                self.common.promised += own.promised;
                self.common.active += own.active;
                self.common.live += own.live;
            }
        }
        let own = self.functions.values().filter_map(|function| function.own.as_ref());
        let reserved = own.fold(0usize, |sum, pot| sum.saturating_add(pot.size));
        self.common.size = self.max.saturating_sub(reserved);
        self.drop_if_unused(id);
    }

    /// Promises this much to one pool, instead of what it was promised before.
    pub(super) fn promise(&mut self, id: ClaimId, promised: usize) {
        self.change(id, |claim| claim.promised = promised);
    }

    /// Takes one of the invocations that this claim may have, or says why there is none to take.
    pub(super) fn take(&mut self, id: ClaimId) -> Result<(), Refusal> {
        self.may_take(id)?;
        self.change(id, |claim| claim.active += 1);
        Ok(())
    }

    /// Whether there is one to take.
    pub(super) fn may_take(&self, id: ClaimId) -> Result<(), Refusal> {
        let Some(claim) = self.claims.get(&id) else { return Ok(()) };
        let own = self.functions.get(&claim.function).and_then(|f| f.own.as_ref());
        let promised = claim.active < claim.promised;
        match own {
            Some(pot) if pot.size == 0 => Err(Refusal::Stopped),
            _ if promised => Ok(()),
            Some(pot) if pot.active >= pot.open() => Err(Refusal::ReservedLimit),
            None if self.common.active >= self.common.open() => Err(Refusal::ConcurrencyLimit),
            _ => Ok(()),
        }
    }

    /// An invocation that was taken has its outcome.
    pub(super) fn give_back(&mut self, id: ClaimId) {
        self.change(id, |claim| claim.active -= 1);
    }

    pub(super) fn sandbox_made(&mut self, id: ClaimId) {
        self.change(id, |claim| claim.live += 1);
    }

    pub(super) fn sandbox_ended(&mut self, id: ClaimId) {
        self.change(id, |claim| claim.live -= 1);
    }

    /// How many sandboxes this claim was promised, and how many it has.
    pub(super) fn promised_and_live(&self, id: ClaimId) -> (usize, usize) {
        self.claims.get(&id).map_or((0, 0), |claim| (claim.promised, claim.live))
    }

    /// How many sandboxes this claim was promised and does not have.
    pub(super) fn owed(&self, id: ClaimId) -> usize {
        self.claims.get(&id).map_or(0, |claim| claim.promised.saturating_sub(claim.live))
    }

    /// Whether this claim has more sandboxes than it was promised: one of them may go.
    pub(super) fn has_excess(&self, id: ClaimId) -> bool {
        self.claims.get(&id).is_some_and(|claim| claim.live > claim.promised)
    }

    /// Whether this claim has room for a sandbox. One is always allowed: what was accepted before a
    /// reservation was lowered to nothing is still carried out.
    pub(super) fn has_room(&self, id: ClaimId) -> bool {
        let Some(claim) = self.claims.get(&id) else { return false };
        let pot = self.pot(claim.function);
        claim.live < claim.promised || pot.live < pot.open().max(1)
    }

    /// Whether an idle sandbox of `other` may end so that `id` gets one.
    pub(super) fn yields(&self, other: ClaimId, id: ClaimId) -> bool {
        let (Some(of_other), Some(of_id)) = (self.claims.get(&other), self.claims.get(&id)) else {
            return false;
        };
        if !self.has_excess(other) {
            return false;
        }
        let own = |function| self.functions.get(&function).is_some_and(|f| f.own.is_some());
        if !self.has_room(id) {
            // Within the same pot.
            let (theirs, ours) = (of_other.function, of_id.function);
            return theirs == ours || !own(theirs) && !own(ours);
        }
        // There is room by the figures, so somebody has more than their own: a reservation or a
        // promise was set or lowered while they had it.
        let pot = self.pot(of_other.function);
        pot.live > pot.open()
    }

    /// Whether anything but the total bounds anybody.
    pub(super) fn any_bounds(&self) -> bool {
        self.common.size != self.max || self.common.promised > 0
    }

    /// Recounts every pot from the claims, and every claim by `count` (active, live). For tests.
    #[cfg(test)]
    pub(super) fn check(&self, count: impl Fn(ClaimId) -> (usize, usize)) {
        let mut common = Pot { size: self.common.size, ..Pot::default() };
        for (&id, claim) in &self.claims {
            assert_eq!((claim.active, claim.live), count(id), "{claim:?}");
            if self.functions[&claim.function].own.is_none() {
                common.add(claim);
            }
        }
        assert_eq!(self.common, common, "the common pot");
        for (id, function) in &self.functions {
            let ours = self.claims.values().filter(|claim| claim.function == *id);
            assert_eq!(function.claims, ours.clone().count(), "{function:?}");
            if let Some(own) = &function.own {
                let mut pot = Pot { size: own.size, ..Pot::default() };
                ours.for_each(|claim| pot.add(claim));
                assert_eq!(*own, pot, "{function:?}");
            }
            assert_eq!(self.by_key.get(&function.key), Some(id));
        }
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
        assert_eq!(shares.take(a), Err(Refusal::Stopped));
        assert_eq!(shares.take(b), Ok(()));
    }

    #[test]
    fn the_versions_of_a_function_count_together_and_a_reservation_outlives_its_pools() {
        let mut shares = Shares::new(10);
        assert_eq!(function_of("us-east-1/f/$LATEST"), function_of("us-east-1/f/7"));
        shares.set_reserved("r/f", Some(1));
        let (one, two) = (shares.join("r/f"), shares.join("r/f"));
        assert_eq!(shares.take(one), Ok(()));
        assert_eq!(shares.take(two), Err(Refusal::ReservedLimit));
        shares.give_back(one);
        shares.leave(one);
        shares.leave(two);
        let again = shares.join("r/f");
        assert_eq!(shares.take(again), Ok(()));
        assert_eq!(shares.take(again), Err(Refusal::ReservedLimit));
        shares.give_back(again);
        shares.set_reserved("r/f", None);
        shares.leave(again);
        assert!(shares.functions.is_empty() && shares.by_key.is_empty());
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

    #[test]
    fn what_is_promised_to_a_version_is_its_own_and_it_may_have_more() {
        let mut shares = Shares::new(4);
        let (one, latest, other) = (shares.join("r/f"), shares.join("r/f"), shares.join("r/g"));
        shares.promise(one, 2);
        assert_eq!(shares.owed(one), 2);
        assert_eq!((shares.take(other), shares.take(latest)), (Ok(()), Ok(())));
        assert_eq!(shares.take(latest), Err(Refusal::ConcurrencyLimit), "not of this version");
        assert_eq!((shares.take(one), shares.take(one)), (Ok(()), Ok(())));
        assert_eq!(shares.take(one), Err(Refusal::ConcurrencyLimit));
        shares.give_back(other);
        assert_eq!(shares.take(one), Ok(()), "beyond its own it shares with the others");
        shares.promise(one, 0);
        assert!(!shares.any_bounds());
        shares.check(|id| if id == one { (3, 0) } else { (usize::from(id == latest), 0) });
    }

    #[test]
    fn a_promise_comes_out_of_the_functions_reservation() {
        let mut shares = Shares::new(5);
        let (one, latest) = (shares.join("r/f"), shares.join("r/f"));
        shares.promise(one, 1);
        shares.sandbox_made(one);
        shares.set_reserved("r/f", Some(2));
        assert_eq!(shares.take(latest), Ok(()));
        assert_eq!(shares.take(latest), Err(Refusal::ReservedLimit));
        assert_eq!(shares.take(one), Ok(()));
        assert!(!shares.has_excess(one) && !shares.yields(one, latest), "it stays ready");
        shares.sandbox_made(one);
        assert!(!shares.has_room(latest) && shares.yields(one, latest), "the one beyond may go");
    }
}
