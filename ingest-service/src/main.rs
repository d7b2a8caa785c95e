//! The binary. Everything is in the library, so that tests and the sandbox run the same code.

fn main() -> std::process::ExitCode {
    ingest_service::cli::main()
}
