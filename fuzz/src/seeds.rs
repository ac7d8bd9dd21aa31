//! Writes the corpora that fuzzing starts from. Those of what is in the crate stand there, beside
//! what must hold of them; the archives are built here.

use std::path::Path;

use lambda_runtime_api_server::access::signature::fuzzing as signature;
use lambda_runtime_api_server::api::fuzzing as api;
use lambda_runtime_api_server::docker::fuzzing as docker;
use lambda_runtime_api_server::function::fuzzing as function;
use lambda_runtime_api_server::fuzzing::Seed;
use lambda_runtime_api_server::http::fuzzing as http;
use lambda_runtime_api_server::logs::filter::fuzzing as filter;
use lambda_runtime_api_server::schedule::fuzzing as schedule;
use zip_builder::{ZipEntry, zip};

#[path = "../../src/package/zip_builder.rs"]
mod zip_builder;

const CORPORA: &[(&str, &[Seed])] = &[
    ("http_head", http::HEAD_SEEDS),
    ("http_body", http::BODY_SEEDS),
    ("http_connection", http::CONNECTION_SEEDS),
    ("sigv4", signature::SEEDS),
    ("arn", function::ARN_SEEDS),
    ("docker_frames", docker::FRAMES_SEEDS),
    ("event_stream", docker::EVENT_STREAM_SEEDS),
    ("json_shapes", api::SHAPES_SEEDS),
    ("filter_patterns", filter::SEEDS),
    ("schedules", schedule::SEEDS),
];

fn main() -> std::io::Result<()> {
    for (target, seeds) in CORPORA {
        for (name, seed) in *seeds {
            write(target, name, seed)?;
        }
    }
    for (name, entries) in archives() {
        write("zip_archive", name, &zip(&entries))?;
    }
    Ok(())
}

fn write(target: &str, name: &str, seed: &[u8]) -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&corpus)?;
    std::fs::write(corpus.join(name), seed)
}

/// One archive for each feature that the reader knows.
fn archives() -> Vec<(&'static str, Vec<ZipEntry>)> {
    let text = b"def handler(event, context): return event, event, event";
    vec![
        ("empty", vec![]),
        ("stored", vec![ZipEntry::stored("index.py", text)]),
        ("deflated", vec![ZipEntry::deflated("bootstrap", text)]),
        ("streamed", vec![ZipEntry::deflated("a/b/c", text).streamed()]),
        ("link", vec![ZipEntry::stored("a/f", text), ZipEntry::link("b/l", "../a/f")]),
        (
            "directory",
            vec![ZipEntry::stored("d/", b"").mode(0o040_755), ZipEntry::stored("d/f", text)],
        ),
        ("zeros", vec![ZipEntry::deflated("zeros", &[0; 100_000])]),
        ("two", vec![ZipEntry::deflated("x", text), ZipEntry::deflated("y", text).streamed()]),
    ]
}
