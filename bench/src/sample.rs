//! What is said of many measurements: the one in the middle, the one near the end.

/// Returns the value in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// Returns the smallest value that `percent` per cent of all do not exceed (nearest rank).
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// A thing and its reference, measured one after the other in each round.
#[derive(Default)]
pub(crate) struct Pairs {
    figures: Vec<f64>,
    references: Vec<f64>,
}

impl Pairs {
    /// Adds a round.
    pub(crate) fn add(&mut self, figure: f64, reference: f64) {
        self.figures.push(figure);
        self.references.push(reference);
    }

    /// Returns the thing's median.
    pub(crate) fn figure(&self) -> f64 {
        median(&self.figures)
    }

    /// Returns the reference's median.
    pub(crate) fn reference(&self) -> f64 {
        median(&self.references)
    }

    /// Returns the median of the rounds' differences.
    pub(crate) fn difference(&self) -> f64 {
        let rounds = self.figures.iter().zip(&self.references);
        median(&Vec::from_iter(
            rounds.map(|(figure, reference)| figure - reference),
        ))
    }

    /// Returns the median of the rounds' ratios. What slows the machine down for a while slows
    /// both halves of a round, so this is steadier than the ratio of the medians.
    pub(crate) fn ratio(&self) -> f64 {
        let rounds = self.figures.iter().zip(&self.references);
        median(&Vec::from_iter(
            rounds.map(|(figure, reference)| figure / reference),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred = Vec::from_iter((1..=100).rev().map(f64::from));

        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((percentile(&hundred, 99) - 99.0).abs() < f64::EPSILON);
        assert!((percentile(&[7.0], 99) - 7.0).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_slow_round_does_not_move_what_is_told() {
        let mut pairs = Pairs::default();
        pairs.add(9.0, 10.0);
        pairs.add(0.9, 1.0);
        pairs.add(90.0, 100.0);

        assert!((pairs.ratio() - 0.9).abs() < 1e-9);
        assert!((pairs.difference() + 1.0).abs() < 1e-9);
    }
}
