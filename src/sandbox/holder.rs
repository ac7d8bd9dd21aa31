//! Holders: the smallest containers there are, each of which only keeps a network namespace.
//!
//! A holder's image has one file, a program of a few instructions that waits for ever. It is
//! written here byte by byte, so it needs no registry, no compiler and no library, is the same for
//! every build of the service, and can do nothing else.

use std::io::Cursor;
use std::net::Ipv4Addr;

use sha2::{Digest, Sha256};

use crate::docker::{
    ContainerSpec, Engine, EngineError, LogDriver, NetworkMode, TarEntry, TarWriter,
};

/// The repository of the holders' image.
const REPOSITORY: &str = "lambda-runtime-api-server/holder";
/// The program in it.
const PROGRAM: &str = "hold";
/// Marks the image, to find those of earlier versions.
const IMAGE_LABEL: &str = "lambda-runtime-api-server.holder";
/// nobody: it owns nothing and is no function's user.
const USER: &str = "65534:65534";
/// Its program needs 16 KiB; what starts it in its limits, the Engine's runtime, some MB.
const MEMORY_BYTES: u64 = 32 << 20;
/// As with the memory.
const PROCESSES: u32 = 32;

/// What the instructions and the header depend on.
#[derive(Debug, Clone, Copy)]
struct Machine {
    /// `e_machine` of the ELF header.
    elf: u16,
    code: &'static [u8],
}

/// `again: mov eax, 34 /* pause */; syscall; jmp again`
const X86_64: Machine = Machine { elf: 62, code: &[0xb8, 0x22, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7] };

/// `again: mov x0, 0; mov x1, 0; mov x2, 0; mov x3, 0; mov x8, 73 /* ppoll */; svc 0; b again`
const AARCH64: Machine = Machine {
    elf: 183,
    code: &[
        0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x80, 0xd2, 0x02, 0x00, 0x80, 0xd2, 0x03, 0x00, 0x80,
        0xd2, 0x28, 0x09, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4, 0xfa, 0xff, 0xff, 0x17,
    ],
};

impl Machine {
    /// The Engine's own: it runs on this host.
    const HERE: Machine = if cfg!(target_arch = "aarch64") { AARCH64 } else { X86_64 };

    /// The program as an ELF file: the header, one segment to execute, a stack that is not.
    /// <https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html>
    fn program(self) -> Vec<u8> {
        const BASE: u64 = 0x40_0000;
        const HEADER_BYTES: u16 = 64;
        const SEGMENT_BYTES: u16 = 56;
        let entry = u64::from(HEADER_BYTES + 2 * SEGMENT_BYTES);
        let size = entry + self.code.len() as u64;
        let mut elf = Vec::new();
        let mut put = |bytes: &[u8]| elf.extend_from_slice(bytes);
        put(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"); // 64 bit, little endian, version 1
        put(&2u16.to_le_bytes()); // at a fixed address
        put(&self.elf.to_le_bytes());
        put(&1u32.to_le_bytes());
        put(&(BASE + entry).to_le_bytes());
        put(&u64::from(HEADER_BYTES).to_le_bytes()); // where the segments are told
        put(&[0; 8 + 4]); // no sections, no flags
        for field in [HEADER_BYTES, SEGMENT_BYTES, 2, 0, 0, 0] {
            put(&field.to_le_bytes());
        }
        let mut segment = |kind: u32, flags: u32, fields: [u64; 6]| {
            put(&kind.to_le_bytes());
            put(&flags.to_le_bytes());
            fields.iter().for_each(|field| put(&field.to_le_bytes()));
        };
        segment(1, 5, [0, BASE, BASE, size, size, 0x1000]); // PT_LOAD, read and execute
        segment(0x6474_e551, 6, [0, 0, 0, 0, 0, 16]); // PT_GNU_STACK, read and write
        put(self.code);
        elf
    }
}

/// Makes the image if the Engine does not have it, and gives its name, which is that of its
/// content. Images of earlier versions go when a new one is made.
pub(super) fn ensure_image(engine: &Engine) -> Result<String, EngineError> {
    // Writing to memory cannot fail.
    let archive = archive(Machine::HERE).unwrap_or_default();
    let digest = Sha256::digest(&archive);
    let tag: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{REPOSITORY}:{tag}");
    if engine.image(&name)?.is_some() {
        return Ok(name);
    }
    let changes = [format!("ENTRYPOINT [\"/{PROGRAM}\"]"), format!("LABEL {IMAGE_LABEL}={tag}")];
    engine.import_image(&mut Cursor::new(archive), &name, &changes)?;
    log::info!("made image {name} for network slots");
    for image in engine.images_with_label(IMAGE_LABEL)? {
        for old in image.names.iter().filter(|old| **old != name) {
            if let Err(error) = engine.remove_image(old) {
                log::debug!("image {old} stays: {error}");
            }
        }
    }
    Ok(name)
}

fn archive(machine: Machine) -> std::io::Result<Vec<u8>> {
    let program = machine.program();
    let mut tar = TarWriter::new(Vec::new());
    let size = program.len() as u64;
    tar.file(TarEntry::root(PROGRAM, 0o755), size, &mut Cursor::new(program))?;
    tar.finish()
}

/// The container of a holder at `address` of `network`.
pub(super) fn container(
    image: &str,
    owner: &str,
    network: &str,
    address: Ipv4Addr,
) -> ContainerSpec {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    ContainerSpec {
        image: image.to_owned(),
        labels: [label(super::OWNER_LABEL, owner), label(super::ROLE_LABEL, super::ROLE_SLOT)]
            .into(),
        user: Some(USER.to_owned()),
        network: NetworkMode::Named { name: network.to_owned(), address: Some(address) },
        read_only_root: true,
        memory_bytes: Some(MEMORY_BYTES),
        pids_limit: Some(PROCESSES),
        drop_capabilities: true,
        no_new_privileges: true,
        ipc_mode: Some("none".to_owned()),
        log_driver: Some(LogDriver { name: "none".to_owned(), options: [].into() }),
        // The first process of a namespace is not killed by a signal that it does not handle.
        stop_signal: Some("SIGKILL".to_owned()),
        ..ContainerSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(program: &[u8], at: usize, bytes: usize) -> u64 {
        program[at..at + bytes].iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte))
    }

    #[test]
    fn the_entry_is_the_first_instruction_within_the_one_segment() {
        for machine in [X86_64, AARCH64] {
            let program = machine.program();
            assert_eq!(number(&program, 18, 2), u64::from(machine.elf));
            let (entry, base) = (number(&program, 24, 8), number(&program, 64 + 16, 8));
            let at = usize::try_from(entry - base).unwrap();
            assert_eq!(&program[at..], machine.code);
            assert_eq!(number(&program, 64 + 32, 8), program.len() as u64);
            assert_eq!(number(&program, 54, 2) * number(&program, 56, 2) + 64, at as u64);
        }
    }

    #[test]
    fn a_holder_can_do_nothing() {
        let spec = container("i", "o", "n", Ipv4Addr::new(10, 0, 0, 7));
        assert!(spec.read_only_root && spec.drop_capabilities && spec.no_new_privileges);
        assert_eq!(spec.user.as_deref(), Some("65534:65534"));
        assert!(spec.memory_bytes.is_some() && spec.pids_limit.is_some() && spec.env.is_empty());
        assert!(!spec.labels.contains_key(crate::sandbox::SANDBOX_LABEL));
        assert_eq!(spec.labels[crate::sandbox::OWNER_LABEL], "o");
    }
}
