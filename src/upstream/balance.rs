//! Which of several connections takes the next call. Pure: loads and
//! randomness are passed in.

/// The less loaded of two candidates drawn at random ("power of two choices"),
/// which balances nearly as well as knowing the least loaded of all, without
/// looking at all of them and without every caller rushing to the same one.
///
/// `load` is `None` for a candidate that has no room. When both that were
/// drawn are full, the least loaded of all that have room is taken; `None`
/// means that none has. `random(n)` must return a number below `n`.
pub(super) fn least_of_two<T>(
    candidates: &[T],
    load: impl Fn(&T) -> Option<usize>,
    mut random: impl FnMut(usize) -> usize,
) -> Option<&T> {
    let count = candidates.len();
    if count > 1 {
        let first = random(count);
        // An offset of 1 to count - 1: never the same one twice.
        let second = (first + 1 + random(count - 1)) % count;
        let drawn = [first, second].into_iter().filter_map(|index| candidates.get(index));
        if let Some(found) = least_loaded(drawn, &load) {
            return Some(found);
        }
    }
    least_loaded(candidates.iter(), &load)
}

/// Of equals the first, so that the draw decides.
fn least_loaded<'a, T>(
    candidates: impl Iterator<Item = &'a T>,
    load: impl Fn(&T) -> Option<usize>,
) -> Option<&'a T> {
    candidates
        .filter_map(|candidate| load(candidate).map(|load| (load, candidate)))
        .min_by_key(|(load, _)| *load)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source of "randomness" that returns the given numbers, then zeros.
    fn draws(numbers: &[usize]) -> impl FnMut(usize) -> usize + '_ {
        let mut numbers = numbers.iter().copied();
        move |below| numbers.next().unwrap_or(0) % below
    }

    fn pick(loads: &[Option<usize>], random: &[usize]) -> Option<usize> {
        let candidates: Vec<usize> = (0..loads.len()).collect();
        least_of_two(&candidates, |index| loads[*index], draws(random)).copied()
    }

    #[test]
    fn the_less_loaded_of_the_two_drawn_is_taken() {
        let loads = [Some(0), Some(9), Some(3), Some(5)];
        assert_eq!(pick(&loads, &[1, 0]), Some(2)); // 1 and 2 are drawn
        assert_eq!(pick(&loads, &[3, 1]), Some(3)); // 3 and 1 are drawn
        assert_eq!(pick(&loads, &[2, 1]), Some(0)); // 2 and 0 are drawn
    }

    #[test]
    fn of_equals_the_draw_decides() {
        assert_eq!(pick(&[Some(1), Some(1)], &[0]), Some(0));
        assert_eq!(pick(&[Some(1), Some(1)], &[1]), Some(1));
    }

    #[test]
    fn two_full_ones_drawn_fall_back_to_any_with_room() {
        assert_eq!(pick(&[None, None, Some(7), Some(4)], &[0, 0]), Some(3));
    }

    #[test]
    fn there_is_no_choice_among_none_or_among_full_ones() {
        assert_eq!(pick(&[], &[]), None);
        assert_eq!(pick(&[None], &[]), None);
        assert_eq!(pick(&[None, None, None], &[2, 1]), None);
        assert_eq!(pick(&[Some(3)], &[]), Some(0));
    }
}
