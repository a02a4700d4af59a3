//! The wall clock steps, and the process is frozen.
