//! The `regulus` program: a thin wrapper around [`regulus::cli`].

use std::process::ExitCode;

/// glibc's allocator returns large buffers to the system after every step and allocates them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    regulus::cli::main()
}
