//! The operator's program; see the library.

use std::process::ExitCode;

use clap::Parser;
use dingtalk_token_operator::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().execute().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
