//! The only question "what time is it?".

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// A clock: the machine's, or one that a test moves.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Machine,
    Moved(Arc<AtomicI64>),
}

impl Clock {
    /// Returns the machine's clock.
    pub fn machine() -> Self {
        Self(Kind::Machine)
    }

    /// Returns a clock that stands at `start` until it is moved.
    pub fn standing_at(start: Timestamp) -> Self {
        Self(Kind::Moved(Arc::new(AtomicI64::new(
            start.as_millisecond(),
        ))))
    }

    /// Returns the time.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that others ask"
    )]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::Machine => Timestamp::now(),
            Kind::Moved(at) => {
                Timestamp::from_millisecond(at.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// Moves a standing clock; the machine's cannot be moved.
    pub fn advance(&self, by: SignedDuration) {
        if let Kind::Moved(at) = &self.0 {
            let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            at.fetch_add(by, Ordering::SeqCst);
        }
    }
}
