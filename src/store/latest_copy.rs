//! A second copy of the state that is in place, so that damage to the file does not take with it
//! what only the last change knew.
//!
//! It is written after each change and before the change's answer, but not waited for: the process
//! may end at any time, and a power cut finds it synced as soon as the writer had a quarter of a
//! second for itself. It is a file of its own, not another name of the first one, since an editor
//! may write over that in place.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{StatePaths, files, recovery};
use crate::access::Access;
use crate::access::jwt::SigningSecret;

/// How often a copy that failed is tried again while nothing changes.
const TRY_AGAIN_EVERY: Duration = Duration::from_secs(10);

/// The copy, as the one who writes it knows it.
#[derive(Clone, Debug)]
pub(super) struct LatestCopy {
    /// What the names of all copies begin with.
    base: PathBuf,
    /// What signs the tokens of the state in it.
    secret: Option<SigningSecret>,
    reach: Reach,
}

/// How far the copy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// It is of an earlier state, or not there.
    Behind,
    /// The same, since it could not be written then.
    Failed(Instant),
    /// It is there, unless the machine stops.
    Written,
    /// It is there.
    Durable,
}

impl LatestCopy {
    /// Finds the copy of a starting program; with the state in it, where that can be read and is
    /// not the very text of what is in place.
    pub(super) fn find(paths: &StatePaths, in_place: Option<&Access>) -> (Self, Option<Access>) {
        let mut found = Self {
            base: paths.copies.clone(),
            secret: None,
            reach: Reach::Behind,
        };
        if let Some(access) = in_place
            && is_same(&paths.auth_json, &path(&paths.copies))
        {
            found.secret = access.signing_secret().cloned();
            found.reach = Reach::Written;
            return (found, None);
        }
        let copied = recovery::read(&path(&paths.copies)).ok();
        found.secret = copied
            .as_ref()
            .and_then(|access| access.signing_secret().cloned());
        (found, copied)
    }

    /// Returns whether it should be written although nothing has changed.
    pub(super) fn is_due(&self) -> bool {
        match self.reach {
            Reach::Behind => true,
            Reach::Failed(at) => at.elapsed() >= TRY_AGAIN_EVERY,
            Reach::Written | Reach::Durable => false,
        }
    }

    /// Returns whether it could not be written when that was tried last.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.reach, Reach::Failed(_))
    }

    /// Makes it a copy of `text`, which is `access` and in place.
    ///
    /// A state whose tokens another secret signed is put aside first: what it knows to be spent
    /// would be lost, and its other copies may come back.
    pub(super) fn keep(&mut self, text: &[u8], access: &Access, now: Timestamp) -> io::Result<()> {
        self.reach = Reach::Failed(Instant::now());
        if self.secret.is_some() && self.secret.as_ref() != access.signing_secret() {
            recovery::rename_aside(&path(&self.base), &self.base, now)?;
        }
        files::replace_file_unsynced(&path(&self.base), text)?;
        self.secret = access.signing_secret().cloned();
        self.reach = Reach::Written;
        Ok(())
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.reach != Reach::Written {
            return Ok(());
        }
        let path = path(&self.base);
        let synced = File::open(&path)
            .and_then(|file| file.sync_all())
            .and_then(|()| files::sync_directory(&path));
        self.reach = match &synced {
            Ok(()) => Reach::Durable,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Reach::Behind,
            Err(_) => Reach::Failed(Instant::now()),
        };
        if self.reach == Reach::Behind {
            return Ok(());
        }
        synced
    }
}

