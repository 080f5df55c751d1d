//! Passkeys as the state file keeps them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::handles::{CredentialId, UserHandle};
use super::public_key::PublicKey;
use crate::access::hosts::HostName;
use crate::access::label::Label;

/// One passkey as the state file keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passkey {
    /// The name by which it is listed and removed: sixteen hex digits made from the credential's.
    #[serde(default)]
    pub id: String,
    /// The name that its authenticator gave it.
    pub credential_id: CredentialId,
    /// The name that its authenticator knows the account by.
    pub user_handle: UserHandle,
    /// The host name that it belongs to: browsers offer it nowhere else.
    pub rp_id: HostName,
    /// What its signatures are checked with.
    pub public_key: PublicKey,
    /// How often it was used, as far as its authenticator counts; 0 where it does not.
    pub counter: u32,
    /// Whether its authenticator may copy it to others of the same person.
    pub backup_eligible: bool,
    /// Whether it has done so.
    pub backed_up: bool,
    /// What its person calls it.
    pub name: Label,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used.
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
    /// What a later version keeps here.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Passkey {
    /// Returns whether a use with this counter can be that of the one authenticator there is
    /// (WebAuthn §6.1.1): where it counts, it never counts back or stands still.
    pub(super) fn is_counted_on(&self, counter: u32) -> bool {
        counter > self.counter || (counter, self.counter) == (0, 0)
    }
}

/// The passkeys of the account. What stands in the list and is none that we can read counts for
/// nothing, and is kept.
#[derive(Clone, Debug, Default)]
pub struct Passkeys(Vec<Entry>);

#[derive(Clone, Debug)]
enum Entry {
    Known(Box<Passkey>),
    Kept(Box<RawValue>),
}

impl Passkeys {
    /// Returns the passkeys, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Passkey> {
        self.0.iter().filter_map(|entry| match entry {
            Entry::Known(passkey) => Some(&**passkey),
            Entry::Kept(_) => None,
        })
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the passkey with this id.
    pub fn find(&self, id: &str) -> Option<&Passkey> {
        self.iter().find(|passkey| passkey.id == id)
    }

    /// Returns the passkey that its authenticator knows by this name.
    pub fn find_credential(&self, id: &[u8]) -> Option<&Passkey> {
        self.iter()
            .find(|passkey| passkey.credential_id.as_bytes() == id)
    }

    pub(super) fn find_mut(&mut self, id: &str) -> Option<&mut Passkey> {
        let known = self.0.iter_mut().filter_map(|entry| match entry {
            Entry::Known(passkey) => Some(&mut **passkey),
            Entry::Kept(_) => None,
        });
        known.into_iter().find(|passkey| passkey.id == id)
    }

    pub(super) fn push(&mut self, passkey: Passkey) {
        self.0.push(Entry::Known(Box::new(passkey)));
    }

    pub(super) fn remove(&mut self, id: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| match entry {
            Entry::Known(passkey) => passkey.id != id,
            Entry::Kept(_) => true,
        });
        self.0.len() < before
    }

    /// Forgets everything in the list.
    pub(in crate::access) fn clear(&mut self) {
        self.0.clear();
    }

    /// Makes sure that no counter is lower than it was in `previous`.
    pub(in crate::access) fn keep_counters(&mut self, previous: &Self) {
        for old in previous.iter() {
            if let Some(passkey) = self.find_mut(&old.id) {
                passkey.counter = passkey.counter.max(old.counter);
            }
        }
    }

    /// Returns all counters together, which only ever grows.
    pub(in crate::access) fn uses(&self) -> u64 {
        self.iter().map(|passkey| u64::from(passkey.counter)).sum()
    }
}

impl FromIterator<Box<RawValue>> for Passkeys {
    /// Reads the entries of the state file.
    fn from_iter<I: IntoIterator<Item = Box<RawValue>>>(entries: I) -> Self {
        let read = |raw: Box<RawValue>| match serde_json::from_str::<Passkey>(raw.get()) {
            Ok(mut passkey) => {
                passkey.id = passkey.credential_id.short();
                Entry::Known(Box::new(passkey))
            }
            Err(_unreadable) => Entry::Kept(raw),
        };
        Self(entries.into_iter().map(read).collect())
    }
}

