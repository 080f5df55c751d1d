//! Proxies that were seen but are not trusted, in memory only, bounded: so that the owner can trust
//! them with one click.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::access::digest::Digest;
use crate::access::random::{self, RandomError};

/// How many are remembered. Anybody may send such a header, and push others out.
const MOST: usize = 64;
/// For how long.
const FOR: SignedDuration = SignedDuration::from_hours(1);

/// A peer that sent a forwarding header without being trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenProxy {
    /// Its address.
    pub address: IpAddr,
    /// When it did so last.
    pub last_seen_at: Timestamp,
    /// How many requests came from it since it was seen first.
    pub requests: u64,
}

/// Those that were seen.
#[derive(Debug, Default)]
pub struct ProxiesSeen(Mutex<HashMap<IpAddr, SeenProxy>>);

/// Tickets with which a page tries whether a WebSocket comes through its proxies: each opens one
/// that says back what it is told once, and nothing else.
#[derive(Debug, Default)]
pub struct SocketTrials(Mutex<VecDeque<(Digest, Timestamp)>>);

impl SocketTrials {
    /// How many wait at most; a new one ends the oldest.
    const MOST: usize = 32;
    /// For how long one is good.
    const LIFETIME: SignedDuration = SignedDuration::from_mins(1);

    /// Makes a ticket.
    pub fn issue(&self, now: Timestamp) -> Result<String, RandomError> {
        let ticket = random::hex::<32>()?;
        let mut waiting = self.lock();
        if waiting.len() >= Self::MOST {
            waiting.pop_front();
        }
        waiting.push_back((Digest::of(ticket.as_bytes()), now + Self::LIFETIME));
        Ok(ticket)
    }

    /// Takes a ticket; true once, in time.
    pub fn redeem(&self, ticket: &str, now: Timestamp) -> bool {
        let digest = Digest::of(ticket.as_bytes());
        let mut waiting = self.lock();
        let place = waiting.iter().position(|(known, _)| *known == digest);
        let taken = place.and_then(|place| waiting.remove(place));
        taken.is_some_and(|(_, ends_at)| now < ends_at)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Digest, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProxiesSeen {
    /// Remembers one.
    pub fn note(&self, address: IpAddr, now: Timestamp) {
        let mut seen = self.lock();
        if seen.len() >= MOST && !seen.contains_key(&address) {
            let oldest = seen.values().min_by_key(|proxy| proxy.last_seen_at);
            if let Some(oldest) = oldest.map(|proxy| proxy.address) {
                seen.remove(&oldest);
            }
        }
        let proxy = seen.entry(address).or_insert(SeenProxy {
            address,
            last_seen_at: now,
            requests: 0,
        });
        proxy.last_seen_at = now;
        proxy.requests = proxy.requests.saturating_add(1);
    }

    /// Returns those of the last hour, the latest first.
    pub fn lately(&self, now: Timestamp) -> Vec<SeenProxy> {
        let seen = self.lock();
        let lately = seen
            .values()
            .filter(|proxy| now.duration_since(proxy.last_seen_at) < FOR);
        let mut lately = Vec::from_iter(lately.copied());
        lately.sort_by_key(|proxy| (std::cmp::Reverse(proxy.last_seen_at), proxy.address));
        lately
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, SeenProxy>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_proxy_is_remembered_for_an_hour() {
        let seen = ProxiesSeen::default();
        let address: IpAddr = "192.0.2.7".parse().unwrap();

        seen.note(address, now());
        seen.note(address, now());

        let lately = seen.lately(now());
        assert_eq!((lately.len(), lately[0].requests), (1, 2));
        assert!(seen.lately(now() + FOR).is_empty());
    }

    #[test]
    fn a_ticket_opens_one_socket_in_time() {
        let trials = SocketTrials::default();
        let (first, late) = (trials.issue(now()).unwrap(), trials.issue(now()).unwrap());

        assert!(!trials.redeem("", now()));
        assert!(trials.redeem(&first, now()));
        assert!(!trials.redeem(&first, now()));
        assert!(!trials.redeem(&late, now() + SocketTrials::LIFETIME));
    }

    #[test]
    fn a_stranger_cannot_fill_the_memory() {
        let seen = ProxiesSeen::default();
        for number in 0..1000_u32 {
            let at = now() + SignedDuration::from_millis(i64::from(number));
            seen.note(std::net::Ipv4Addr::from(number).into(), at);
        }
        let lately = seen.lately(now());
        assert_eq!(lately.len(), MOST);
        assert_eq!(
            lately[0].address,
            std::net::Ipv4Addr::from(999)
                .to_string()
                .parse::<IpAddr>()
                .unwrap()
        );
    }
}
