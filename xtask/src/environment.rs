//! Environment of the tests on a real API server: variables with the paths of programs.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use local_control_plane::{Assets, Version, helm, prometheus};

use crate::Failure;

/// Finds or builds the programs. Returns the variables.
pub(crate) fn of(kubernetes: Version) -> Result<Vec<(&'static str, OsString)>, Failure> {
    let assets = serde_json::to_string(&Assets::get(kubernetes)?)?;
    let (prometheus, promtool) = prometheus()?;
    Ok(vec![
        ("XTASK", std::env::current_exe()?.into()),
        ("HELM", helm()?.into()),
        ("PROMETHEUS", prometheus.into()),
        ("PROMTOOL", promtool.into()),
        ("LOCAL_CONTROL_PLANE_ASSETS", assets.into()),
    ])
}

/// Prints the variables as shell commands.
pub(crate) fn print(kubernetes: Version) -> Result<ExitCode, Failure> {
    let mut lines = Vec::new();
    for (name, value) in of(kubernetes)? {
        lines.extend(export(name, &value));
    }
    std::io::stdout().write_all(&lines)?;
    Ok(ExitCode::SUCCESS)
}

fn export(name: &str, value: &OsStr) -> Vec<u8> {
    let mut line = format!("export {name}='").into_bytes();
    for &byte in value.as_bytes() {
        match byte {
            // Ends the quoted text, adds a quote, and begins another quoted text.
            b'\'' => line.extend(br"'\''"),
            byte => line.push(byte),
        }
    }
    line.extend(b"'\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_exported() {
        let value = OsStr::from_bytes(b"it's {\"a\": \"$HOME `b`\"}\\\n \xff");
        let mut script = export("VALUE", value);
        script.extend(b"sh -c 'printf %s \"$VALUE\"'");
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(OsStr::from_bytes(&script))
            .output()
            .expect("a shell");
        assert_eq!(OsStr::from_bytes(&output.stdout), value);
    }
}
