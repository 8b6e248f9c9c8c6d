//! Entry point of the `dingtalk-token-operator` binary.

use std::process::ExitCode;

use dingtalk_token_operator::cli;

#[tokio::main]
async fn main() -> ExitCode {
    cli::execute(std::env::args_os().collect()).await
}
