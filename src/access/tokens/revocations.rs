//! The list of tokens that never count again.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use indexmap::map::Entry;
use jiff::Timestamp;
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use crate::access::digest::Digest;

/// The digests of tokens that never count again, each with the time until which it must be known.
///
/// A million of them cost about sixty bytes each, and changing anything else does not copy them.
#[derive(Clone, Debug, Default)]
pub struct Revocations(Arc<IndexMap<Digest, KnownUntil>>);

/// When a revoked token has certainly expired, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct KnownUntil(i64);

impl KnownUntil {
    /// Nobody said when the token expires.
    const EVER: Self = Self(i64::MAX);
}

impl Revocations {
    /// Learns until when listed digests must be known; others are not added.
    pub(in crate::access) fn learn_until(&mut self, until: &HashMap<Digest, Timestamp>) {
        let map = Arc::make_mut(&mut self.0);
        for (digest, until) in until {
            if let Some(known) = map.get_mut(digest) {
                *known = KnownUntil(until.as_second());
            }
        }
    }

    /// Returns whether the token with this digest was revoked.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.0.contains_key(digest)
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a digest that must be known `until` then; a later time wins over an earlier one.
    pub fn insert(&mut self, digest: Digest, until: Option<Timestamp>) {
        let until = until.map_or(KnownUntil::EVER, |until| KnownUntil(until.as_second()));
        match Arc::make_mut(&mut self.0).entry(digest) {
            Entry::Occupied(mut known) => {
                let latest = (*known.get()).max(until);
                known.insert(latest);
            }
            Entry::Vacant(new) => {
                new.insert(until);
            }
        }
    }

    /// Adds all that `other` has and this one lacks, so that a revocation is never undone.
    pub fn merge(&mut self, other: &Self) {
        if Arc::ptr_eq(&self.0, &other.0) {
            return;
        }
        let missing = Vec::from_iter(other.0.iter().filter(|(digest, _)| !self.contains(digest)));
        if missing.is_empty() {
            return;
        }
        let map = Arc::make_mut(&mut self.0);
        map.extend(missing.into_iter().map(|(digest, until)| (*digest, *until)));
    }

    /// Drops what has certainly expired by `now`.
    pub fn prune(&mut self, now: Timestamp) {
        let is_over = |until: &KnownUntil| until.0 <= now.as_second();
        if self.0.values().any(is_over) {
            Arc::make_mut(&mut self.0).retain(|_digest, until| !is_over(until));
        }
    }

    /// Returns the list `revoked_tokens` of the state file.
    pub(in crate::access) fn digests(&self) -> impl Serialize {
        struct Digests<'a>(&'a Revocations);
        impl Serialize for Digests<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut list = serializer.serialize_seq(Some(self.0.len()))?;
                for digest in self.0.0.keys() {
                    list.serialize_element(digest)?;
                }
                list.end()
            }
        }
        Digests(self)
    }

    /// Returns the map `revoked_until` of the state file.
    pub(in crate::access) fn known_until(&self) -> impl Serialize {
        struct Known<'a>(&'a Revocations);
        impl Serialize for Known<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                for (digest, until) in self.0.0.iter() {
                    if let Ok(until) = Timestamp::from_second(until.0) {
                        map.serialize_entry(digest, &until)?;
                    }
                }
                map.end()
            }
        }
        Known(self)
    }
}

impl FromIterator<Digest> for Revocations {
    fn from_iter<I: IntoIterator<Item = Digest>>(digests: I) -> Self {
        let forever = digests.into_iter().map(|digest| (digest, KnownUntil::EVER));
        let mut map = IndexMap::from_iter(forever);
        map.shrink_to_fit();
        Self(Arc::new(map))
    }
}
