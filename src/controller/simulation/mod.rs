//! The whole operator of one namespace in a simulated world, from one seed: an API server whose
//! watches lag and whose calls are slow or lost, a token endpoint, users who change everything, and
//! a process that dies before or after any of its writes and fetches.

mod calls;
mod election;
mod fetches;
mod garbage;
mod judge;
mod kept;
mod known;
mod learned;
mod missed;
mod network;
mod process;
mod records;
mod replica;
mod reported;
mod runs;
mod server;
mod shrink;
mod site;
mod store;
mod tests;
mod users;
mod watches;
mod wishes;
mod world;
