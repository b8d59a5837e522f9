//! Compiles the protos with protox, so that building needs no `protoc`.

#[path = "build/commit.rs"]
mod commit;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let session = protox::compile(["bridgehead/session/v1/session.proto"], ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(session)?;

    let push = protox::compile(["bridgehead/push/v1/push.proto"], ["proto"])?;
    fs::write(out.join("push_descriptors.bin"), push.encode_to_vec())?;
    tonic_prost_build::configure().build_server(false).bytes(".").compile_fds(push.clone())?;
    // The server apart: its codec refuses fields that it does not know, and its
    // receipts write themselves.
    let server = out.join("push_server");
    fs::create_dir_all(&server)?;
    tonic_prost_build::configure()
        .build_client(false)
        .codec_path("crate::push::codec::StrictCodec")
        .extern_path(".bridgehead.push.v1", "crate::proto::push")
        .extern_path(".bridgehead.push.v1.PushReceipt", "crate::push::receipt::PushReceipt")
        .out_dir(server)
        .compile_fds(push)?;

    let cluster = protox::compile(["bridgehead/cluster/v1/cluster.proto"], ["proto"])?;
    prost_build::Config::new()
        .bytes(["."])
        .extern_path(".bridgehead.push.v1", "crate::proto::push")
        .compile_fds(cluster)?;

    let demo = protox::compile(["user.proto", "relation.proto", "msg.proto"], ["proto/demo"])?;
    fs::write(out.join("demo_descriptors.bin"), demo.encode_to_vec())?;
    tonic_prost_build::configure().build_client(false).compile_fds(demo)?;
    tell_version()?;
    Ok(())
}

/// `BRIDGEHEAD_VERSION`, with the commit where one is known. The repository is
/// asked for it in release builds alone: others would be made anew after every
/// commit.
fn tell_version() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=BRIDGEHEAD_COMMIT");
    println!("cargo:rerun-if-changed=build");
    let told = env::var("BRIDGEHEAD_COMMIT").ok().filter(|commit| !commit.is_empty());
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let commit = match told {
        Some(told) => commit::from_text(&told),
        None if env::var("PROFILE")? == "release" => {
            watch(&folder);
            commit::of_repository(&folder)
        }
        None => None,
    };
    let version = env::var("CARGO_PKG_VERSION")?;
    let commit = commit.map_or_else(String::new, |commit| format!(" ({commit})"));
    println!("cargo:rustc-env=BRIDGEHEAD_VERSION={version}{commit}");
    Ok(())
}

/// Has the build run again when another commit is checked out or made.
fn watch(folder: &Path) {
    for name in ["HEAD", "logs/HEAD", "index"] {
        let path = commit::git(folder, &["rev-parse", "--git-path", name]);
        if let Some(path) = path.map(|path| folder.join(path)).filter(|path| path.exists()) {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
}
