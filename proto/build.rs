//! Compiles the protocol files without `protoc`, and keeps their descriptors for reflection.

use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=entente");
    let files = ["entente/exchange.proto", "entente/desk.proto", "entente/admin.proto"];
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .codec_path("crate::Codec")
        .compile_fds(descriptors)?;
    Ok(())
}
