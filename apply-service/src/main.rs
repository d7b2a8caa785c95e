//! The binary. Everything is in the library, so that tests and the sandbox run the same code.

/// Plans and records are many small values, made and dropped at once (`benches/README.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    apply_service::cli::main()
}
