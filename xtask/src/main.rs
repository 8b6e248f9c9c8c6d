//! The project's commands.

fn main() -> std::process::ExitCode {
    xtask::run()
}
