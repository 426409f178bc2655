//! The `cloakroom` binary: arguments to configuration, configuration to a running server.

use std::process::ExitCode;

use cloakroom::base::allocator::Counting;
use cloakroom::config::{Source, load, read_files};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let sources = [Source::Arguments(std::env::args().skip(1).collect())];
    let loaded = match load(&sources, &mut |path| read_files(path)) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("cloakroom: {error}");
            return ExitCode::FAILURE;
        }
    };
    match cloakroom::server::run(loaded.config, None) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloakroom: {error}");
            ExitCode::FAILURE
        }
    }
}
