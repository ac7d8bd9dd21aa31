//! Writes the corpus that fuzzing starts from: one archive for each feature that the reader knows.

use std::path::Path;

use zip_builder::{ZipEntry, zip};

#[path = "../../src/package/zip_builder.rs"]
mod zip_builder;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/zip_archive");
    std::fs::create_dir_all(&corpus)?;
    let text = b"def handler(event, context): return event, event, event";
    let seeds = [
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
    ];
    for (name, entries) in seeds {
        std::fs::write(corpus.join(name), zip(&entries))?;
    }
    println!("wrote the seeds into {}", corpus.display());
    Ok(())
}
