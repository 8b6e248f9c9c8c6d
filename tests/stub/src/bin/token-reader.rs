//! A program for pods that prints how long the token in the mounted Secret is valid.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

/// Prints how long the token in a mounted Secret is valid, at the start and after each renewal.
#[derive(Parser)]
struct Arguments {
    /// Folder in which the Secret is mounted.
    #[arg(long, default_value = "/var/run/secrets/dingtalk")]
    folder: PathBuf,
    /// Print it once and exit, with code 1 if the token is not valid.
    #[arg(long)]
    check: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.check {
        let (said, is_good) = look(&arguments.folder, Timestamp::now());
        println!("{said}");
        return Ok(ExitCode::from(u8::from(!is_good)));
    }
    // The first process in a container must handle a signal to be terminated by it.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut last = String::new();
    loop {
        // Reading the file for each use is how a program gets a new token without a restart.
        let (said, _) = look(&arguments.folder, Timestamp::now());
        if said != last {
            println!("{said}");
            last = said;
        }
        tokio::select! {
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
            _ = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

/// Returns a message about the token, and whether it is valid.
fn look(folder: &Path, now: Timestamp) -> (String, bool) {
    let read = |key: &str| {
        let path = folder.join(key);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let token = match read("access_token").and_then(|token| Ok((token, read("expires_at")?))) {
        Ok(token) => token,
        Err(error) => return (format!("no token: {error}"), false),
    };
    match (token.0.len(), token.1.parse::<Timestamp>()) {
        (0, _) => ("no token: access_token is empty".to_owned(), false),
        (_, Err(error)) => (format!("no token: expires_at: {error}"), false),
        (length, Ok(expires_at)) if expires_at > now => (
            format!("the token ({length} characters) is good until {expires_at}"),
            true,
        ),
        (_, Ok(expires_at)) => (format!("the token expired at {expires_at}"), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_until_it_expires() {
        let folder = std::env::temp_dir().join(format!("token-reader-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("created");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let (said, is_good) = look(&folder, at("2026-01-01T00:00:00Z"));
        assert!(!is_good && said.starts_with("no token: "), "{said}");
        fs::write(folder.join("access_token"), "0123456789").expect("written");
        fs::write(folder.join("expires_at"), "2026-01-01T02:00:00Z").expect("written");
        let (said, is_good) = look(&folder, at("2026-01-01T00:00:00Z"));
        let good = "the token (10 characters) is good until 2026-01-01T02:00:00Z";
        assert_eq!((said.as_str(), is_good), (good, true));
        let (said, is_good) = look(&folder, at("2026-01-01T02:00:00Z"));
        let expired = "the token expired at 2026-01-01T02:00:00Z";
        assert_eq!((said.as_str(), is_good), (expired, false));
        fs::remove_dir_all(&folder).expect("removed");
    }
}
