//! Core dumps are off, since an image of the memory has the secret key in it.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Turns core dumps off for this process, in both ways: by the limit, which applies if dumps are written to files, and by the
/// kernel's mark, which also applies if a program takes them, and keeps other processes of the same user from reading the
/// memory. Root can still trace it.
///
/// # Errors
/// When the system refuses. Then no secret should be read.
pub(super) fn forbid() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
