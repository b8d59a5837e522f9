//! Outcomes of pushes as gateways send them: a session's slot and the outcome in
//! one small number.

use crate::broker::Outcome;

const BITS: u32 = 3;

/// One number for both.
pub(super) fn pack(slot: u32, outcome: Outcome) -> u32 {
    let code = match outcome {
        Outcome::Confirmed => 1,
        Outcome::Offline => 2,
        Outcome::Overflowed => 3,
        Outcome::Closed => 4,
        Outcome::Expired => 5,
    };
    slot << BITS | code
}

/// The slot, and the outcome if it is one that is known here.
pub(super) fn unpack(packed: u32) -> (usize, Option<Outcome>) {
    let outcome = match packed & ((1 << BITS) - 1) {
        1 => Some(Outcome::Confirmed),
        2 => Some(Outcome::Offline),
        3 => Some(Outcome::Overflowed),
        4 => Some(Outcome::Closed),
        5 => Some(Outcome::Expired),
        _ => None,
    };
    ((packed >> BITS) as usize, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_as_they_are_written() {
        let outcomes = [
            Outcome::Confirmed,
            Outcome::Offline,
            Outcome::Overflowed,
            Outcome::Closed,
            Outcome::Expired,
        ];
        for outcome in outcomes {
            for slot in [0, 1, 14_999, (1 << (32 - BITS)) - 1] {
                assert_eq!(unpack(pack(slot, outcome)), (slot as usize, Some(outcome)));
            }
        }
        assert_eq!(unpack(0).1, None);
    }
}
