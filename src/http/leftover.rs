//! What a handler leaves of a request's body: read off before the answer goes out.
//!
//! Many clients send the whole body before they look for an answer. To close the connection on them
//! would hide the refusal behind a broken pipe, so a bounded rest is read and thrown away.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

/// How much is read off at most.
const MOST: usize = 8 * 1024 * 1024;
/// For how long.
const PATIENCE: Duration = Duration::from_secs(2);

/// A request's body, seen from outside of its handler.
pub(super) struct Leftover(Option<Shared>);

impl Leftover {
    /// Takes a second look at the body of `request`, if it has one.
    pub(super) fn of(request: &mut Request) -> Self {
        if request.body().is_end_stream() {
            return Self(None);
        }
        let body = std::mem::take(request.body_mut());
        let shared = Shared(Arc::new(Mutex::new(body)));
        *request.body_mut() = Body::new(shared.clone());
        Self(Some(shared))
    }

    /// Reads what is left, within bounds.
    pub(super) async fn read_off(self) {
        let Some(mut body) = self.0.filter(|body| !body.is_end_stream()) else {
            return;
        };
        let read = async {
            let mut total = 0;
            while let Some(Ok(frame)) = body.frame().await {
                total += frame.data_ref().map_or(0, Bytes::len);
                if total > MOST {
                    return;
                }
            }
        };
        let _enough = tokio::time::timeout(PATIENCE, read).await;
    }
}

/// A body that two hold: its handler, and who reads off what the handler leaves.
#[derive(Clone)]
struct Shared(Arc<Mutex<Body>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_rest_of_a_body_is_read_off() {
        let mut request = Request::new(Body::from(vec![0; 100_000]));
        let leftover = Leftover::of(&mut request);
        let Leftover(Some(body)) = &leftover else {
            panic!("there is a body");
        };
        let body = body.clone();
        drop(request);

        leftover.read_off().await;

        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn a_request_without_a_body_costs_nothing() {
        let mut request = Request::new(Body::empty());
        assert!(Leftover::of(&mut request).0.is_none());
    }
}
