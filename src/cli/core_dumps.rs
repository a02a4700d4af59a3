//! Disables core dumps, which would contain the secret key.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Disables core dumps for this process, in two ways. The resource limit covers dumps that are written to files. The kernel's
/// dumpable flag also covers dumps that are piped to a program, and keeps other processes of the same user from reading the
/// memory. Root can still trace the process.
///
/// # Errors
/// When the system refuses. The caller must not read any secret then.
pub(super) fn disable() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
