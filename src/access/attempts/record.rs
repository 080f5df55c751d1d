//! What is remembered of one subject, and the rules by which it gets a penalty.

use std::collections::VecDeque;

use jiff::SignedDuration;

use super::moment::Moment;

/// How many failures in which time start a penalty, and how the penalties grow.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) failures: usize,
    window: SignedDuration,
    penalties: &'static [SignedDuration],
}

impl Rule {
    fn levels(&self) -> u8 {
        u8::try_from(self.penalties.len()).unwrap_or(u8::MAX)
    }

    /// Returns how long the penalty of a level is; the first level is 1.
    pub(super) fn length(&self, level: u8) -> Option<SignedDuration> {
        self.penalties
            .get(usize::from(level).checked_sub(1)?)
            .copied()
    }
}

pub(super) const fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

pub(super) const DAY: SignedDuration = SignedDuration::from_hours(24);

/// How many times as much is allowed to a /48 as to a /64.
pub(super) const WIDE: usize = 20;

pub(super) const SINGLE: Rule = Rule {
    failures: 5,
    window: minutes(5),
    penalties: &[minutes(1), minutes(5), minutes(15), minutes(60), DAY],
};

pub(super) const NETWORK: Rule = Rule {
    failures: 5 * WIDE,
    ..SINGLE
};

pub(super) const PROXY: Rule = Rule {
    failures: 50,
    ..SINGLE
};

pub(super) const PROXY_NETWORK: Rule = Rule {
    failures: 50 * WIDE,
    ..SINGLE
};

pub(super) const CODES: Rule = Rule {
    failures: 10,
    window: minutes(15),
    penalties: &[
        minutes(15),
        minutes(30),
        minutes(60),
        minutes(120),
        minutes(240),
        minutes(480),
        minutes(960),
        DAY,
    ],
};

/// A penalty that has just started, or is on.
#[derive(Clone, Copy)]
pub(super) struct Started {
    pub(super) until: Moment,
    pub(super) level: u8,
}

/// What is remembered of one subject.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// When it failed, oldest first; fewer than its rule allows.
    pub(super) failures: VecDeque<Moment>,
    /// How many attempts are being checked.
    pub(super) places: usize,
    /// How many penalties there were, up to the longest.
    pub(super) level: u8,
    pub(super) until: Option<Moment>,
    /// When the level is forgotten.
    pub(super) remembered_until: Moment,
    /// Its turn to be forgotten for want of room.
    pub(super) turn: u64,
}

impl Record {
    /// Forgets what is over.
    pub(super) fn settle(&mut self, rule: &Rule, now: Moment) {
        self.until = self.until.filter(|until| *until > now);
        if self.until.is_none() && self.remembered_until <= now {
            self.level = 0;
        }
        let over = self.over(rule, now);
        self.failures.drain(..over);
        if self.failures.is_empty() {
            self.failures = VecDeque::new(); // gives its memory back, too
        }
    }

    /// Returns how many failures no longer count.
    fn over(&self, rule: &Rule, now: Moment) -> usize {
        self.failures
            .partition_point(|failure| now.since(*failure) >= rule.window)
    }

    /// Returns whether one more attempt could fail without being too many.
    pub(super) fn has_place(&self, rule: &Rule, now: Moment) -> bool {
        self.failures.len() - self.over(rule, now) + self.places < rule.failures
    }

    /// Turns a place into a failure, and starts a penalty if it was the last one allowed.
    pub(super) fn fail(&mut self, rule: &Rule, now: Moment) -> Option<Started> {
        self.settle(rule, now);
        self.places = self.places.saturating_sub(1);
        self.failures.push_back(now);
        self.remembered_until = self.remembered_until.max(now.after(DAY));
        (self.failures.len() >= rule.failures).then(|| self.start_penalty(rule, now))
    }

    /// Starts the next longer penalty, or the longest again.
    pub(super) fn start_penalty(&mut self, rule: &Rule, now: Moment) -> Started {
        self.level = self.level.saturating_add(1).min(rule.levels());
        let length = rule.length(self.level).unwrap_or(DAY);
        let until = now.after(length);
        self.failures = VecDeque::new();
        self.until = Some(until);
        // After a day's penalty a day without failure has passed that proves nothing.
        self.remembered_until = now.after(DAY).max(until.after(length));
        Started {
            until,
            level: self.level,
        }
    }

    /// Ends a penalty and forgets all before it; returns whether there was one.
    pub(super) fn lift(&mut self) -> bool {
        let was_on = self.until.is_some();
        if was_on {
            *self = Self {
                places: self.places,
                turn: self.turn,
                ..Self::default()
            };
        }
        was_on
    }

    /// Returns whether nothing of an idle record counts any longer.
    pub(super) fn is_over(&self, rule: &Rule, now: Moment) -> bool {
        let is_forgotten = self.level == 0 || self.remembered_until <= now;
        is_forgotten && self.over(rule, now) == self.failures.len()
    }

    /// Returns whether there is nothing to remember.
    pub(super) fn is_blank(&self) -> bool {
        self.failures.is_empty() && self.places == 0 && self.level == 0 && self.until.is_none()
    }
}
