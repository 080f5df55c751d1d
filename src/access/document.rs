//! `auth.json`: how [`Access`] is read from it and written back.
//!
//! The file of the Python program is read as it is. Keys that we do not know keep their place and
//! their text. A file that is not what it should be is [`DamagedState`], never a guess.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::{self, DeserializeOwned, Deserializer as _};
use serde::ser::{self, SerializeMap as _};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::digest::Digest;
use super::jwt::SigningSecret;
use super::passwords::PasswordHash;
use super::tokens::{ApiTokens, Revocations};
use super::totp::TotpSecret;
use super::{Access, Door};

/// The version of the files that we write.
const VERSION: u64 = 2;

/// Why a state file cannot be trusted, and where; it never repeats what the file holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct DamagedState {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// A key of the file that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Enabled,
    Declined,
    Configured,
    Username,
    PasswordHash,
    JwtSecret,
    TotpEnabled,
    TotpSecret,
    LastTotpCounter,
    BurntTotpSteps,
    BackupCodes,
    ApiTokens,
    RevokedTokens,
    RevokedUntil,
    DisplayName,
    Sessions,
    KnownDevices,
    Passkeys,
    Version,
}

/// Every key with its name and what it must hold, in the order of a file that we start.
const KEYS: &[(Key, &str, &str)] = &[
    (Key::Enabled, "enabled", "true or false"),
    (Key::Declined, "declined", "true or false"),
    (Key::Configured, "configured", "true or false"),
    (Key::Username, "username", "a text or null"),
    (
        Key::PasswordHash,
        "password_hash",
        "a password hash or null",
    ),
    (Key::JwtSecret, "jwt_secret", "a text"),
    (Key::TotpEnabled, "totp_enabled", "true or false"),
    (Key::TotpSecret, "totp_secret", "a Base32 text or null"),
    (
        Key::LastTotpCounter,
        "last_totp_counter",
        "a whole number or null",
    ),
    (
        Key::BurntTotpSteps,
        "burnt_totp_steps",
        "a list of whole numbers",
    ),
    (Key::BackupCodes, "backup_codes", "a list of hashed codes"),
    (Key::ApiTokens, "api_tokens", "a list of tokens"),
    (
        Key::RevokedTokens,
        "revoked_tokens",
        "a list of SHA-256 digests",
    ),
    (
        Key::RevokedUntil,
        "revoked_until",
        "a map of digests to times",
    ),
    (Key::DisplayName, "display_name", "a text or null"),
    (Key::Sessions, "sessions", "a list of sessions"),
    (Key::KnownDevices, "known_devices", "a list of devices"),
    (Key::Passkeys, "passkeys", "a list of passkeys"),
    (Key::Version, "version", "a whole number"),
];

/// One line of the file's outermost object: a key that we know, or one that we only keep.
#[derive(Clone, Debug)]
enum Entry {
    Known(Key),
    Kept(String, Box<RawValue>),
}

/// The order of the file's keys, with those that we do not know.
#[derive(Clone, Debug)]
pub(super) struct Layout(Arc<Vec<Entry>>);

impl Default for Layout {
    fn default() -> Self {
        let known = KEYS.iter().map(|(key, _, _)| Entry::Known(*key));
        Self(Arc::new(known.collect()))
    }
}

impl Access {
    /// Reads the text of a state file.
    pub fn from_json(text: &str) -> Result<Self, DamagedState> {
        let entries = outermost(text)?;
        let mut access = Self::default();
        let mut layout = Vec::with_capacity(KEYS.len());
        let mut until = HashMap::new();
        for (name, raw) in &entries {
            let Some((key, _, expected)) = KEYS.iter().find(|(_, known, _)| known == name) else {
                layout.push(Entry::Kept(name.clone(), (*raw).to_owned()));
                continue;
            };
            layout.push(Entry::Known(*key));
            access
                .take(*key, raw, &mut until)
                .map_err(|line| DamagedState {
                    line: line_of(text, raw.get()) + line.saturating_sub(1),
                    problem: format!("`{name}` is not {expected}"),
                })?;
        }
        if !until.is_empty() {
            access.revoked.learn_until(&until);
        }
        for (key, _, _) in KEYS {
            let is_there = |entry: &Entry| matches!(entry, Entry::Known(known) if known == key);
            if !layout.iter().any(is_there) {
                layout.push(Entry::Known(*key));
            }
        }
        access.layout = Layout(Arc::new(layout));
        access.check(text, &entries)?;
        Ok(access)
    }

