//! The one binary: `cody-batch`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    cody_batch::cli::main()
}
