//! The program: an allocator and the command line.

use std::process::ExitCode;

/// Chosen by measurement (`benches/README.md`): with the system's allocator a request costs an
/// eighth more, with a 64 KiB body twice as much.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    streamgate::cli::main()
}
