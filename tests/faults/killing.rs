//! Killed with SIGKILL at every point: nothing is lost, and nothing is committed twice unknowingly.
