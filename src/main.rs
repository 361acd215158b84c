//! The `regulus` program: a thin wrapper around [`regulus::cli`].

use std::process::ExitCode;

/// glibc's allocator gives large buffers back to the system at every step and takes them anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    regulus::cli::main()
}
