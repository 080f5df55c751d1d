//! How long a thread has computed, whatever other programs do meanwhile.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Returns how long this thread has computed, in seconds.
pub(crate) fn by_this_thread() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).map_or(f64::NAN, |time| time.as_secs_f64())
}