/// Returns where the copy lies.
fn path(base: &Path) -> PathBuf {
    files::beside(base, ".bak-latest")
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::read(one), fs::read(other)) {
        (Ok(one), Ok(other)) => one == other,
        (Err(_), _) | (_, Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
    use std::sync::mpsc;
    use std::thread;

    use tempfile::TempDir;

    use super::*;
    use crate::access::profile::DisplayName;
    use crate::access::totp;
    use crate::clock::Clock;
    use crate::store::{Notice, Observer, State, Store};

    const BEFORE: &str =
        r#"{ "declined": true, "jwt_secret": "0123456789abcdef0123456789abcdef" }"#;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn step() -> i64 {
        totp::current_step(now())
    }

    struct Listener(mpsc::Sender<Notice>);

    impl Observer for Listener {
        fn saw(&self, _state: &State) {}

        fn noticed(&self, notice: &Notice) {
            let _nobody_listens = self.0.send(notice.clone());
        }
    }

    struct Place {
        _dir: TempDir,
        paths: StatePaths,
    }

    impl Place {
        fn with(text: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let paths = StatePaths::new(dir.path(), &dir.path().join("data"));
            let place = Self { _dir: dir, paths };
            place.put(text);
            place
        }

        /// Writes the state file in place, as a careless editor does.
        fn put(&self, text: &str) {
            use std::io::Write as _;

            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&self.paths.auth_json).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn open(&self) -> (Store, Vec<String>, mpsc::Receiver<Notice>) {
            let (sender, notices) = mpsc::channel();
            let clock = Clock::standing_at(now());
            let (store, told) = Store::open(&self.paths, clock, Listener(sender)).unwrap();
            (store, told, notices)
        }

        fn latest(&self) -> PathBuf {
            path(&self.paths.copies)
        }

        fn text(&self) -> String {
            fs::read_to_string(&self.paths.auth_json).unwrap()
        }

        fn copied(&self) -> Option<String> {
            fs::read_to_string(self.latest()).ok()
        }
    }

    fn rename(store: &Store, name: &str) {
        let name = DisplayName::parse(name).unwrap();
        let change = move |access: &mut Access| {
            access.set_display_name(name.clone());
            Ok::<_, ()>(())
        };
        store.update_now(change).unwrap().unwrap();
    }

    fn burn_a_step(store: &Store) {
        let change = |access: &mut Access| {
            access.burn_step(step(), now());
            Ok::<_, ()>(())
        };
        store.update_now(change).unwrap().unwrap();
    }

    fn is_spent(store: &Store) -> bool {
        let access = store.read();
        access.is_ok_and(|access| access.spent_steps().contains(step(), now()))
    }

    fn is_undone(told: &[String]) -> bool {
        told.iter().any(|sentence| sentence.contains("count again"))
    }

    fn soon(mut holds: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if holds() {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    #[test]
    fn a_change_is_known_twice_before_it_is_answered() {
        let place = Place::with(BEFORE);
        let (store, _told, _notices) = place.open();
        rename(&store, "one");
        let one = place.text();

        rename(&store, "two");

        assert_eq!(place.copied().unwrap(), place.text());
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_ne!(
            inode(&place.latest()),
            inode(&place.paths.auth_json),
            "an editor that writes in place must not reach both"
        );
        let previous = files::beside(&place.paths.copies, ".bak");
        assert_eq!(fs::read_to_string(previous).unwrap(), one);
    }

    #[test]
    fn what_is_found_at_start_or_edited_later_is_copied_soon() {
        let place = Place::with(BEFORE);
        let (store, _told, _notices) = place.open();
        let copied = |word: &str| soon(|| place.copied().is_some_and(|text| text.contains(word)));
        assert!(copied("declined"));

        place.put(&BEFORE.replace('{', "{ \"note\": 1,"));

        assert!(copied("note"));
        drop(store);
    }

    #[test]
    fn what_is_spent_stays_so_when_the_file_is_put_back_while_nobody_runs() {
        let place = Place::with(BEFORE);
        let (store, told, _notices) = place.open();
        assert!(!is_undone(&told) && !is_spent(&store));
        burn_a_step(&store);
        store.close();
        place.put(BEFORE);

        let (store, told, _notices) = place.open();

        assert!(is_spent(&store));
        assert!(is_undone(&told), "{told:?}");
        assert!(soon(|| place.text().contains(&step().to_string())));
        store.close();
        let (_store, told, _notices) = place.open();
        assert!(!is_undone(&told), "{told:?}");
    }

    #[test]
    fn a_start_on_a_damaged_file_forgets_nothing() {
        let place = Place::with(BEFORE);
        let (store, _told, _notices) = place.open();
        burn_a_step(&store);
        store.close();
        place.put("{");
        let (store, _told, _notices) = place.open();
        assert!(store.read().is_err());

        place.put(BEFORE);

        assert!(soon(|| store.read().is_ok()));
        assert!(is_spent(&store));
    }

    #[test]
    fn a_fresh_start_puts_the_copy_of_another_secret_aside() {
        let place = Place::with(BEFORE);
        let (store, _told, _notices) = place.open();
        burn_a_step(&store);
        store.close();
        let before = place.text();
        fs::remove_file(&place.paths.auth_json).unwrap();

        let (store, _told, _notices) = place.open();
        assert!(!is_spent(&store), "a fresh start");
        rename(&store, "one");
        rename(&store, "two");

        assert_eq!(place.copied().unwrap(), place.text());
        let aside = files::beside(&place.paths.copies, ".bak-20270115T080000Z");
        assert_eq!(fs::read_to_string(aside).unwrap(), before);
        let copies = recovery::copy_paths(&place.paths.copies);
        assert_eq!(copies.count(), 3, "put aside once");
        drop(store);
    }

    #[test]
    fn a_copy_that_fails_is_told_once_and_fails_no_change() {
        let place = Place::with(BEFORE);
        let in_the_way = place.latest().join("file");
        fs::create_dir_all(&in_the_way).unwrap();
        let (store, _told, notices) = place.open();

        rename(&store, "one");
        rename(&store, "two");

        let told = Vec::from_iter(notices.try_iter());
        assert!(matches!(told[..], [Notice::Uncopied(_)]), "{told:?}");
        assert!(place.text().contains("two"));
        let litter = files::beside(&place.latest(), ".new");
        assert!(!litter.exists());
        fs::remove_dir_all(place.latest()).unwrap();
        rename(&store, "three");
        assert_eq!(place.copied().unwrap(), place.text());
    }

    #[test]
    fn it_is_synced_once_and_written_again_if_it_vanishes() {
        let place = Place::with(BEFORE);
        let access = Access::from_json(BEFORE).unwrap();
        let (mut copy, copied) = LatestCopy::find(&place.paths, Some(&access));
        assert!(copy.is_due() && copied.is_none());
        copy.keep(BEFORE.as_bytes(), &access, now()).unwrap();
        assert_eq!((copy.reach, copy.is_due()), (Reach::Written, false));

        copy.sync().unwrap();
        assert_eq!((copy.reach, copy.is_due()), (Reach::Durable, false));

        copy.keep(BEFORE.as_bytes(), &access, now()).unwrap();
        fs::remove_file(place.latest()).unwrap();
        copy.sync().unwrap();
        assert!(copy.is_due());
    }
}