impl Serialize for Passkeys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Written<'a> {
            Known(&'a Passkey),
            Kept(&'a RawValue),
        }
        serializer.collect_seq(self.0.iter().map(|entry| match entry {
            Entry::Known(passkey) => Written::Known(passkey),
            Entry::Kept(raw) => Written::Kept(raw),
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::access::Access;

    fn written() -> Value {
        json!({
            "id": "be45cb2605bf36be",
            "credential_id": "AAECAwQFBgcICQoLDA0ODw",
            "user_handle": "EBESExQVFhcYGRobHB0eHw",
            "rp_id": "pve.example.net",
            "public_key": {
                "kty": "EC",
                "alg": "ES256",
                "crv": "P-256",
                "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
                "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
            },
            "counter": 7,
            "backup_eligible": true,
            "backed_up": false,
            "name": "Firefox on Linux",
            "created_at": "2026-01-02T03:04:05Z",
            "last_used_at": null,
        })
    }

    fn read(list: &Value) -> Access {
        Access::from_json(&json!({ "passkeys": list }).to_string()).unwrap()
    }

    fn write(access: &Access) -> String {
        String::from_utf8(access.to_json().unwrap()).unwrap()
    }

    #[test]
    fn a_passkey_is_written_as_it_was_read() {
        let mut later = written();
        later["icon"] = json!({ "a": 1 });
        for entry in [written(), later] {
            let list = json!([entry]);
            let access = read(&list);

            assert_eq!(access.passkeys().len(), 1);
            let again: Value = serde_json::from_str(&write(&access)).unwrap();
            assert_eq!(again["passkeys"], list);
        }
    }

    #[test]
    fn the_id_in_the_list_is_made_from_the_credentials() {
        let mut entry = written();
        entry["id"] = json!("of another");
        let access = read(&json!([entry]));

        assert!(access.passkeys().find("of another").is_none());
        assert!(access.passkeys().find("be45cb2605bf36be").is_some());
        entry.as_object_mut().unwrap().remove("id");
        assert!(
            read(&json!([entry]))
                .passkeys()
                .find("be45cb2605bf36be")
                .is_some()
        );
    }

    #[test]
    fn what_is_no_passkey_counts_for_nothing_and_is_kept() {
        let mut odd = vec![
            r#"{"id": "x"}"#.to_owned(),
            "null".to_owned(),
            "5".to_owned(),
            "[[]]".to_owned(),
            r#"{"huge": 1e400, "b": 1.50}"#.to_owned(),
        ];
        for (key, wrong) in [
            ("counter", json!(-1)),
            ("counter", json!(4_294_967_296_u64)),
            ("rp_id", json!("https://pve.example.net")),
            ("name", json!("")),
            ("user_handle", json!("AAAA")),
            ("public_key", json!("a key")),
            ("created_at", json!("yesterday")),
        ] {
            let mut entry = written();
            entry[key] = wrong;
            odd.push(entry.to_string());
        }
        let list = odd.join(", ");
        let text = format!(r#"{{"passkeys": [{list}, {}]}}"#, written());

        let access = Access::from_json(&text).unwrap();

        assert_eq!(access.passkeys().len(), 1);
        let again = write(&access);
        for entry in odd {
            assert!(again.contains(&entry), "{entry} is lost in {again}");
        }
        assert_eq!(Access::from_json(&again).unwrap().passkeys().len(), 1);
    }

    #[test]
    fn a_file_that_is_read_again_sets_no_counter_back() {
        let secret = "a signing secret of more than thirty-two characters";
        let file = |secret: &str, counter: u32| {
            let mut entry = written();
            entry["counter"] = json!(counter);
            let text = json!({ "jwt_secret": secret, "passkeys": [entry] }).to_string();
            Access::from_json(&text).unwrap()
        };
        let counter = |access: &Access| access.passkeys().iter().next().unwrap().counter;

        for (now, then, kept) in [(9, 7, 9), (7, 7, 7), (7, 9, 9)] {
            let mut access = file(secret, then);
            assert_eq!(access.carry_over(&file(secret, now)), kept != then);
            assert_eq!(counter(&access), kept);
        }
        let mut other = file(&secret.to_uppercase(), 7);
        other.carry_over(&file(secret, 9));
        assert_eq!(counter(&other), 7);
    }
}
