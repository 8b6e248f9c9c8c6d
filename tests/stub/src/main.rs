//! The stub as a program; steer it through its routes under `/_stub/`.

use clap::Parser;
use dingtalk_stub::{Repeat, Stub};

/// An emulation of DingTalk's token endpoint, on loopback.
#[derive(Parser)]
struct Arguments {
    /// The port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The life of a token in seconds.
    #[arg(long, default_value_t = 7200)]
    expires_in: i64,
    /// What a repeated fetch does.
    #[arg(long, value_enum, default_value_t)]
    repeat: Repeat,
    /// With `same-then-overlap`: in how many of the last seconds of a token's life a fetch returns a
    /// new one.
    #[arg(long, default_value_t = 300)]
    overlap: i64,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let stub = Stub::start(arguments.port).await?;
    stub.configure(|settings| {
        settings.expires_in = arguments.expires_in;
        settings.repeat = arguments.repeat;
        settings.overlap = arguments.overlap;
    });
    println!("{}", stub.url());
    tokio::signal::ctrl_c().await
}
