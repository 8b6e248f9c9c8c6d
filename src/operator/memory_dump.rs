//! Prevents core dumps, since the process's memory contains client secrets and tokens.

/// Core dumps could not be disabled.
#[derive(Debug, thiserror::Error)]
#[error("cannot disable core dumps: {0}")]
pub struct CoreDumpError(#[from] std::io::Error);

/// Disables core dumps for this process and, on Linux, also debuggers of the same user.
///
/// # Errors
/// A system call failed.
pub fn forbid_core_dumps() -> Result<(), CoreDumpError> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(Resource::Core, none).map_err(std::io::Error::from)?;
    }
    // The limit does not apply to a handler that the kernel pipes dumps to; this does.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(std::io::Error::from)?;
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn neither_a_file_nor_a_handler_gets_a_dump() {
        forbid_core_dumps().expect("the process's own matter");
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        let behaviour = dumpable_behavior().expect("a behaviour");
        assert_eq!(behaviour, DumpableBehavior::NotDumpable);
    }
}
