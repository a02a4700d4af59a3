//! No core dumps: an image of the memory has the keys in it.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Switches core dumps off for this process, in both ways that there are: by the limit, which counts where dumps are
/// files, and by the kernel's mark on the process, which counts also where a program takes them, and keeps other
/// processes of the same user from reading the memory. Root may still trace it.
///
/// # Errors
/// When the system refuses: then nothing should be read that is worth hiding.
pub(super) fn forbid() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
