//! The programs that the tests run: `cargo xtask env` names them.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use local_control_plane::Assets;

/// A program, or several, that `cargo xtask env` names by a variable.
pub fn provided(variable: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| {
        // The first test that needs it speaks for all; a test's own output would be shown at the end.
        let _ = writeln!(
            std::io::stderr(),
            "error: {variable} is not set: run `eval \"$(cargo xtask env)\"` first, or `cargo xtask test`"
        );
        std::process::exit(1)
    })
}

/// For processes that do not outlive a test.
pub fn xtask() -> PathBuf {
    provided("XTASK").into()
}

pub fn assets() -> Assets {
    let assets = provided("LOCAL_CONTROL_PLANE_ASSETS");
    serde_json::from_slice(assets.as_encoded_bytes()).expect("written by xtask")
}
