//! Medians and ratios over rounds.

/// The middle of some figures, and how far they are spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// Half of them are smaller.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of some figures; `None` without any.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let mut figures = figures.to_vec();
        figures.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            (figures[middle - 1] + figures[middle]) / 2.0
        };
        Some(Self { median, min, max })
    }

    /// How often `of` goes into `figures`, round by round: both stand in the order of the rounds, so what the
    /// machine did in a round falls on both sides.
    pub(crate) fn of_ratios(figures: &[f64], of: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = figures.iter().zip(of).map(|(figure, of)| figure / of).collect();
        Self::of(&ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_of_two_middles_the_mean() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // In the second round the machine was slow for both: the ratio does not move.
        let ratio = Spread::of_ratios(&[20.0, 2.0, 30.0], &[10.0, 1.0, 10.0]);
        assert_eq!(ratio, Some(Spread { median: 2.0, min: 2.0, max: 3.0 }));
    }

    #[test]
    fn a_row_without_rounds_has_no_ratio() {
        assert_eq!(Spread::of_ratios(&[1.0], &[]), None);
    }
}
