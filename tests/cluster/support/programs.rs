//! Programs that the tests run. `cargo xtask env` sets variables with their paths.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use local_control_plane::Assets;

/// Returns a variable that `cargo xtask env` sets. Exits if it is missing.
pub fn provided(variable: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| {
        // Directly to stderr, since the output of a test would be shown only at the end.
        let _ = writeln!(
            std::io::stderr(),
            "error: {variable} is not set: run `eval \"$(cargo xtask env)\"` first, or `cargo xtask test`"
        );
        std::process::exit(1)
    })
}

/// Returns the path of xtask, which runs processes that do not outlive a test.
pub fn xtask() -> PathBuf {
    provided("XTASK").into()
}

pub fn assets() -> Assets {
    let assets = provided("LOCAL_CONTROL_PLANE_ASSETS");
    serde_json::from_slice(assets.as_encoded_bytes()).expect("written by xtask")
}
