//! The binary. Everything is in the library, so that tests and the sandbox run the same code.

/// A snapshot makes and drops some hundred small values per row, a page at a time: with the allocator of the C library that
/// takes as long as everything else together (`benches/README.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    ingest_service::cli::main()
}
