//! Secrets in types that cannot be printed, logged or serialised by accident.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

/// Longest token that is accepted, in bytes: 32 were seen, the rest is room.
const TOKEN_MAX: usize = 4096;

/// What an app proves itself with, trimmed of what editors and `echo` leave at the end of a file.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// OAuth 2.0 `client_id`; an identifier, not a secret.
    pub client_id: String,
    /// OAuth 2.0 `client_secret`.
    pub client_secret: SecretString,
    /// Keys whose value ended in CR, LF, space or tab.
    pub trimmed_keys: Vec<String>,
}

/// Stands for credentials without holding them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// Why a Secret's content cannot be used as credentials.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
pub enum CredentialsError {
    /// The Secret has no such key.
    #[error("key {0:?} is missing")]
    KeyMissing(String),
    /// There is nothing but white space under the key.
    #[error("key {0:?} is empty")]
    KeyEmpty(String),
    /// The value is not text.
    #[error("key {0:?} holds bytes that are not text, or control characters")]
    KeyNotText(String),
}

impl Credentials {
    /// Reads the two keys by `lookup`, which gives a key's decoded value.
    pub fn read(
        client_id_key: &str,
        client_secret_key: &str,
        mut lookup: impl FnMut(&str) -> Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Self, CredentialsError> {
        let mut trimmed_keys = Vec::new();
        let mut text = |key: &str| -> Result<Zeroizing<String>, CredentialsError> {
            let bytes = lookup(key).ok_or_else(|| CredentialsError::KeyMissing(key.to_owned()))?;
            let whole = std::str::from_utf8(&bytes)
                .map_err(|_| CredentialsError::KeyNotText(key.to_owned()))?;
            let value = whole.trim_end_matches(['\r', '\n', ' ', '\t']);
            if value.is_empty() {
                return Err(CredentialsError::KeyEmpty(key.to_owned()));
            }
            if value.contains(char::is_control) {
                return Err(CredentialsError::KeyNotText(key.to_owned()));
            }
            if value.len() != whole.len() {
                trimmed_keys.push(key.to_owned());
            }
            Ok(Zeroizing::new(value.to_owned()))
        };
        let client_id = text(client_id_key)?.to_string();
        let client_secret = SecretString::from(text(client_secret_key)?.as_str());
        Ok(Self {
            client_id,
            client_secret,
            trimmed_keys,
        })
    }

    /// Tells whether two readings are the same credentials. `salt` is random and never leaves the
    /// process, so that nothing can be guessed from the fingerprint.
    pub fn fingerprint(&self, salt: &[u8; 32]) -> Fingerprint {
        let mut hash = Sha256::new_with_prefix(salt);
        hash.update((self.client_id.len() as u64).to_be_bytes());
        hash.update(&self.client_id);
        hash.update(self.client_secret.expose_secret());
        Fingerprint(hash.finalize().into())
    }
}

/// An access token: opaque, 1 to 4096 visible ASCII characters.
#[derive(Clone, Debug)]
pub struct AccessToken(SecretString);

impl AccessToken {
    /// `None` where `text` cannot be a token.
    pub fn new(text: String) -> Option<Self> {
        let usable = (1..=TOKEN_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        let secret = SecretString::from(text);
        usable.then_some(Self(secret))
    }

    /// The token itself, for the Secret that is to hold it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for AccessToken {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(id: &str, secret: &str) -> Result<Credentials, CredentialsError> {
        Credentials::read("id", "secret", |key| {
            let value = if key == "id" { id } else { secret };
            (value != "absent").then(|| Zeroizing::new(value.as_bytes().to_vec()))
        })
    }

    #[test]
    fn white_space_at_the_end_is_trimmed_and_named() {
        let credentials = read("dingabc", "s3cret \t\r\n").expect("usable");
        assert_eq!(credentials.client_secret.expose_secret(), "s3cret");
        assert_eq!(credentials.trimmed_keys, ["secret"]);
        assert!(read("a", "b").expect("usable").trimmed_keys.is_empty());
    }

    #[test]
    fn a_key_that_is_missing_empty_or_binary_is_named() {
        let error = |id, secret| read(id, secret).expect_err("unusable");
        assert_eq!(
            error("absent", "b"),
            CredentialsError::KeyMissing("id".into())
        );
        assert_eq!(
            error("a", "absent"),
            CredentialsError::KeyMissing("secret".into())
        );
        assert_eq!(
            error("a", " \n"),
            CredentialsError::KeyEmpty("secret".into())
        );
        assert_eq!(error("a\0", "b"), CredentialsError::KeyNotText("id".into()));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", read("dingabc", "hunter2hunter2").expect("usable"));
        assert!(!shown.contains("hunter2"), "{shown}");
        let token = AccessToken::new("tokentoken".into()).expect("usable");
        assert!(!format!("{token:?}").contains("tokentoken"));
    }

    #[test]
    fn a_panic_tells_no_secret() {
        let credentials = read("dingabc", "hunter2hunter2").expect("usable");
        let token = AccessToken::new("tokentoken".into()).expect("usable");
        let panicked = std::panic::catch_unwind(move || panic!("{credentials:?} {token:?}"));
        let told = panicked.expect_err("it panics");
        let told = told.downcast_ref::<String>().expect("a message");
        assert!(told.contains("dingabc"), "{told}");
        assert!(
            !told.contains("hunter2") && !told.contains("tokentoken"),
            "{told}"
        );
    }

    #[test]
    fn a_token_is_visible_ascii_of_bounded_length() {
        for bad in ["", "with space", "line\n", "uml\u{e4}ut", &"x".repeat(4097)] {
            assert!(AccessToken::new(bad.to_owned()).is_none(), "{bad:?}");
        }
        assert!(AccessToken::new("x".repeat(4096)).is_some());
    }
}
