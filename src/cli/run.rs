//! `watchfire run`: the agent, until a signal ends it.

use std::process::ExitCode;

use super::{EXIT_INVALID, RunFlags, logging};
use crate::agent::{self, StartError};

pub fn run(flags: &RunFlags) -> ExitCode {
    logging::init(flags.common.log_level, flags.common.log_format);
    flags.foreign.log();
    match agent::run(flags.source()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Config(faults)) => {
            eprint!("{faults}");
            eprintln!("watchfire: the configuration is not valid; nothing was started");
            ExitCode::from(EXIT_INVALID)
        }
        Err(StartError::Other(message)) => {
            eprintln!("watchfire: {message}");
            ExitCode::FAILURE
        }
    }
}
