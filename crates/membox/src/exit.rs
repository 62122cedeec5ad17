//! How the process ends.

use std::fmt;
use std::process::ExitCode;

/// `membox import`: everything that could be read was imported, and some of it was refused.
pub const SOME_REFUSED: u8 = 1;
/// `membox verify`: a box has the folder open, and nothing was checked.
pub const BOX_RUNS: u8 = 3;

/// An error that ends the process with a code of its own; others end it with 1.
#[derive(Debug)]
pub struct ExitError {
    code: u8,
    message: String,
}

impl ExitError {
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExitError {}

/// Says why a command failed, and gives its code.
pub fn code_of(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("Error: {error:?}");
    error.downcast_ref::<ExitError>().map_or(ExitCode::FAILURE, |error| ExitCode::from(error.code))
}

/// Ends the process quietly when whoever reads its output has gone, as in `membox config show | head -1`: Rust would
/// report a panic. 141 is what a shell shows of a command that SIGPIPE has ended.
#[expect(
    clippy::disallowed_methods,
    reason = "panics of commands go on to what was there before; a box hears them by a hook of its own"
)]
pub fn end_with_the_reader() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload().downcast_ref::<String>();
        if said.is_some_and(|said| said.starts_with("failed printing to stdout") && said.contains("Broken pipe")) {
            std::process::exit(141);
        }
        report(panic);
    }));
}
