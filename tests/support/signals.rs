//! Sends signals by name, without `kill`.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Sends a signal to a process.
pub(crate) fn send(name: &str, process: u32) {
    kill_process(pid(process), signal(name)).unwrap();
}

/// Sends a signal to all processes of a group.
pub(crate) fn send_to_group(name: &str, group: u32) {
    kill_process_group(pid(group), signal(name)).unwrap();
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(process.try_into().unwrap()).expect("a process ID is positive")
}

fn signal(name: &str) -> Signal {
    match name {
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "HUP" => Signal::HUP,
        "KILL" => Signal::KILL,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        "ABRT" => Signal::ABORT,
        "SYS" => Signal::SYS,
        "QUIT" => Signal::QUIT,
        _ => panic!("unknown signal {name}"),
    }
}
