//! The stub as a program. It is controlled through its routes under `/_stub/`.

use clap::Parser;
use dingtalk_stub::{App, Repeat, Stub};
use tokio::signal::unix::{SignalKind, signal};

/// Emulates DingTalk's token endpoint on loopback.
#[derive(Parser)]
struct Arguments {
    /// Port to listen on; 0 means a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Lifetime of a token, in seconds.
    #[arg(long, default_value_t = 7200)]
    expires_in: i64,
    /// What a repeated fetch returns.
    #[arg(long, value_enum, default_value_t)]
    repeat: Repeat,
    /// With `same-then-overlap`: how long before a token's expiry a fetch returns a new one, in seconds.
    #[arg(long, default_value_t = 300)]
    overlap: i64,
    /// App to register. Can be repeated. Further apps can be registered at `/_stub/apps`.
    #[arg(long, value_name = "CLIENT_ID:CLIENT_SECRET:CORP_ID,…", value_parser = app)]
    app: Vec<App>,
}

fn app(text: &str) -> Result<App, String> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [client_id, client_secret, corp_ids] => Ok(App {
            client_id: client_id.to_owned(),
            client_secrets: vec![client_secret.to_owned()],
            corp_ids: corp_ids.split(',').map(str::to_owned).collect(),
        }),
        _ => Err("write it as CLIENT_ID:CLIENT_SECRET:CORP_ID,…".to_owned()),
    }
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
    for app in arguments.app {
        stub.add_app(app);
    }
    println!("{}", stub.url());
    // The first process in a container must handle a signal to be terminated by it.
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
