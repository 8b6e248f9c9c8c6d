//! Nothing is built: see Cargo.toml.

fn main() {}
