//! `watchfire guard`: the process that ends what commands have started when the agent is killed. The agent starts it.

use std::process::ExitCode;

use crate::pool::guard;

/// What the kernel calls it, in place of the name of the link that it was started by; at most 15 bytes.
const NAME: &std::ffi::CStr = c"watchfire-guard";

pub fn run() -> ExitCode {
    // A name is for people alone.
    let _unnamed = rustix::thread::set_name(NAME);
    match guard::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watchfire: the agent starts the guard itself, with what the two share: {error}");
            ExitCode::FAILURE
        }
    }
}
