//! The file of managed keys: made, listed and revoked while the box runs, by the API and by `membox keys`.
//!
//! It holds SHA-256 hashes alone. Whoever changes it holds a lock beside it, writes a new file, syncs that and renames
//! it, so that a reader finds the one or the other, also after a crash. Keys are 256 random bits, so their hashes need
//! no salt and no slow hash: nobody tries 2²⁵⁶ keys. Their prefix is one that secret scanners can look for, as
//! GitHub's tokens have it.

use crate::ServerError;
use crate::access::Reach;
use crate::keys::ApiKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use membox_api::{Access, NewApiKey};
use membox_memory::keys::hex;
use membox_memory::{now, rename_durably, time_millis, time_text};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What keys begin with.
pub(crate) const PREFIX: &str = "mbx_";
/// Keys of a file: each request is compared with all of them.
pub const MAX_KEYS: usize = 1000;
/// The one version of the file that there is.
const VERSION: u32 = 1;
/// Characters of a key's name.
const MAX_NAME: usize = 100;
/// Digits of a hash that are a key's id, as the audit log names it.
const ID_DIGITS: usize = 12;
/// Rights to change the file, of others than its owner.
const OTHERS_CHANGE: u32 = 0o022;

/// A key as the file keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagedKey {
    /// The beginning of its hash.
    pub id: String,
    /// Its SHA-256, in hexadecimal digits.
    sha256: String,
    /// What it is for.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// What it may do.
    pub access: Access,
    /// The only collections that it reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collections: Option<Vec<String>>,
    /// The only sessions that it reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Vec<String>>,
    /// The only users that it reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Requests that it may send a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// When it ends. RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was made. RFC 3339.
    pub created_at: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    keys: Vec<ManagedKey>,
}

/// By what a change of the file is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let modified = (found.mtime(), found.mtime_nsec());
        Ok(Self { inode: found.ino(), bytes: found.len(), modified })
    }
}

impl ManagedKey {
    /// The key as it is compared with those that are sent. An error says what is wrong, and not where.
    pub(crate) fn api_key(&self) -> Result<ApiKey, String> {
        let sha256 = sha256_of_digits(&self.sha256).ok_or("sha256 has 64 hexadecimal digits")?;
        if self.tenant.is_empty() || self.id != self.sha256[..ID_DIGITS] {
            return Err("the tenant is empty, or the id is not the beginning of sha256".to_owned());
        }
        let Self { collections, sessions, users, .. } = self.clone();
        let reach = Reach::new(collections, sessions, users)?;
        let made = time_millis(&self.created_at).ok_or("created_at is no time")?;
        let mut key = ApiKey::of_sha256(sha256, &self.tenant).with_access(self.access).with_reach(reach);
        key = key.managed(&self.name, made);
        if let Some(rate) = self.requests_per_second {
            key = key.with_rate(check_rate(rate)?);
        }
        if let Some(end) = &self.expires_at {
            key = key.with_expiry(time_millis(end).ok_or("expires_at is no time")?);
        }
        Ok(key)
    }
}

fn check_rate(rate: f64) -> Result<f64, String> {
    let is_rate = rate > 0.0 && rate.is_finite();
    if is_rate { Ok(rate) } else { Err(format!("requests_per_second is {rate}; it is a number over 0")) }
}

/// The bytes that 64 hexadecimal digits stand for.
pub fn sha256_of_digits(digits: &str) -> Option<[u8; 32]> {
    let is_hexadecimal = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate().filter(|_| is_hexadecimal) {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()?;
    }
    is_hexadecimal.then_some(bytes)
}

