//! Generates what the peers need: Cap'n Proto code (needs `capnp`), and gRPC stubs (no `protoc`).

fn main() {
    if std::env::var_os("CARGO_FEATURE_PEERS").is_none() {
        return;
    }
    capnpc::CompilerCommand::new()
        .file("bench.capnp")
        .run()
        .expect("the capnp compiler (Debian: capnproto) is needed");
    let method = |name: &str, route: &str, message: &str| {
        tonic_build::manual::Method::builder()
            .name(name)
            .route_name(route)
            .input_type(message)
            .output_type(message)
            .codec_path("tonic_prost::ProstCodec")
            .build()
    };
    let service = tonic_build::manual::Service::builder()
        .name("Bench")
        .package("bench")
        .method(method("number", "Number", "crate::peers::tonic::Number"))
        .method(method("bytes", "Bytes", "crate::peers::tonic::Bytes"))
        .build();
    tonic_build::manual::Builder::new().compile(&[service]);
}
