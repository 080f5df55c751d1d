//! The binary: reads the arguments and turns the outcome into an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    proxmenux_monitor::cli::run()
}