    /// Writes the text of a state file: two spaces a level, a line feed at the end.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Takes the value of one key; fails with the line inside the value.
    fn take(
        &mut self,
        key: Key,
        raw: &RawValue,
        until: &mut HashMap<Digest, Timestamp>,
    ) -> Result<(), usize> {
        match key {
            Key::Enabled => self.enabled = read(raw)?,
            Key::Declined => self.declined = read(raw)?,
            Key::Configured => self.configured = read(raw)?,
            Key::Username => self.username = non_empty(read(raw)?),
            Key::PasswordHash => {
                let text: Option<String> = non_empty(read(raw)?);
                let parse = |text: String| PasswordHash::parse(&text).map_err(|_malformed| 1_usize);
                self.password_hash = text.map(parse).transpose()?;
            }
            Key::JwtSecret => {
                let text: Option<String> = read(raw)?;
                self.jwt_secret = text.and_then(|text| SigningSecret::parse(&text).ok());
            }
            Key::TotpEnabled => self.totp_enabled = read(raw)?,
            Key::TotpSecret => {
                let text: Option<String> = non_empty(read(raw)?);
                let parse = |text: String| TotpSecret::parse(&text).map_err(|_malformed| 1_usize);
                self.totp_secret = text.map(parse).transpose()?;
            }
            Key::LastTotpCounter => self.last_totp_counter = read(raw)?,
            Key::BurntTotpSteps => self.burnt_totp_steps = list(raw)?,
            Key::BackupCodes => self.backup_codes = list(raw)?,
            Key::ApiTokens => self.api_tokens = Arc::new(ApiTokens::from_iter(list(raw)?)),
            Key::RevokedTokens => {
                self.revoked = Revocations::from_iter(list::<Digest>(raw)?);
            }
            Key::RevokedUntil => {
                let known: Option<HashMap<Digest, Timestamp>> = read(raw)?;
                *until = known.unwrap_or_default();
            }
            Key::DisplayName => self.display_name = non_empty(read(raw)?),
            Key::Sessions => self.sessions = list(raw)?.into_iter().collect(),
            Key::KnownDevices => self.known_devices = list(raw)?,
            Key::Passkeys => self.passkeys = list::<Box<RawValue>>(raw)?.into_iter().collect(),
            Key::Version => self.version = read(raw)?,
        }
        Ok(())
    }

