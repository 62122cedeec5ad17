//! The keys of all tenants, unwrapped for as long as the box runs.

use crate::cipher::{Cipher, MasterKey, Secret, TermKey, random_key};
use crate::file::{self, State, WrappedKey};
use crate::{Result, SealingError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

/// The keys in a file, which the box's master key wraps.
pub struct Keyring {
    /// `None` where the file stays as it is.
    path: Option<PathBuf>,
    master: MasterKey,
    held: RwLock<Held>,
}

struct Held {
    state: State,
    keys: HashMap<u32, Arc<Key>>,
    /// The newest key of each tenant.
    current: HashMap<String, u32>,
    /// Keys that have gone since: whoever reads now what they have sealed began before.
    gone: HashSet<u32>,
}

struct Key {
    secret: Secret,
    cipher: Cipher,
}

/// Opens what one key has sealed.
#[derive(Clone)]
pub struct Opener(Arc<Key>);

impl Opener {
    /// Opens bytes that were sealed for a place.
    pub fn open(&self, place: &[&str], sealed: &[u8]) -> Result<Vec<u8>> {
        self.0.cipher.open(place, sealed)
    }
}

/// Where a wrapped key belongs.
fn place<'a>(tenant: &'a str, number: &'a str) -> [&'a str; 3] {
    ["tenant key", tenant, number]
}

fn unwrap(number: u32, wrapped: &WrappedKey, master: &MasterKey) -> Result<Secret> {
    let sealed = STANDARD.decode(&wrapped.wrapped).map_err(|_| SealingError::NotGenuine)?;
    let key = master.cipher().open(&place(&wrapped.tenant, &number.to_string()), &sealed)?;
    let key: [u8; 32] = zeroize::Zeroizing::new(key).as_slice().try_into().map_err(|_| SealingError::NotGenuine)?;
    Ok(Secret::new(key))
}

impl Keyring {
    /// Opens the keys in a file, or begins one. Keys that one of `older` wraps are wrapped by `master` from now on; a
    /// key that none of them opens is an error.
    pub fn open(path: &Path, master: MasterKey, older: &[MasterKey]) -> Result<Self> {
        let (mut keyring, rewrapped) = Self::read(path, master, older)?;
        if rewrapped {
            let held = keyring.held.get_mut().unwrap_or_else(PoisonError::into_inner);
            file::write(path, &held.state)?;
        }
        keyring.path = Some(path.to_owned());
        Ok(keyring)
    }

    /// As [`Keyring::open`], and the file stays as it is: what would change in it changes in memory alone.
    pub fn open_unchanged(path: &Path, master: MasterKey, older: &[MasterKey]) -> Result<Self> {
        Ok(Self::read(path, master, older)?.0)
    }

    /// Reads the keys in a file, and says whether some of them are wrapped anew.
    fn read(path: &Path, master: MasterKey, older: &[MasterKey]) -> Result<(Self, bool)> {
        let mut state = file::read(path)?;
        let (mut keys, mut current, mut rewrapped) = (HashMap::new(), HashMap::new(), false);
        let given = master.fingerprint();
        for (&number, wrapped) in &mut state.keys {
            let by = [&master].into_iter().chain(older).find(|known| known.fingerprint() == wrapped.master);
            let other = || SealingError::OtherMaster { wanted: wrapped.master.clone(), given: given.clone() };
            let secret = unwrap(number, wrapped, by.ok_or_else(other)?)?;
            if wrapped.master != given {
                let sealed = master.cipher().seal(&place(&wrapped.tenant, &number.to_string()), secret.as_ref())?;
                (wrapped.master, wrapped.wrapped) = (given.clone(), STANDARD.encode(sealed));
                rewrapped = true;
            }
            let cipher = Cipher::new(&secret);
            keys.insert(number, Arc::new(Key { secret, cipher }));
            // They come by rising number.
            current.insert(wrapped.tenant.clone(), number);
        }
        Ok((
            Self { path: None, master, held: RwLock::new(Held { state, keys, current, gone: HashSet::new() }) },
            rewrapped,
        ))
    }

    /// Seals bytes for a place with a tenant's newest key, which is made and durable first if there is none; gives
    /// its number.
    pub fn seal(&self, tenant: &str, place: &[&str], plain: &[u8]) -> Result<(u32, Vec<u8>)> {
        let is_erasing = |held: &Held| held.state.erasing.contains(tenant);
        if is_erasing(&self.held.read().unwrap_or_else(PoisonError::into_inner)) {
            return Err(SealingError::Erasing);
        }
        let (number, key) = self.current(tenant)?;
        Ok((number, key.cipher.seal(place, plain)?))
    }

