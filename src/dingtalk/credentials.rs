//! Credentials and tokens, in types that cannot be printed, logged or serialised by accident.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

/// Maximum length of a token, in bytes. Tokens of 32 bytes have been observed.
const TOKEN_MAX: usize = 4096;
/// Maximum length of a `client_id`, in bytes. Bounds memory, since each corp has a copy.
const CLIENT_ID_MAX: usize = 128;
/// Maximum length of a `client_secret`, in bytes.
const CLIENT_SECRET_MAX: usize = 512;

/// Credentials of an app, without trailing white space.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// OAuth 2.0 `client_id`; an identifier, not a secret.
    pub client_id: String,
    /// OAuth 2.0 `client_secret`.
    pub client_secret: SecretString,
    /// Keys whose value had trailing white space.
    pub trimmed_keys: Vec<String>,
}

/// Salted hash of credentials, for comparing them without keeping them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// The credentials Secret is unusable.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
pub enum CredentialsError {
    /// The key does not exist.
    #[error("key {0:?} is missing")]
    KeyMissing(String),
    /// The value is empty or consists of white space.
    #[error("key {0:?} is empty")]
    KeyEmpty(String),
    /// The value is too long.
    #[error("key {key:?} has {length} bytes, but a {what} has at most {max}")]
    TooLong {
        /// The key.
        key: String,
        /// Expected content: `client_id` or `client_secret`.
        what: &'static str,
        /// Length of the value in bytes, without trailing white space.
        length: usize,
        /// Maximum length, in bytes.
        max: usize,
    },
    /// The value contains other characters than visible ASCII.
    #[error(
        "key {0:?} contains characters other than visible ASCII, such as a space, a line break or \
         binary data"
    )]
    NotVisibleAscii(String),
}

impl CredentialsError {
    /// Whether there is a value, but it cannot be a credential.
    pub fn is_invalid_value(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::NotVisibleAscii(_))
    }
}

/// Removes trailing white space, which editors and `echo` leave.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|byte| !matches!(byte, b'\r' | b'\n' | b' ' | b'\t'));
    end.and_then(|end| bytes.get(..=end)).unwrap_or_default()
}

fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Credentials {
    /// Reads and checks both keys. `lookup` returns the decoded value of a key.
    pub fn read(
        client_id_key: &str,
        client_secret_key: &str,
        mut lookup: impl FnMut(&str) -> Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Self, CredentialsError> {
        let mut trimmed_keys = Vec::new();
        let mut text = |key: &str, what, max| -> Result<SecretString, CredentialsError> {
            let bytes = lookup(key).ok_or_else(|| CredentialsError::KeyMissing(key.to_owned()))?;
            let value = trimmed(&bytes);
            if value.is_empty() {
                return Err(CredentialsError::KeyEmpty(key.to_owned()));
            }
            // Check this before copying the value: a Secret can be 1 MiB.
            if value.len() > max {
                return Err(CredentialsError::TooLong {
                    key: key.to_owned(),
                    what,
                    length: value.len(),
                    max,
                });
            }
            let visible = std::str::from_utf8(value)
                .ok()
                .filter(|text| is_visible_ascii(text));
            let visible =
                visible.ok_or_else(|| CredentialsError::NotVisibleAscii(key.to_owned()))?;
            if value.len() != bytes.len() {
                trimmed_keys.push(key.to_owned());
            }
            Ok(SecretString::from(visible))
        };
        let client_id = text(client_id_key, "client_id", CLIENT_ID_MAX)?;
        Ok(Self {
            client_id: client_id.expose_secret().to_owned(),
            client_secret: text(client_secret_key, "client_secret", CLIENT_SECRET_MAX)?,
            trimmed_keys,
        })
    }

    /// Returns a hash that is equal for equal credentials.
    ///
    /// `salt` must be random and never leave the process, so that a fingerprint cannot be used to guess
    /// the client secret.
    pub fn fingerprint(&self, salt: &[u8; 32]) -> Fingerprint {
        let mut hash = Sha256::new_with_prefix(salt);
        hash.update((self.client_id.len() as u64).to_be_bytes());
        hash.update(&self.client_id);
        hash.update(self.client_secret.expose_secret());
        Fingerprint(hash.finalize().into())
    }
}

/// An access token: opaque text of 1 to 4096 visible ASCII characters.
///
/// Clones share the same memory, which is overwritten when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct AccessToken(Arc<SecretString>);

impl AccessToken {
    /// Creates a token; `None` if `text` has a wrong length or other characters.
    pub fn new(text: String) -> Option<Self> {
        let usable = (1..=TOKEN_MAX).contains(&text.len()) && is_visible_ascii(&text);
        let secret = SecretString::from(text);
        usable.then(|| Self(Arc::new(secret)))
    }

    /// Returns the token, to be written to its target Secret.
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
        for bad in ["a\0", "a b", "a\nb", "\u{fc}ber", "\u{202e}a", "\u{200b}a"] {
            assert_eq!(
                error(bad, "b"),
                CredentialsError::NotVisibleAscii("id".into())
            );
            assert_eq!(
                error("a", bad),
                CredentialsError::NotVisibleAscii("secret".into())
            );
        }
    }

    #[test]
    fn a_value_past_its_bound_is_refused_without_a_byte_of_it() {
        let of = |length| "q".repeat(length);
        assert!(read(&of(CLIENT_ID_MAX), &of(CLIENT_SECRET_MAX)).is_ok());
        assert!(read(&format!("{}\n", of(CLIENT_ID_MAX)), "b").is_ok());
        let too_long = [
            (
                of(CLIENT_ID_MAX + 1),
                of(1),
                "\"id\" has 129 bytes, but a client_id has at most 128",
            ),
            (
                of(1),
                of(CLIENT_SECRET_MAX + 1),
                "\"secret\" has 513 bytes, but a client_secret has at most 512",
            ),
            (of(1 << 20), of(1), "\"id\" has 1048576 bytes, but"),
        ];
        for (id, secret, said) in too_long {
            let error = read(&id, &secret).expect_err("too long");
            assert!(error.is_invalid_value());
            let shown = error.to_string();
            assert!(shown.contains(said) && !shown.contains("qq"), "{shown}");
        }
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
