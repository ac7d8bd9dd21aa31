//! Whether an idle sandbox is frozen: the Engine's pause and unpause as a state machine.
//!
//! Pure. The Engine's two calls take their time and must not overlap for one container (Engine
//! 20.10 answers 409 and 500 to quick pairs), so a wish that comes while a call is under way is
//! remembered in the state and carried out when the call has ended.

/// What the Engine was last asked to do with a container, and whether it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Frost {
    /// Its processes run.
    #[default]
    Warm,
    /// It is being paused. `wanted`: it is needed again already.
    Freezing {
        wanted: bool,
    },
    Frozen,
    /// It is being unpaused.
    Thawing,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nobody has needed it for long enough.
    Rest,
    /// It is needed.
    Need,
    /// The Engine has done what it was asked to.
    Done,
    /// The Engine has not.
    Failed,
}

/// What the Engine is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Freeze,
    Thaw,
}

impl Frost {
    /// The state after `turn` and what is to be asked, or `None` where it changes nothing.
    pub fn next(self, turn: Turn) -> Option<(Frost, Option<Ask>)> {
        use Frost::*;
        match (self, turn) {
            (Warm, Turn::Rest) => Some((Freezing { wanted: false }, Some(Ask::Freeze))),
            (Freezing { .. }, Turn::Need) => Some((Freezing { wanted: true }, None)),
            (Frozen, Turn::Need) => Some((Thawing, Some(Ask::Thaw))),
            (Freezing { wanted: false }, Turn::Done) => Some((Frozen, None)),
            (Freezing { wanted: true }, Turn::Done) => Some((Thawing, Some(Ask::Thaw))),
            (Freezing { .. }, Turn::Failed) | (Thawing, Turn::Done) => Some((Warm, None)),
            // Who asked for this has to end the sandbox: its processes may stand still for ever.
            (Thawing, Turn::Failed) => None,
            (Warm, Turn::Need | Turn::Done | Turn::Failed)
            | (Freezing { .. } | Frozen | Thawing, Turn::Rest)
            | (Frozen, Turn::Done | Turn::Failed)
            | (Thawing, Turn::Need) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_and_a_need_are_two_calls() {
        let (freezing, ask) = Frost::Warm.next(Turn::Rest).unwrap();
        assert_eq!(ask, Some(Ask::Freeze));
        let (frozen, ask) = freezing.next(Turn::Done).unwrap();
        assert_eq!((frozen, ask), (Frost::Frozen, None));
        let (thawing, ask) = frozen.next(Turn::Need).unwrap();
        assert_eq!((thawing, ask), (Frost::Thawing, Some(Ask::Thaw)));
        assert_eq!(thawing.next(Turn::Done), Some((Frost::Warm, None)));
    }

    #[test]
    fn a_need_while_it_is_being_frozen_waits_for_that() {
        let freezing = Frost::Freezing { wanted: false };
        let (wanted, ask) = freezing.next(Turn::Need).unwrap();
        assert_eq!((wanted, ask), (Frost::Freezing { wanted: true }, None));
        assert_eq!(wanted.next(Turn::Done), Some((Frost::Thawing, Some(Ask::Thaw))));
        assert_eq!(wanted.next(Turn::Failed), Some((Frost::Warm, None)), "it never stood still");
    }

    #[test]
    fn nothing_is_asked_twice() {
        assert_eq!(Frost::Thawing.next(Turn::Need), None);
        assert_eq!(Frost::Frozen.next(Turn::Rest), None);
        assert_eq!(Frost::Warm.next(Turn::Need), None);
        assert_eq!(Frost::Thawing.next(Turn::Failed), None);
    }
}