    /// Opens bytes that key `number` has sealed for a place.
    pub fn open_sealed(&self, number: u32, place: &[&str], sealed: &[u8]) -> Result<Vec<u8>> {
        self.opener(number)?.open(place, sealed)
    }

    /// What opens all that key `number` has sealed, for who opens much at a time. It opens it also when the key has
    /// gone since.
    pub fn opener(&self, number: u32) -> Result<Opener> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let key = held.keys.get(&number).cloned().ok_or_else(|| match held.gone.contains(&number) {
            true => SealingError::Gone(number),
            false => SealingError::NoKey(number),
        });
        drop(held);
        Ok(Opener(key?))
    }

    /// What gives a tenant's words their codes, by its newest key.
    pub fn term_key(&self, tenant: &str) -> Result<TermKey> {
        let (number, key) = self.current(tenant)?;
        Ok(TermKey::of(&key.secret, number))
    }

    /// The number of a tenant's newest key, made if there is none.
    pub fn number(&self, tenant: &str) -> Result<u32> {
        Ok(self.current(tenant)?.0)
    }

    /// Whether everything of a tenant is under its newest key.
    pub fn is_settled(&self, tenant: &str) -> bool {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.current.get(tenant).is_some_and(|current| held.state.settled.get(tenant) == Some(current))
    }

    /// Makes a new key for a tenant, with which everything is sealed from now on. The older ones stay until
    /// [`Keyring::settle`].
    pub fn rotate(&self, tenant: &str) -> Result<u32> {
        Ok(self.make(tenant, true)?.0)
    }

    /// Notes that everything of a tenant is sealed with a key, and removes its older ones for good.
    pub fn settle(&self, tenant: &str, number: u32) -> Result<()> {
        self.change(|state| {
            state.keys.retain(|&other, key| key.tenant != tenant || other >= number);
            state.settled.insert(tenant.to_owned(), number);
        })
    }

    /// Records that a tenant is to go, which stays recorded until [`Keyring::erase`]: nothing is sealed for it any
    /// more.
    pub fn begin_erasing(&self, tenant: &str) -> Result<()> {
        self.change(|state| {
            state.erasing.insert(tenant.to_owned());
        })
    }

    /// Takes back that a tenant is to go: what is left of it stays.
    pub fn stop_erasing(&self, tenant: &str) -> Result<()> {
        self.change(|state| {
            state.erasing.remove(tenant);
        })
    }

    /// Removes a tenant's keys for good and gives how many there were: what they have sealed cannot be read from now
    /// on, wherever it lies.
    pub fn erase(&self, tenant: &str) -> Result<usize> {
        let mut removed = 0;
        self.change(|state| {
            let before = state.keys.len();
            state.keys.retain(|_, key| key.tenant != tenant);
            removed = before - state.keys.len();
            state.settled.remove(tenant);
            state.erasing.remove(tenant);
        })?;
        Ok(removed)
    }

    /// Tenants that are to go and have not gone yet.
    pub fn erasing(&self) -> Vec<String> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).state.erasing.iter().cloned().collect()
    }

    fn current(&self, tenant: &str) -> Result<(u32, Arc<Key>)> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let known = held.current.get(tenant).and_then(|&number| Some((number, held.keys.get(&number)?.clone())));
        drop(held);
        known.map_or_else(|| self.make(tenant, false), Ok)
    }

    /// Makes a tenant's next key; not, unless `anew`, if there is one by now.
    fn make(&self, tenant: &str, anew: bool) -> Result<(u32, Arc<Key>)> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = held.current.get(tenant).filter(|_| !anew)
            && let Some(key) = held.keys.get(&number)
        {
            return Ok((number, key.clone()));
        }
        let (secret, number) = (random_key()?, held.state.next);
        let sealed = self.master.cipher().seal(&place(tenant, &number.to_string()), secret.as_ref())?;
        let created_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let (master, wrapped) = (self.master.fingerprint(), STANDARD.encode(sealed));
        self.change_held(&mut held, |state| {
            state.next = number + 1;
            state.keys.insert(number, WrappedKey { tenant: tenant.to_owned(), created_at, master, wrapped });
        })?;
        let cipher = Cipher::new(&secret);
        let key = Arc::new(Key { secret, cipher });
        held.keys.insert(number, key.clone());
        held.current.insert(tenant.to_owned(), number);
        Ok((number, key))
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        self.change_held(&mut held, change)
    }

    /// Changes what is kept, first in the file.
    fn change_held(&self, held: &mut RwLockWriteGuard<Held>, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = held.state.clone();
        change(&mut state);
        if let Some(path) = &self.path {
            file::write(path, &state)?;
        }
        let Held { keys, current, gone, .. } = &mut **held;
        gone.extend(keys.keys().filter(|number| !state.keys.contains_key(number)));
        keys.retain(|number, _| state.keys.contains_key(number));
        current.retain(|_, number| state.keys.contains_key(number));
        held.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;
    use std::fs;

    fn master() -> MasterKey {
        MasterKey::generate().expect("a key")
    }

    #[test]
    fn keys_stay_and_another_master_does_not_open_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, first, second) = (folder.path().join("keys.json"), master(), master());
        let keyring = Keyring::open(&path, first.clone(), &[]).expect("keys");
        let (number, sealed) = keyring.seal("acme", &["a"], b"what nobody else is to read").expect("sealed");
        drop(keyring);
        let opened = |master: &MasterKey, older: &[MasterKey]| Keyring::open(&path, master.clone(), older);
        assert_eq!(
            opened(&first, &[]).expect("keys").open_sealed(number, &["a"], &sealed).expect("opens"),
            b"what nobody else is to read"
        );
        let error = opened(&second, &[]).err().expect("it does not fit").to_string();
        assert!(error.contains(&first.fingerprint()) && error.contains(&second.fingerprint()), "{error}");
        // A new master key, once the older one has opened what it wraps.
        assert!(
            opened(&second, std::slice::from_ref(&first)).expect("keys").open_sealed(number, &["a"], &sealed).is_ok()
        );
        assert!(opened(&second, &[]).expect("keys").open_sealed(number, &["a"], &sealed).is_ok());
        assert!(opened(&first, &[]).is_err());
        // A bit in the file is noticed.
        let whole = fs::read_to_string(&path).expect("a file");
        fs::write(&path, whole.replace("acme", "acne")).expect("written");
        assert!(matches!(opened(&second, &[]), Err(SealingError::Damaged { .. })));
    }

    #[test]
    fn a_tenants_keys_rotate_and_the_older_ones_go_when_nothing_needs_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.json");
        let keyring = Keyring::open(&path, master(), &[]).expect("keys");
        let (old, sealed) = keyring.seal("acme", &["a"], b"one").expect("sealed");
        let (others, of_others) = keyring.seal("other", &["a"], b"two").expect("sealed");
        let word = keyring.term_key("acme").expect("a key").code("word");
        assert!(!keyring.is_settled("acme"));
        let new = keyring.rotate("acme").expect("a key");
        assert!(new > old && keyring.number("acme").expect("a key") == new);
        assert!(keyring.open_sealed(old, &["a"], &sealed).is_ok(), "until it is settled");
        assert_ne!(keyring.term_key("acme").expect("a key").code("word"), word);
        keyring.settle("acme", new).expect("settled");
        assert!(keyring.is_settled("acme"));
        assert!(matches!(keyring.open_sealed(old, &["a"], &sealed), Err(SealingError::Gone(_))));
        assert!(keyring.open_sealed(others, &["a"], &of_others).is_ok(), "another tenant's stay");
        let listed: Vec<(u32, String, bool)> =
            keys(&path).expect("keys").into_iter().map(|key| (key.number, key.tenant, key.settled)).collect();
        assert_eq!(listed, [(others, "other".to_owned(), false), (new, "acme".to_owned(), true)]);
    }

    #[test]
    fn an_erased_tenant_gets_no_key_until_its_data_is_gone_and_then_a_new_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, master) = (folder.path().join("keys.json"), master());
        let keyring = Keyring::open(&path, master.clone(), &[]).expect("keys");
        let (number, sealed) = keyring.seal("acme", &["a"], b"one").expect("sealed");
        let wrapped = file::read(&path).expect("keys").keys[&number].wrapped.clone();
        keyring.begin_erasing("acme").expect("recorded");
        drop(keyring);
        let keyring = Keyring::open(&path, master.clone(), &[]).expect("keys");
        assert_eq!(keyring.erasing(), ["acme"], "a crash does not end it");
        assert!(matches!(keyring.seal("acme", &["a"], b"more"), Err(SealingError::Erasing)));
        keyring.stop_erasing("acme").expect("taken back");
        assert!(keyring.seal("acme", &["a"], b"more").is_ok_and(|(again, _)| again == number), "its key has stayed");
        keyring.begin_erasing("acme").expect("recorded");
        assert_eq!(keyring.erase("acme").expect("erased"), 1);
        assert!(!fs::read_to_string(&path).expect("a file").contains(&wrapped));
        assert!(matches!(keyring.open_sealed(number, &["a"], &sealed), Err(SealingError::Gone(_))));
        assert!(keyring.seal("acme", &["a"], b"more").expect("sealed").0 > number, "no number is given twice");
        // Who finds it after another start has data without its key.
        drop(keyring);
        let keyring = Keyring::open(&path, master, &[]).expect("keys");
        assert!(matches!(keyring.open_sealed(number, &["a"], &sealed), Err(SealingError::NoKey(_))));
    }
}
