//! Whether a program or an image is for the machine that is to run it.
//!
//! It looks at the first bytes of a `bootstrap` and refuses what the kernel could never start: an
//! ELF program of another machine, or a program of macOS or Windows, which is what a forgotten
//! cross-compilation gives. Scripts and everything that it does not know pass.

use std::fmt;

use super::error::PackageError;

/// As much of a program as [`check_program`] looks at.
pub const HEAD_BYTES: usize = 20;

/// A machine that functions run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    X86_64,
    Arm64,
}

impl Architecture {
    /// Reads the names of AWS, of images and of the Engine.
    pub fn parse(name: &str) -> Option<Architecture> {
        match name {
            "x86_64" | "amd64" => Some(Architecture::X86_64),
            "arm64" | "aarch64" => Some(Architecture::Arm64),
            _ => None,
        }
    }
}

/// AWS's name.
impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Architecture::X86_64 => "x86_64",
            Architecture::Arm64 => "arm64",
        })
    }
}

/// Refuses a program that the host cannot run, by its first [`HEAD_BYTES`].
pub fn check_program(name: &str, head: &[u8], host: Architecture) -> Result<(), PackageError> {
    match machine(head) {
        Some(found) if !runs(&found, host) => Err(PackageError::WrongMachine {
            what: format!("The program {name:?} of the package"),
            found: found.to_string(),
            host,
        }),
        _ => Ok(()),
    }
}

/// Refuses an image that the host cannot run. The Engine's own empty name passes.
pub fn check_image(
    image: &str,
    architecture: &str,
    host: Architecture,
) -> Result<(), PackageError> {
    if architecture.is_empty() || Architecture::parse(architecture) == Some(host) {
        return Ok(());
    }
    Err(PackageError::WrongMachine {
        what: format!("The image {image}"),
        found: architecture.to_owned(),
        host,
    })
}

/// What a program is for.
#[derive(Debug, PartialEq, Eq)]
enum Machine {
    Elf { bits: u8, number: u16 },
    MacOs,
    Windows,
}

/// `e_machine` of the ELF specification.
const EM_386: u16 = 3;
const EM_ARM: u16 = 40;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;

/// `None` for what it does not know, such as scripts.
fn machine(head: &[u8]) -> Option<Machine> {
    match head {
        [0x7f, b'E', b'L', b'F', class, data, rest @ ..] => {
            let number = rest.get(12..14).and_then(|two| <[u8; 2]>::try_from(two).ok())?;
            let number =
                if *data == 2 { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) };
            Some(Machine::Elf { bits: if *class == 1 { 32 } else { 64 }, number })
        }
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => Some(Machine::MacOs),
        [b'M', b'Z', ..] => Some(Machine::Windows),
        _ => None,
    }
}

fn runs(machine: &Machine, host: Architecture) -> bool {
    let Machine::Elf { bits, number } = machine else { return false };
    match host {
        // x32 programs, of 32 bits for EM_X86_64, need a kernel that is rarely built.
        Architecture::X86_64 => matches!((bits, *number), (64, EM_X86_64) | (32, EM_386)),
        // Many servers of this kind cannot run 32-bit ARM programs.
        Architecture::Arm64 => matches!((bits, *number), (64, EM_AARCH64)),
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Machine::MacOs => f.write_str("macOS"),
            Machine::Windows => f.write_str("Windows"),
            Machine::Elf { number: EM_X86_64, .. } => f.write_str("x86_64"),
            Machine::Elf { number: EM_386, .. } => f.write_str("x86 (32 bit)"),
            Machine::Elf { number: EM_AARCH64, .. } => f.write_str("arm64"),
            Machine::Elf { number: EM_ARM, .. } => f.write_str("arm (32 bit)"),
            Machine::Elf { bits, number } => write!(f, "ELF machine {number} ({bits} bit)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(class: u8, data: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut head = vec![0x7f, b'E', b'L', b'F', class, data, 1];
        head.resize(18, 0);
        head.extend(machine);
        head
    }

    #[test]
    fn programs_of_the_host_and_scripts_pass() {
        for head in [elf(2, 1, [62, 0]), elf(1, 1, [3, 0]), b"#!/bin/sh\n".to_vec(), Vec::new()] {
            assert!(check_program("bootstrap", &head, Architecture::X86_64).is_ok(), "{head:?}");
        }
        assert!(check_program("bootstrap", &elf(2, 1, [183, 0]), Architecture::Arm64).is_ok());
        // This very program is for this very host.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let host = Architecture::parse(std::env::consts::ARCH).unwrap();
        assert!(check_program("test", &own[..HEAD_BYTES], host).is_ok());
    }

    #[test]
    fn programs_of_others_are_refused_by_name() {
        let refused = |head: &[u8], host, found: &str| {
            let error = check_program("bootstrap", head, host).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "The program \"bootstrap\" of the package is for {found}, which this host \
                     ({host}) cannot run. Build it for {host}."
                )
            );
            assert_eq!(error.aws(), (400, "InvalidParameterValueException"));
        };
        refused(&elf(2, 1, [183, 0]), Architecture::X86_64, "arm64");
        refused(&elf(2, 1, [62, 0]), Architecture::Arm64, "x86_64");
        refused(&elf(1, 1, [40, 0]), Architecture::Arm64, "arm (32 bit)");
        refused(&elf(2, 2, [0, 22]), Architecture::X86_64, "ELF machine 22 (64 bit)");
        refused(&[0xcf, 0xfa, 0xed, 0xfe, 7], Architecture::X86_64, "macOS");
        refused(b"MZ\x90\0", Architecture::X86_64, "Windows");
    }

    #[test]
    fn a_head_of_any_length_is_read() {
        let head = elf(2, 1, [183, 0]);
        for length in 0..HEAD_BYTES {
            assert!(check_program("b", &head[..length], Architecture::X86_64).is_ok());
        }
    }

    #[test]
    fn images_are_known_by_the_names_of_the_engine() {
        for good in ["amd64", "x86_64", ""] {
            assert!(check_image("i", good, Architecture::X86_64).is_ok());
        }
        let error = check_image("i:1", "arm64", Architecture::X86_64).unwrap_err();
        assert!(error.to_string().starts_with("The image i:1 is for arm64, which this host"));
    }
}