/// A file of managed keys, which need not be there.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The file at a path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its keys, the oldest first; `None` where there is no file. What is not understood is refused as a whole.
    pub fn read(&self) -> Result<Option<Vec<ManagedKey>>, ServerError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io("read")(error)),
        };
        let mode = fs::metadata(&self.path).map_err(self.io("read"))?.mode() & 0o777;
        if mode & OTHERS_CHANGE != 0 {
            let path = self.path.display();
            return Err(self.broken(format!("others can change it (mode {mode:o}): run `chmod 600 {path}`")));
        }
        let contents: Contents = serde_json::from_str(&text).map_err(|error| self.broken(error.to_string()))?;
        let Contents { version, keys } = contents;
        if version != VERSION {
            return Err(self.broken(format!("it is of version {version}, and this membox knows {VERSION}")));
        }
        let mut seen = std::collections::HashSet::new();
        for (i, key) in keys.iter().enumerate() {
            key.api_key().map_err(|reason| self.broken(format!("entry {}: {reason}", i + 1)))?;
            if !seen.insert(key.id.as_str()) {
                return Err(self.broken(format!("entry {}: its id stands twice", i + 1)));
            }
        }
        Ok(Some(keys))
    }

    /// Makes a key of a tenant and keeps its hash. Gives the key itself, which nobody can find out afterwards.
    pub fn create(&self, tenant: &str, new: &NewApiKey) -> Result<(String, ManagedKey), ServerError> {
        let wrong = |field, reason: String| ServerError::NewKey { field, reason };
        let name = new.name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
            let reason = format!("a name has 1 to {MAX_NAME} characters, none of them control characters");
            return Err(wrong("name", reason));
        }
        if tenant.is_empty() {
            return Err(wrong("tenant", "the tenant is empty: name whose key it is".to_owned()));
        }
        let (collections, sessions, users) = (new.collections.clone(), new.sessions.clone(), new.users.clone());
        Reach::new(collections, sessions, users).map_err(|reason| {
            let field = ["collections", "sessions", "users"].into_iter().find(|list| reason.starts_with(list));
            wrong(field.unwrap_or("users"), reason)
        })?;
        let rate = new.requests_per_second.map(check_rate).transpose();
        rate.map_err(|reason| wrong("requests_per_second", reason))?;
        if let Some(text) = &new.expires_at {
            let format = || format!("{text:?} is no time of RFC 3339, such as \"2027-01-31T00:00:00Z\"");
            let end = time_millis(text).ok_or_else(|| wrong("expires_at", format()))?;
            if end <= now() {
                return Err(wrong("expires_at", format!("{text} is over already")));
            }
        }
        self.change(|keys| {
            if keys.len() >= MAX_KEYS {
                return Err(wrong("name", format!("there are {MAX_KEYS} keys already: revoke some first")));
            }
            let (text, made) = loop {
                let (text, made) = made_key(tenant, name, new)?;
                if keys.iter().all(|key| key.id != made.id) {
                    break (text, made);
                }
            };
            keys.push(made.clone());
            Ok((text, made))
        })
    }

    /// Takes a key out, of a tenant or of all; `check` sees those that are left.
    pub fn revoke(
        &self,
        id: &str,
        tenant: Option<&str>,
        check: impl FnOnce(&[ManagedKey]) -> Result<(), ServerError>,
    ) -> Result<ManagedKey, ServerError> {
        self.change(|keys| {
            let is_it = |key: &ManagedKey| key.id == id && tenant.is_none_or(|tenant| key.tenant == tenant);
            let place = keys.iter().position(is_it).ok_or_else(|| ServerError::NoKey(id.to_owned()))?;
            let revoked = keys.remove(place);
            check(keys).map(|()| revoked)
        })
    }

    /// Changes the file; where the change is refused it stays as it is.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<ManagedKey>) -> Result<T, ServerError>) -> Result<T, ServerError> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(self.io("make the folder of"))?;
        }
        let private = |path: &Path| File::options().create(true).write(true).truncate(true).mode(0o600).open(path);
        // Beside it: the file itself is another one after each change.
        let lock = private(&self.path.with_extension("lock")).map_err(self.io("lock"))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| self.io("lock")(error.into()))?;
        let mut keys = self.read()?.unwrap_or_default();
        let done = change(&mut keys)?;
        let contents = serde_json::to_string_pretty(&Contents { version: VERSION, keys });
        let contents = contents.map_err(|error| self.broken(error.to_string()))?;
        let next = self.path.with_extension("new");
        let write = || {
            // One that a crash has left is no one's.
            match fs::remove_file(&next) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = File::options().create_new(true).write(true).mode(0o600).open(&next)?;
            writeln!(file, "{contents}")?;
            file.sync_all()?;
            rename_durably(&next, &self.path)
        };
        write().map_err(self.io("write"))?;
        Ok(done)
    }

    fn io(&self, action: &'static str) -> impl Fn(io::Error) -> ServerError + '_ {
        move |source| ServerError::KeyFile { action, path: self.path.clone(), source }
    }

    fn broken(&self, reason: String) -> ServerError {
        ServerError::BrokenKeyFile { path: self.path.clone(), reason }
    }
}