    /// Refuses a file whose parts do not go together.
    fn check(&self, text: &str, entries: &[(String, &RawValue)]) -> Result<(), DamagedState> {
        let line = |name: &str| {
            let entry = entries.iter().find(|(key, _)| key == name);
            entry.map_or(1, |(_, raw)| line_of(text, raw.get()))
        };
        let problem = if self.enabled && self.password_hash.is_none() {
            Some((
                "enabled",
                "`enabled` is true but `password_hash` holds no usable hash",
            ))
        } else if self.enabled && self.username.is_none() {
            Some(("enabled", "`enabled` is true but `username` is empty"))
        } else if self.totp_enabled && self.totp_secret.is_none() {
            Some((
                "totp_enabled",
                "`totp_enabled` is true but `totp_secret` is empty",
            ))
        } else {
            None
        };
        match problem {
            Some((name, problem)) => Err(DamagedState {
                line: line(name),
                problem: problem.to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn write_known<S: ser::SerializeMap>(&self, map: &mut S, key: Key) -> Result<(), S::Error> {
        let name = KEYS.iter().find(|(known, _, _)| *known == key);
        let name = name.map_or("", |(_, name, _)| *name);
        match key {
            Key::Enabled => map.serialize_entry(name, &self.enabled),
            Key::Declined => map.serialize_entry(name, &self.declined),
            Key::Configured => map.serialize_entry(name, &(self.door() != Door::NotConfigured)),
            Key::Username => map.serialize_entry(name, &self.username),
            Key::PasswordHash => map.serialize_entry(name, &self.password_hash),
            Key::JwtSecret => {
                let secret = self.jwt_secret.as_ref().map(SigningSecret::expose);
                map.serialize_entry(name, &secret)
            }
            Key::TotpEnabled => map.serialize_entry(name, &self.totp_enabled),
            Key::TotpSecret => map.serialize_entry(name, &self.totp_secret),
            Key::LastTotpCounter => map.serialize_entry(name, &self.last_totp_counter),
            Key::BurntTotpSteps => map.serialize_entry(name, &self.burnt_totp_steps),
            Key::BackupCodes => map.serialize_entry(name, &self.backup_codes),
            Key::ApiTokens => map.serialize_entry(name, &*self.api_tokens),
            Key::RevokedTokens => map.serialize_entry(name, &self.revoked.digests()),
            Key::RevokedUntil => map.serialize_entry(name, &self.revoked.known_until()),
            Key::DisplayName => map.serialize_entry(name, &self.display_name),
            Key::Sessions => map.serialize_entry(name, &self.sessions),
            Key::KnownDevices => map.serialize_entry(name, &self.known_devices),
            Key::Passkeys => map.serialize_entry(name, &self.passkeys),
            Key::Version => map.serialize_entry(name, &self.version.max(VERSION)),
        }
    }
}

impl Serialize for Access {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.layout.0.len()))?;
        for entry in self.layout.0.iter() {
            match entry {
                Entry::Known(key) => self.write_known(&mut map, *key)?,
                Entry::Kept(name, raw) => map.serialize_entry(name, raw)?,
            }
        }
        map.end()
    }
}

/// Splits the outermost object into its entries, refusing anything else and a key that stands twice.
fn outermost(text: &str) -> Result<Vec<(String, &RawValue)>, DamagedState> {
    struct Outermost;
    impl<'de> de::Visitor<'de> for Outermost {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries: Self::Value = Vec::with_capacity(KEYS.len());
            while let Some(entry) = map.next_entry::<String, &RawValue>()? {
                if entries.iter().any(|(name, _)| *name == entry.0) {
                    return Err(de::Error::custom("twice"));
                }
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let entries = json.deserialize_map(Outermost).and_then(|entries| {
        json.end()?;
        Ok(entries)
    });
    entries.map_err(|error| DamagedState {
        line: error.line().max(1),
        problem: match error.classify() {
            serde_json::error::Category::Eof => "the file ends too early".to_owned(),
            serde_json::error::Category::Syntax => format!("not JSON at column {}", error.column()),
            serde_json::error::Category::Data | serde_json::error::Category::Io => {
                "not an object of keys that stand once each".to_owned()
            }
        },
    })
}

/// Returns the line of `text` on which its part `part` begins.
fn line_of(text: &str, part: &str) -> usize {
    let offset = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    let before = text.get(..offset).unwrap_or_default();
    1 + before.matches('\n').count()
}

fn read<T: DeserializeOwned>(raw: &RawValue) -> Result<T, usize> {
    serde_json::from_str(raw.get()).map_err(|error| error.line())
}

/// Reads a list; null is an empty one.
fn list<T: DeserializeOwned>(raw: &RawValue) -> Result<Vec<T>, usize> {
    read::<Option<Vec<T>>>(raw).map(Option::unwrap_or_default)
}

/// The Python program's reset leaves empty texts where it means nothing.
fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str =
        "pbkdf2_sha256$1$c2FsdHNhbHRzYWx0c2FsdA==$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn read_back(text: &str) -> serde_json::Value {
        let written = Access::from_json(text).unwrap().to_json().unwrap();
        serde_json::from_slice(&written).unwrap()
    }

    #[test]
    fn unknown_keys_keep_their_place_and_their_text() {
        let text = "{\n  \"theme\": {\"b\": 1.50, \"a\": [1e400]},\n  \"enabled\": false,\n  \"zzz\": null\n}";

        let written = Access::from_json(text).unwrap().to_json().unwrap();

        let written = String::from_utf8(written).unwrap();
        assert!(
            written.starts_with("{\n  \"theme\": {\"b\": 1.50, \"a\": [1e400]},\n  \"enabled\": false,\n  \"zzz\": null,\n"),
            "{written}"
        );
        assert_eq!(
            Access::from_json(&written).unwrap().to_json().unwrap(),
            written.into_bytes()
        );
    }

    #[test]
    fn an_empty_object_is_not_configured() {
        assert_eq!(Access::from_json("{}").unwrap().door(), Door::NotConfigured);
    }

    #[test]
    fn the_door_follows_the_three_flags() {
        let hash = format!(r#""username":"owner","password_hash":"{HASH}""#);
        for (flags, door) in [
            (r#""enabled":false,"declined":true"#, Door::Open),
            (r#""enabled":true,"declined":true"#, Door::Protected),
            (r#""enabled":true,"configured":false"#, Door::Protected),
            (r#""enabled":false,"configured":true"#, Door::NotConfigured),
            (r#""configured":null"#, Door::NotConfigured),
        ] {
            let access = Access::from_json(&format!("{{{flags},{hash}}}")).unwrap();
            assert_eq!(access.door(), door, "{flags}");
        }
    }

    #[test]
    fn the_old_menus_empty_texts_mean_nothing() {
        let written =
            read_back(r#"{"enabled":false,"username":"","password_hash":"","totp_secret":""}"#);
        assert_eq!(written["username"], serde_json::Value::Null);
        assert_eq!(written["password_hash"], serde_json::Value::Null);
        assert_eq!(written["configured"], false);
        assert_eq!(written["version"], 2);
    }

    #[test]
    fn damage_is_named_with_its_line_and_without_its_content() {
        for (text, line, problem) in [
            ("", 1, "the file ends too early"),
            ("[]", 1, "not an object of keys that stand once each"),
            (
                "{\n\"enabled\": \"s3cret\"}",
                2,
                "`enabled` is not true or false",
            ),
            (
                "{\"enabled\": true,\n\"enabled\": false}",
                2,
                "not an object of keys that stand once each",
            ),
            (
                "{\n\n\"enabled\": true}",
                3,
                "`enabled` is true but `password_hash` holds no usable hash",
            ),
            (
                "{\"password_hash\":\n\"md5\"}",
                2,
                "`password_hash` is not a password hash or null",
            ),
            (
                "{\"revoked_tokens\": [\n\"s3cret\"]}",
                2,
                "`revoked_tokens` is not a list of SHA-256 digests",
            ),
            (
                "{\"totp_enabled\": true}",
                1,
                "`totp_enabled` is true but `totp_secret` is empty",
            ),
            (
                "{\"enabled\": true,\n \"username\" 1}",
                2,
                "not JSON at column 13",
            ),
            ("{} {}", 1, "not JSON at column 4"),
        ] {
            let damage = Access::from_json(text).unwrap_err();
            assert_eq!(
                (damage.line, damage.problem.as_str()),
                (line, problem),
                "{text}"
            );
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_damaged() {
        let text = format!(
            "{{\n  \"enabled\": true,\n  \"username\": \"owner\",\n  \"password_hash\": \"{HASH}\"\n}}"
        );
        for end in 0..text.len() {
            assert!(Access::from_json(&text[..end]).is_err(), "cut at {end}");
        }
        assert_eq!(Access::from_json(&text).unwrap().door(), Door::Protected);
    }

    #[test]
    fn a_short_secret_is_replaced_and_a_long_one_kept() {
        let short = Access::from_json(r#"{"jwt_secret":"short"}"#).unwrap();
        assert!(short.jwt_secret.is_none());
        let kept = read_back(r#"{"jwt_secret":"0123456789abcdef0123456789abcdef"}"#);
        assert_eq!(kept["jwt_secret"], "0123456789abcdef0123456789abcdef");
    }

    #[test]
    fn revocations_keep_their_order_and_times() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let written = read_back(&format!(
            r#"{{"revoked_until":{{"{two}":"2027-01-02T03:04:05Z"}},"revoked_tokens":["{two}","{one}"]}}"#
        ));
        assert_eq!(
            written["revoked_tokens"],
            serde_json::json!([two.to_string(), one.to_string()])
        );
        assert_eq!(
            written["revoked_until"],
            serde_json::json!({ two.to_string(): "2027-01-02T03:04:05Z" })
        );
    }
}
