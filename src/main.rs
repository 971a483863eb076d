//! The binary: reads the command line, starts the runtime, runs one command, says in one sentence what went wrong.

use clap::Parser;
use std::process::ExitCode;

/// Legs come and go by the hundred thousand, made on one thread and dropped on another: the system's allocator spends a fifth of an
/// import's time on that.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = calltrail::cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("calltrail: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(calltrail::cli::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("calltrail: {error:#}");
            ExitCode::FAILURE
        }
    }
}
