//! SHA256SUMS, as `sha256sum --check` reads it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::Failure;

const NAME: &str = "SHA256SUMS";

/// Writes the checksums of all files in a folder, except those named in `except`.
pub(super) fn write(folder: &Path, except: &[&str]) -> Result<(), Failure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && name != NAME && !except.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.sort();
    let mut sums = String::new();
    for name in names {
        writeln!(sums, "{}  {name}", sha256(&folder.join(&name))?)?;
    }
    Ok(fs::write(folder.join(NAME), sums)?)
}

/// Returns the SHA-256 of a file in hexadecimal digits.
pub(super) fn sha256(path: &Path) -> Result<String, Failure> {
    let mut hex = String::new();
    for byte in Sha256::digest(fs::read(path)?) {
        write!(hex, "{byte:02x}")?;
    }
    Ok(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_have_a_sum_in_order_but_the_notes() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [("b", ""), ("a", "abc"), ("notes.md", "x"), (NAME, "old")] {
            fs::write(folder.path().join(name), text).expect("written");
        }
        write(folder.path(), &["notes.md"]).expect("sums");
        // The example in FIPS 180-4, and the checksum of an empty file.
        let expected = "\
ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b
";
        let sums = fs::read_to_string(folder.path().join(NAME)).expect("sums");
        assert_eq!(sums, expected);
    }
}
