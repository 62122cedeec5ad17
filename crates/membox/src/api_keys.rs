//! The API keys of the settings: what is wrong with them is said by their place, never by what they are; and they are
//! read again while the box runs.

use crate::config::{Config, GlobalArgs, KeyConfig, Secret, load};
use anyhow::{Context, Result, bail, ensure};
use membox_memory::{Policies, now, time_millis};
use membox_server::{ApiKey, KeyChanges, Keys, Reach, Tls, sha256_of_digits};
use std::sync::Arc;

/// Shorter keys are taken, and warned of: they can be guessed.
const MIN_SAFE_CHARACTERS: usize = 16;

/// The keys as the server wants them.
pub struct ApiKeys {
    /// Those of tenants.
    pub keys: Vec<ApiKey>,
    /// That of metrics.
    pub metrics_key: Option<ApiKey>,
    /// What is no error, and not safe.
    pub warnings: Vec<String>,
}

/// Checks the keys of the settings.
pub fn read(config: &Config) -> Result<ApiKeys> {
    let mut warnings = Vec::new();
    let mut keys: Vec<ApiKey> = Vec::new();
    for (i, entry) in config.keys.iter().enumerate() {
        let place = place(i);
        let key = api_key(entry, &place, &mut warnings).with_context(|| place.clone())?;
        if let Some(first) = keys.iter().position(|other| other.is_same_key(&key)) {
            bail!("{place}: the key is that of {} too", self::place(first));
        }
        keys.push(key);
    }
    let of_metrics = |key: &Secret| {
        check_text(key.reveal(), "metrics_key", &mut warnings).context("metrics_key")?;
        anyhow::Ok(ApiKey::new(key.reveal(), ""))
    };
    let metrics_key = config.metrics_key.as_ref().map(of_metrics).transpose()?;
    Ok(ApiKeys { keys, metrics_key, warnings })
}

/// Which entry of the settings is meant, as people count.
fn place(i: usize) -> String {
    format!("entry {} of [[keys]]", i + 1)
}

fn api_key(entry: &KeyConfig, place: &str, warnings: &mut Vec<String>) -> Result<ApiKey> {
    ensure!(!entry.tenant.is_empty(), "the tenant is empty: name whose key it is");
    let mut key = match (&entry.key, &entry.sha256) {
        (Some(key), None) => {
            check_text(key.reveal(), place, warnings)?;
            ApiKey::new(key.reveal(), &entry.tenant)
        }
        (None, Some(digits)) => {
            let sha256 =
                sha256_of_digits(digits).context("sha256 has 64 hexadecimal digits, as sha256sum prints them")?;
            ApiKey::of_sha256(sha256, &entry.tenant)
        }
        _ => bail!("give either key or sha256"),
    };
    let reach = Reach::new(entry.collections.clone(), entry.sessions.clone(), entry.users.clone());
    key = key.with_access(entry.access).with_reach(reach.map_err(anyhow::Error::msg)?);
    if let Some(rate) = entry.requests_per_second {
        ensure!(rate > 0.0 && rate.is_finite(), "requests_per_second is {rate}; it is a number over 0");
        key = key.with_rate(rate);
    }
    if let Some(text) = &entry.expires_at {
        let end = time_millis(text).with_context(|| {
            format!("expires_at is {text:?}; it is a time of RFC 3339, such as \"2027-01-31T00:00:00Z\"")
        })?;
        if end <= now() {
            warnings.push(format!("{place}: the key has expired, at {text}"));
        }
        key = key.with_expiry(end);
    }
    Ok(key)
}

/// Refuses what no client can send, or sends by mistake.
fn check_text(key: &str, place: &str, warnings: &mut Vec<String>) -> Result<()> {
    ensure!(!key.is_empty(), "the key is empty");
    ensure!(key.trim() == key, "the key begins or ends with a blank, which no client can send");
    let is_sent = key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    ensure!(is_sent, "the key has characters that no header can hold: use visible ones of ASCII");
    if key.len() < MIN_SAFE_CHARACTERS {
        warnings.push(format!(
            "{place}: the key is shorter than {MIN_SAFE_CHARACTERS} characters and can be guessed; make one by \
             `openssl rand -hex 32`"
        ));
    }
    Ok(())
}

/// Reads the keys of a running box again, and its certificate.
pub struct Reload {
    pub args: GlobalArgs,
    /// What holds for whom since the start: only a start changes that.
    pub policies: Policies,
    pub keys: Arc<Keys>,
    pub tls: Option<Arc<Tls>>,
}

