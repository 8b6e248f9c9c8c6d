//! Request bodies whose memory is overwritten after use.

use bytes::Bytes;
use serde::Serialize;
use zeroize::Zeroizing;

/// Serialises `value` as JSON into a buffer that is overwritten when its last reference is dropped.
///
/// The buffer is allocated at its final size, since growing it would leave a copy of the secret
/// behind. Copies made by the HTTP and TLS libraries are not overwritten.
pub(super) fn json(value: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    Ok(Bytes::from_owner(buffer(value)?))
}

fn buffer(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let mut counter = ByteCounter(0);
    serde_json::to_writer(&mut counter, value)?;
    let mut buffer = Zeroizing::new(Vec::with_capacity(counter.0));
    serde_json::to_writer(&mut *buffer, value)?;
    Ok(buffer)
}

struct ByteCounter(usize);

impl std::io::Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_never_grows_and_is_overwritten_when_dropped() {
        fn is_overwritten_when_dropped(_: &impl zeroize::ZeroizeOnDrop) {}
        let value = serde_json::json!({"client_secret": "s".repeat(1000), "text": "\"\u{1}ü"});
        let buffer = buffer(&value).expect("JSON");
        assert_eq!(buffer.capacity(), buffer.len());
        is_overwritten_when_dropped(&buffer);
        let sent = json(&value).expect("JSON");
        assert_eq!(*sent, **buffer);
        let read: serde_json::Value = serde_json::from_slice(&sent).expect("JSON");
        assert_eq!(read, value);
    }
}
