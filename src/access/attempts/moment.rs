//! Time that never goes back.

use jiff::{SignedDuration, Timestamp};

/// A point of time that never goes back, as a distance from the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(SignedDuration);

impl Moment {
    /// Returns the moment this much later.
    pub(super) fn after(self, duration: SignedDuration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// Returns how long ago `earlier` was.
    pub(super) fn since(self, earlier: Self) -> SignedDuration {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<Timestamp> for Moment {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp.as_duration())
    }
}

/// Time as it passes, whatever the host's clock is set to.
///
/// A clock that is set back stands still for an instant here. So a penalty lasts neither longer
/// nor shorter for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SteadyClock {
    /// When it was asked last.
    latest: Moment,
    /// How far ahead of the host's clock this one is.
    ahead: SignedDuration,
}

/// Threads may ask the host's clock in one order and come here in another.
const JITTER: SignedDuration = SignedDuration::from_secs(1);

impl Default for SteadyClock {
    fn default() -> Self {
        Self {
            latest: Moment(SignedDuration::MIN),
            ahead: SignedDuration::ZERO,
        }
    }
}

impl SteadyClock {
    /// Returns the moment that it is, given what the host's clock shows.
    pub(super) fn tick(&mut self, now: Timestamp) -> Moment {
        let moment = Moment::from(now).after(self.ahead);
        let behind = self.latest.since(moment);
        if !behind.is_positive() {
            self.latest = moment;
        } else if behind > JITTER {
            self.ahead = self.ahead.saturating_add(behind);
        }
        self.latest
    }

    /// Returns the moment at which it was asked last.
    pub(super) fn latest(&self) -> Moment {
        self.latest
    }

    /// Returns what the host's clock shows at `moment`.
    pub(super) fn wall(&self, moment: Moment) -> Timestamp {
        let wall = moment.0.saturating_sub(self.ahead);
        let furthest = if wall.is_negative() {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        };
        Timestamp::from_duration(wall).unwrap_or(furthest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn passed(clock: &mut SteadyClock, from: Moment, seconds: i64) -> i64 {
        clock.tick(at(seconds)).since(from).as_secs()
    }

    #[test]
    fn a_clock_that_is_set_back_stands_still_once() {
        let mut clock = SteadyClock::default();
        let start = clock.tick(at(0));

        assert_eq!(passed(&mut clock, start, 30), 30);
        assert_eq!(passed(&mut clock, start, -3_600), 30);
        assert_eq!(passed(&mut clock, start, -3_590), 40);
        assert_eq!(passed(&mut clock, start, -9_999_999), 40);
        assert_eq!(passed(&mut clock, start, -9_999_990), 49);
        assert_eq!(clock.wall(clock.latest()), at(-9_999_990));
    }

    #[test]
    fn calls_in_the_wrong_order_do_not_speed_time_up() {
        let mut clock = SteadyClock::default();
        let start = clock.tick(at(0));
        for second in 1..100 {
            let late = at(second)
                .saturating_sub(SignedDuration::from_millis(900))
                .unwrap();
            assert_eq!(passed(&mut clock, start, second), second);
            assert_eq!(clock.tick(late).since(start).as_secs(), second);
        }
        assert_eq!(clock.wall(clock.latest()), at(99));
    }

    #[test]
    fn the_ends_of_time_are_no_overflow() {
        let mut clock = SteadyClock::default();
        for now in [
            Timestamp::MAX,
            Timestamp::MIN,
            Timestamp::MAX,
            at(0),
            Timestamp::MIN,
        ] {
            let moment = clock.tick(now);
            assert_eq!(clock.wall(moment), now);
            assert!(clock.wall(moment.after(SignedDuration::MAX)) == Timestamp::MAX);
            assert!(clock.wall(Moment(SignedDuration::MIN)) == Timestamp::MIN);
        }
    }
}