fn made_key(tenant: &str, name: &str, new: &NewApiKey) -> Result<(String, ManagedKey), ServerError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(ServerError::Random)?;
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let sha256 = hex(&Sha256::digest(&key));
    let NewApiKey { access, collections, sessions, users, requests_per_second, expires_at, .. } = new.clone();
    let made = ManagedKey {
        id: sha256[..ID_DIGITS].to_owned(),
        sha256,
        name: name.to_owned(),
        tenant: tenant.to_owned(),
        access,
        collections,
        sessions,
        users,
        requests_per_second,
        expires_at,
        created_at: time_text(now()),
    };
    Ok((key, made))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn new(name: &str) -> NewApiKey {
        NewApiKey { name: name.to_owned(), ..NewApiKey::default() }
    }

    #[test]
    fn keys_are_made_kept_by_their_hash_and_revoked() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = KeyFile::new(folder.path().join("data/api-keys.json"));
        assert_eq!(file.read().expect("no file"), None);
        let (text, made) = file.create("a", &new("ci")).expect("a key");
        assert!(text.starts_with("mbx_") && text.len() == 4 + 43, "{text}");
        assert!(made.api_key().expect("a key").is_same_key(&ApiKey::new(&text, "a")));
        let mode = fs::metadata(file.path()).expect("the file").mode() & 0o777;
        assert_eq!(mode, 0o600);
        let kept = fs::read_to_string(file.path()).expect("the file");
        assert!(!kept.contains(&text) && !kept.contains(&text[4..]) && kept.contains(&made.id), "{kept}");
        let (other, second) = file.create("b", &new("app")).expect("a key");
        assert_ne!(text, other);
        let nothing = |_: &[ManagedKey]| Ok(());
        let no_key = file.revoke(&second.id, Some("a"), nothing);
        assert!(matches!(no_key, Err(ServerError::NoKey(_))), "another tenant's");
        assert!(matches!(file.revoke(&made.id, None, |_| Err(ServerError::LastKey)), Err(ServerError::LastKey)));
        assert_eq!(file.read().expect("keys").map(|keys| keys.len()), Some(2), "nothing was changed");
        assert_eq!(file.revoke(&made.id, Some("a"), nothing).expect("revoked"), made);
        assert_eq!(file.read().expect("keys"), Some(vec![second]));
    }

    #[test]
    fn what_is_not_understood_is_refused_as_a_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = KeyFile::new(folder.path().join("api-keys.json"));
        let (_, made) = file.create("a", &new("ci")).expect("a key");
        let kept = fs::read_to_string(file.path()).expect("the file");
        let twice = serde_json::json!({"version": 1, "keys": [made, made]}).to_string();
        let wrong = [
            (kept.replace("\"version\": 1", "\"version\": 2"), "version 2"),
            (kept.replace("\"name\"", "\"label\""), "label"),
            (kept.replace("\"admin\"", "\"root\""), "root"),
            (kept.replace(&format!("{:?},", made.id), "\"000000000000\","), "entry 1"),
            (twice, "entry 2"),
            (String::new(), "EOF"),
        ];
        for (text, reason) in wrong {
            fs::write(file.path(), &text).expect("a file");
            let said = file.read().map(drop).expect_err(&text).to_string();
            assert!(said.contains(reason), "{said}");
            assert!(file.create("a", &new("next")).is_err(), "{reason}");
            assert_eq!(fs::read_to_string(file.path()).expect("the file"), text, "it stays as it is");
        }
        fs::write(file.path(), &kept).expect("a file");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o620)).expect("rights");
        assert!(file.read().is_err_and(|error| error.to_string().contains("chmod 600")));
    }

    #[test]
    fn a_key_that_cannot_be_meant_is_refused_by_its_field() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = KeyFile::new(folder.path().join("api-keys.json"));
        let named = new("ci");
        let wrong = [
            ("name", new(" ")),
            ("name", new(&"x".repeat(101))),
            ("users", NewApiKey { users: Some(Vec::new()), ..named.clone() }),
            ("collections", NewApiKey { collections: Some(vec![String::new()]), ..named.clone() }),
            ("requests_per_second", NewApiKey { requests_per_second: Some(0.0), ..named.clone() }),
            ("expires_at", NewApiKey { expires_at: Some("tomorrow".to_owned()), ..named.clone() }),
            ("expires_at", NewApiKey { expires_at: Some("2020-01-01T00:00:00Z".to_owned()), ..named }),
        ];
        for (wanted, new) in wrong {
            let refused = file.create("a", &new);
            let is_it = matches!(&refused, Err(ServerError::NewKey { field, .. }) if *field == wanted);
            assert!(is_it, "{wanted}: {refused:?}");
        }
        assert_eq!(file.read().expect("no file"), None);
    }

    #[test]
    fn those_who_change_it_at_once_lose_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = KeyFile::new(folder.path().join("api-keys.json"));
        std::thread::scope(|scope| {
            for i in 0..8 {
                let file = &file;
                scope.spawn(move || file.create("a", &new(&format!("key {i}"))).expect("a key"));
            }
        });
        assert_eq!(file.read().expect("keys").map(|keys| keys.len()), Some(8));
    }
}
