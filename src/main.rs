//! The one binary: `cody-batch`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cody_batch::cli::main()
}
