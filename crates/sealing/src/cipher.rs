//! Keys, and what they do to bytes and to words.

use crate::{Result, SealingError};
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// Bytes of a word's code: words of one index that have the same by chance are as rare as 1 in 2⁴⁸ pairs.
const TERM_BYTES: usize = 12;

/// Key bytes, which do not stay in memory that was given back.
pub(crate) type Secret = Zeroizing<[u8; KEY_BYTES]>;

pub(crate) fn random_key() -> Result<Secret> {
    let mut key = Secret::default();
    getrandom::fill(key.as_mut())?;
    Ok(key)
}

fn hmac(key: &Secret, what: &[u8]) -> [u8; 32] {
    // A key of 32 bytes stands at the front of a block of 64, as RFC 2104 has it.
    let mut block = [0; 64];
    block[..KEY_BYTES].copy_from_slice(key.as_ref());
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new(&block.into());
    block.zeroize();
    mac.update(what);
    mac.finalize().into_bytes().into()
}

/// Seals and opens under one key.
pub(crate) struct Cipher(Aes256Gcm);

impl Cipher {
    pub fn new(key: &Secret) -> Self {
        Self(Aes256Gcm::new(&(**key).into()))
    }

    /// Nonce, then what AES-256-GCM makes of `plain`, with its tag.
    pub fn seal(&self, place: &[&str], plain: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        let payload = Payload { msg: plain, aad: &bound(place) };
        // It fails for more than 64 GiB alone.
        let sealed = self.0.encrypt(&Nonce::from(nonce), payload).map_err(|_| SealingError::NotGenuine)?;
        Ok([&nonce[..], &sealed].concat())
    }

    pub fn open(&self, place: &[&str], sealed: &[u8]) -> Result<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealingError::NotGenuine)?;
        let payload = Payload { msg: sealed, aad: &bound(place) };
        self.0.decrypt(&Nonce::from(*nonce), payload).map_err(|_| SealingError::NotGenuine)
    }
}

/// The parts of a place with their lengths, so that no byte can move from one to the next.
fn bound(place: &[&str]) -> Vec<u8> {
    place.iter().flat_map(|part| [&(part.len() as u64).to_le_bytes(), part.as_bytes()].concat()).collect()
}

/// What wraps tenants' keys: 32 bytes that are kept apart from the data.
#[derive(Clone)]
pub struct MasterKey(Secret);

impl MasterKey {
    /// A new one.
    pub fn generate() -> Result<Self> {
        Ok(Self(random_key()?))
    }

    /// Reads one from a file that holds it in base64.
    pub fn read(path: &Path) -> Result<Self> {
        let read = fs::read_to_string(path).map(Zeroizing::new);
        Self::parse(&read.map_err(|source| SealingError::Io { path: path.to_owned(), source })?)
    }

    /// Reads one from its base64.
    pub fn parse(text: &str) -> Result<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| SealingError::NotAMasterKey)?);
        let key: [u8; KEY_BYTES] = bytes.as_slice().try_into().map_err(|_| SealingError::NotAMasterKey)?;
        // Nobody's random bytes are all the same; a file of zeros is a mistake.
        if key.iter().all(|byte| *byte == key[0]) {
            return Err(SealingError::NotAMasterKey);
        }
        Ok(Self(Secret::new(key)))
    }

    /// It in base64.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_ref()))
    }

    /// What names it and does not give it away.
    pub fn fingerprint(&self) -> String {
        hex(&hmac(&self.0, b"membox master key")[..6])
    }

    pub(crate) fn cipher(&self) -> Cipher {
        Cipher::new(&self.0)
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "MasterKey({})", self.fingerprint())
    }
}

/// Gives words of a tenant codes that say nothing without its key.
#[derive(Clone)]
pub struct TermKey {
    key: Secret,
    number: u32,
}

impl TermKey {
    pub(crate) fn of(key: &Secret, number: u32) -> Self {
        Self { key: Secret::new(hmac(key, b"membox terms")), number }
    }

    /// The number of the key that it is derived from: words under another number have other codes.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// A word's code: 16 letters, digits, `-` and `_`.
    pub fn code(&self, word: &str) -> String {
        URL_SAFE_NO_PAD.encode(&hmac(&self.key, word.as_bytes())[..TERM_BYTES])
    }
}

impl std::fmt::Debug for TermKey {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "TermKey(of key {})", self.number)
    }
}

/// A checksum against mistakes, for what nobody seals.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_sealed_opens_in_its_place_and_nowhere_else(
            plain in prop::collection::vec(any::<u8>(), 0..200), place in "[a-z]{0,5}", other in "[a-z]{0,5}",
            at in any::<prop::sample::Index>(), bit in 0u32..8,
        ) {
            let cipher = Cipher::new(&random_key().expect("a key"));
            let mut sealed = cipher.seal(&[&place, "1"], &plain).expect("sealed");
            prop_assert_eq!(sealed.len(), plain.len() + 28);
            prop_assert_eq!(cipher.open(&[&place, "1"], &sealed).expect("opens"), plain);
            prop_assert_eq!(cipher.open(&[&other, "1"], &sealed).is_ok(), place == other);
            prop_assert!(cipher.open(&[&format!("{place}1")], &sealed).is_err(), "parts do not run into each other");
            prop_assert!(Cipher::new(&random_key().expect("a key")).open(&[&place, "1"], &sealed).is_err());
            let at = at.index(sealed.len());
            sealed[at] ^= 1u8 << bit;
            prop_assert!(cipher.open(&[&place, "1"], &sealed).is_err(), "a bit has changed");
            prop_assert!(cipher.open(&[&place, "1"], &sealed[..at]).is_err(), "it is cut short");
        }
    }

    #[test]
    fn aes_256_gcm_is_the_one_of_the_standard() {
        // Test case 16 of the GCM specification (McGrew and Viega), with its associated data.
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect()
        };
        let key: [u8; 32] =
            hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308").try_into().expect("a key");
        let nonce: [u8; 12] = hex("cafebabefacedbaddecaf888").try_into().expect("a nonce");
        let plain = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                 1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let sealed = Cipher::new(&Secret::new(key)).0.encrypt(&Nonce::from(nonce), Payload { msg: &plain, aad: &aad });
        let tag = &sealed.expect("sealed")[plain.len()..];
        assert_eq!(tag, hex("76fc6ece0f4e1768cddf8853bb2d551b"));
    }

    #[test]
    fn words_have_codes_that_hang_on_the_key() {
        let (one, other) = (random_key().expect("a key"), random_key().expect("a key"));
        let code = |key: &Secret, word: &str| TermKey::of(key, 1).code(word);
        assert_eq!(code(&one, "vienna"), code(&one, "vienna"));
        assert_eq!(code(&one, "vienna").len(), 16);
        assert_ne!(code(&one, "vienna"), code(&other, "vienna"));
        assert_ne!(code(&one, "vienna"), code(&one, "vienne"));
    }

    #[test]
    fn a_master_key_is_read_as_it_was_written_and_is_not_shown() {
        let key = MasterKey::generate().expect("a key");
        let same = MasterKey::parse(&format!("{}\n", *key.to_base64())).expect("a key");
        assert_eq!(same.fingerprint(), key.fingerprint());
        assert!(!format!("{key:?}").contains(&**key.to_base64()));
        for wrong in ["", "secret", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
            assert!(matches!(MasterKey::parse(wrong), Err(SealingError::NotAMasterKey)), "{wrong:?}");
        }
    }
}
