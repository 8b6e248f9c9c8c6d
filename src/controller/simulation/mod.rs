//! The whole operator of one namespace in a simulated world, from one seed: an API server whose watches
//! lag and whose calls take their time or are lost, a token endpoint, users who change everything, and
//! a process that dies before or after any of its writes and fetches.

mod calls;
mod judge;
mod process;
mod runs;
mod site;
mod store;
mod tests;
mod world;
