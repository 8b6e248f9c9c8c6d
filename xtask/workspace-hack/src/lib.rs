//! Nothing but features of dependencies.
