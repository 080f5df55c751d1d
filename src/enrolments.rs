//! Enrolments of authenticator apps that wait for their first code: in memory only, one for each
//! session, so that what is active in the state file is never disturbed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::access::totp::{CodeCheck, Enrolment, TotpCode};

/// The enrolments that wait, by session. There are as many as live sessions at most.
#[derive(Debug, Default)]
pub struct Enrolments(Mutex<HashMap<String, Enrolment>>);

/// What came of a first code.
#[derive(Debug)]
pub enum FirstCode {
    /// The session enrols nothing, or has waited too long.
    NoEnrolment,
    /// It is right, and nobody else can use it: the enrolment waits no longer.
    Right(Enrolment, i64),
    /// It is not accepted; the enrolment goes on waiting.
    Refused(CodeCheck),
}

impl Enrolments {
    /// Lets an enrolment wait; one that the session has begun before is forgotten.
    pub fn begin(&self, session: &str, enrolment: Enrolment, now: Timestamp) {
        let mut waiting = self.lock();
        waiting.retain(|_session, enrolment| !enrolment.is_over(now));
        waiting.insert(session.to_owned(), enrolment);
    }

    /// Returns whether a session has an enrolment that waits.
    pub fn has_begun(&self, session: &str, now: Timestamp) -> bool {
        let waiting = self.lock();
        waiting
            .get(session)
            .is_some_and(|enrolment| !enrolment.is_over(now))
    }

    /// Checks a first code. Of all who send the right one, exactly one is told so.
    pub fn check(&self, session: &str, code: &TotpCode, now: Timestamp) -> FirstCode {
        let mut waiting = self.lock();
        waiting.retain(|_session, enrolment| !enrolment.is_over(now));
        let Some(mut enrolment) = waiting.remove(session) else {
            return FirstCode::NoEnrolment;
        };
        match enrolment.check(code, now) {
            CodeCheck::Accepted { step } => FirstCode::Right(enrolment, step),
            check @ (CodeCheck::AlreadyUsed { .. }
            | CodeCheck::Skewed { .. }
            | CodeCheck::Wrong) => {
                waiting.insert(session.to_owned(), enrolment);
                FirstCode::Refused(check)
            }
        }
    }

    /// Lets an enrolment wait again, since what followed from its code could not be written.
    pub fn put_back(&self, session: &str, enrolment: Enrolment) {
        self.lock().entry(session.to_owned()).or_insert(enrolment);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Enrolment>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