impl Reload {
    /// Replaces the keys by those of the settings and reads the certificate again, or says why they stay as they are.
    pub fn run(&self) {
        match self.replace() {
            Ok(KeyChanges { added, removed, changed, kept }) => tracing::info!(
                added,
                removed,
                changed,
                kept,
                "SIGHUP: the keys were read again; other settings are read at the start"
            ),
            Err(error) => tracing::error!("SIGHUP: the keys stay as they are: {error:#}"),
        }
        if let Some(Err(error)) = self.tls.as_ref().map(|tls| tls.reload()) {
            tracing::error!("SIGHUP: the TLS certificate stays as it is: {error}");
        }
    }

    fn replace(&self) -> Result<KeyChanges> {
        let config = load(&self.args)?;
        let ApiKeys { keys, metrics_key, warnings } = read(&config)?;
        let policies = config.tenants_policies()?;
        // A tenant whose policy is not in force would be kept in another way than the settings say.
        let other = config.keys.iter().position(|key| policies.of(&key.tenant) != self.policies.of(&key.tenant));
        if let Some(i) = other {
            bail!("{}: its tenant has another policy than at the start; restart the box", place(i));
        }
        let changes = self.keys.replace(keys, metrics_key)?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(settings: &str) -> Result<Vec<String>, String> {
        let config: Config = toml::from_str(settings).expect("settings");
        read(&config).map(|keys| keys.warnings).map_err(|error| format!("{error:#}"))
    }

    fn entry(fields: &str) -> String {
        format!("[[keys]]\nkey = \"a key that is long enough\"\ntenant = \"a\"\n[[keys]]\n{fields}\ntenant = \"b\"\n")
    }

    #[test]
    fn keys_that_nobody_can_send_are_refused_by_their_place() {
        let both = format!("key = \"4711 4711 4711 4711\"\nsha256 = \"{}\"", "00".repeat(32));
        let wrong = [
            ("key = \"\"", "empty"),
            ("key = \" 4711 4711 4711 4711\"", "blank"),
            ("key = \"4711 4711 4711 4711\\t\"", "blank"),
            ("key = \"4711\\u00014711 4711 4711\"", "ASCII"),
            ("key = \"4711 schlüssel 4711 4711\"", "ASCII"),
            ("key = \"a key that is long enough\"", "entry 1 of [[keys]]"),
            ("sha256 = \"4711\"", "64"),
            ("", "either key or sha256"),
            (both.as_str(), "either key or sha256"),
            ("key = \"4711 4711 4711 4711\"\nexpires_at = \"tomorrow\"", "tomorrow"),
            ("key = \"4711 4711 4711 4711\"\nrequests_per_second = 0", "requests_per_second"),
            ("key = \"4711 4711 4711 4711\"\nusers = []", "users has 0 names"),
            ("key = \"4711 4711 4711 4711\"\ncollections = [\"\"]", "collections has a name that is empty"),
        ];
        for (fields, reason) in wrong {
            let said = said_of(&entry(fields)).expect_err(fields);
            assert!(said.starts_with("entry 2 of [[keys]]: ") && said.contains(reason), "{said}");
            assert!(!said.contains("4711") && !said.contains("long enough"), "{said}");
        }
        assert!(said_of("metrics_key = \"\"").is_err_and(|said| said.starts_with("metrics_key: ")));
    }

    #[test]
    fn a_hash_is_its_key_and_what_is_unsafe_is_warned_of() {
        // That of "a key that is long enough".
        let digest = "8954b7cb67decd26deeabf5d80881b75912b904a2696399f02e64af3cea10bfb";
        assert!(said_of(&entry(&format!("sha256 = \"{digest}\""))).is_err_and(|said| said.contains("entry 1")));
        assert_eq!(said_of(&entry(&format!("sha256 = \"{}\"", "Ab".repeat(32)))), Ok(Vec::new()));
        let said = said_of(&entry("key = \"4711\"\nexpires_at = \"2026-01-01T00:00:00Z\"")).expect("keys");
        assert!(matches!(&said[..], [short, expired] if short.contains("guessed") && expired.contains("expired")));
        assert!(said.iter().all(|said| said.starts_with("entry 2 of [[keys]]: ") && !said.contains("4711")));
    }
}
