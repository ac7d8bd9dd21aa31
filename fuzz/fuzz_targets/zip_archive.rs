//! Any bytes as a zip package: no panic, no more output than the limits allow, and whatever was
//! accepted can be written as a tar archive. Memory is libFuzzer's to watch (-rss_limit_mb).

#![no_main]

use std::io::{self, Write};

use lambda_runtime_api_server::docker::TarWriter;
use lambda_runtime_api_server::package::{Archive, Limits, PackageError};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { zipped_bytes: 1 << 20, unzipped_bytes: 1 << 20, entries: 100 };

/// Each entry has at most a header, a pax header and two long values; the last block is padded.
const OUTPUT_LIMIT_BYTES: u64 = LIMITS.unzipped_bytes + (LIMITS.entries as u64 + 2) * 8 * 512;

/// Counts what is written and keeps none of it.
struct Sink(u64);

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0 += data.len() as u64;
        assert!(self.0 <= OUTPUT_LIMIT_BYTES, "more output than the limits allow");
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(archive: &Archive<'_>) -> Result<(), PackageError> {
    let mut tar = TarWriter::new(Sink(0));
    archive.write_tar("var/task", &mut tar)?;
    tar.finish().expect("a sink takes everything");
    Ok(())
}

fuzz_target!(|zip: &[u8]| {
    // Without the check of checksums, which random changes would never pass.
    if let Ok(archive) = Archive::parse(zip, &LIMITS) {
        assert!(archive.unzipped_bytes() <= LIMITS.unzipped_bytes);
        archive.bootstrap_head();
        match write(&archive) {
            Ok(()) | Err(PackageError::Entry { .. }) => {}
            Err(other) => panic!("accepted, and refused by the tar: {other:?}"),
        }
    }
    match Archive::check(zip, &LIMITS) {
        Ok(archive) => write(&archive).expect("what was checked can be written"),
        Err(error) => assert!(!error.to_string().is_empty() && error.aws().0 < 500),
    }
});
