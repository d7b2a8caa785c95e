//! Compiles the Pub/Sub API definition with protox, so that no system `protoc` is needed.

const PROTO_DIR: &str = "../../ingest-service/proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = format!("{PROTO_DIR}/pubsub_api.proto");
    println!("cargo::rerun-if-changed={proto}");
    let descriptors = protox::compile([&proto], [PROTO_DIR])?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .compile_fds(descriptors)?;
    Ok(())
}
