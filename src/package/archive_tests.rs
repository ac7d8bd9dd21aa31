//! Good packages come out whole; each hostile one is refused for its own reason.

use super::archive::{Archive, Limits};
use super::error::{PackageError, Problem};
use super::inflate::Damage;
use super::zip_builder::{ZipEntry, end, zip};
use crate::docker::TarWriter;

fn check(entries: &[ZipEntry]) -> Result<(), PackageError> {
    Archive::check(&zip(entries), &Limits::INLINE).map(drop)
}

fn good() -> ZipEntry {
    ZipEntry::deflated("index.py", b"def handler(event, context): return event")
}

/// What comes out, as (path, type, mode, content or target).
fn unpacked(zip: &[u8]) -> Vec<(String, u8, u32, Vec<u8>)> {
    let archive = Archive::check(zip, &Limits::INLINE).unwrap();
    let mut tar = TarWriter::new(Vec::new());
    archive.write_tar("var/task", &mut tar).unwrap();
    let bytes = tar.finish().unwrap();
    let (mut found, mut at) = (Vec::new(), 0);
    let text = |field: &[u8]| String::from_utf8(field.split(|&b| b == 0).next().unwrap().to_vec());
    let octal = |field: &[u8]| u32::from_str_radix(&text(field).unwrap(), 8).unwrap();
    while bytes[at] != 0 {
        let head = &bytes[at..at + 512];
        assert!(octal(&head[108..116]) == 0 && octal(&head[116..124]) == 0, "root owns it");
        assert_eq!(octal(&head[136..148]), 0, "no time");
        let size = octal(&head[124..136]) as usize;
        let content = match head[156] {
            b'2' => text(&head[157..257]).unwrap().into_bytes(),
            _ => bytes[at + 512..at + 512 + size].to_vec(),
        };
        found.push((text(&head[..100]).unwrap(), head[156], octal(&head[100..108]), content));
        at += 512 + size.div_ceil(512) * 512;
    }
    found
}

#[test]
fn a_package_comes_out_in_tree_order_with_normal_modes() {
    let package = zip(&[
        ZipEntry::stored("bootstrap", b"#!/bin/sh\n").mode(0o100_600),
        ZipEntry::deflated("lib/deep/data.txt", &[b'x'; 700]).mode(0o100_000),
        ZipEntry::stored("lib-old.py", b"old"),
        ZipEntry::deflated("bin/tool", b"tool").mode(0o104_711).streamed(),
        ZipEntry::link("lib/link", "../bin/tool"),
        ZipEntry::stored("empty/", b"").mode(0o040_700),
        ZipEntry::stored("./", b"").mode(0o040_700),
    ]);
    let entry = |path: &str, kind, mode, data: &[u8]| (path.to_owned(), kind, mode, data.to_vec());
    let expected = [
        entry("var/task", b'5', 0o755, b""),
        entry("var/task/bin", b'5', 0o755, b""),
        entry("var/task/bin/tool", b'0', 0o755, b"tool"),
        entry("var/task/bootstrap", b'0', 0o755, b"#!/bin/sh\n"),
        entry("var/task/empty", b'5', 0o755, b""),
        entry("var/task/lib", b'5', 0o755, b""),
        entry("var/task/lib/deep", b'5', 0o755, b""),
        entry("var/task/lib/deep/data.txt", b'0', 0o644, &[b'x'; 700]),
        entry("var/task/lib/link", b'2', 0o777, b"../bin/tool"),
        entry("var/task/lib-old.py", b'0', 0o644, b"old"),
    ];
    assert_eq!(unpacked(&package), expected);
}

#[test]
fn a_zip_without_modes_can_start() {
    // Upper halves of attributes that Unix would read as a device.
    let fat = |name: &str| ZipEntry { system: 0, mode: 0o020_777, ..ZipEntry::stored(name, b"x") };
    let found = unpacked(&zip(&[fat("bootstrap"), fat("other")]));
    assert_eq!((found[1].1, found[1].2), (b'0', 0o755));
    assert_eq!((found[2].1, found[2].2), (b'0', 0o644));
}

#[test]
fn the_order_of_a_zip_does_not_matter() {
    let (a, b) = (ZipEntry::stored("a/x", b"1"), ZipEntry::deflated("b", b"2"));
    assert_eq!(unpacked(&zip(&[a.clone(), b.clone()])), unpacked(&zip(&[b, a])));
}

#[test]
fn a_program_in_front_of_the_zip_does_no_harm() {
    // As zipapp and self-extracting archives have it.
    let package = zip(&[good(), ZipEntry::deflated("b", b"data").streamed()]);
    let prefixed = [b"#!/usr/bin/env python3\n".as_slice(), &package].concat();
    assert_eq!(unpacked(&prefixed), unpacked(&package));
}

#[test]
fn the_head_of_a_bootstrap_is_at_hand() {
    let head = |entry| {
        let zip = zip(&[entry, good()]);
        Archive::check(&zip, &Limits::INLINE).unwrap().bootstrap_head()
    };
    let program = [b"\x7fELF".as_slice(), &[7; 1000]].concat();
    assert_eq!(head(ZipEntry::deflated("bootstrap", &program)).unwrap(), &program[..20]);
    assert_eq!(head(ZipEntry::stored("bootstrap", b"#!/x")).unwrap(), b"#!/x");
    assert_eq!(head(ZipEntry::stored("sub/bootstrap", b"#!/x")), None);
    assert_eq!(head(ZipEntry::link("bootstrap", "index.py")), None);
}

#[test]
fn each_hostile_entry_is_refused_for_its_own_reason() {
    let link = |target: &str| ZipEntry::link("sub/link", target);
    let cases: Vec<(ZipEntry, Problem)> = vec![
        (ZipEntry::stored("../../etc/evil", b"x"), Problem::Parent),
        (ZipEntry::stored("/etc/evil", b"x"), Problem::Absolute),
        (ZipEntry::stored("a\\..\\b", b"x"), Problem::Backslash),
        (ZipEntry::stored("a\0b", b"x"), Problem::Control),
        (ZipEntry::stored("", b"x"), Problem::NoName),
        (ZipEntry { name: vec![b'a', 0xff], ..good() }, Problem::NotUtf8),
        (ZipEntry::stored(&"a/".repeat(600), b""), Problem::PathTooLong { limit_bytes: 1024 }),
        (ZipEntry::stored("index.py", b"again"), Problem::Duplicate),
        (ZipEntry::stored("./index.py", b"again"), Problem::Duplicate),
        (ZipEntry::stored("index.py/", b""), Problem::Duplicate),
        (ZipEntry::stored("index.py/x", b"x"), Problem::UnderFile),
        (ZipEntry::stored("device", b"").mode(0o020_644), Problem::Special),
        (ZipEntry::stored("disk", b"").mode(0o060_644), Problem::Special),
        (ZipEntry::stored("pipe", b"").mode(0o010_644), Problem::Special),
        (ZipEntry::stored("socket", b"").mode(0o140_644), Problem::Special),
        (ZipEntry::link("link/", "index.py"), Problem::Special),
        (ZipEntry::stored("dir/", b"data"), Problem::DirectoryWithData),
        (link("/etc/passwd"), Problem::LinkAbsolute),
        (link("../../etc/passwd"), Problem::LinkLeaves),
        (link("a/../../.."), Problem::LinkSteps),
        (link(""), Problem::LinkText),
        (link(&"x".repeat(1025)), Problem::LinkTooLong { limit_bytes: 1024 }),
        (ZipEntry { crc: 1, ..link("index.py") }, Problem::Damaged(Damage::Checksum)),
        (ZipEntry { flags: 1, ..ZipEntry::stored("s", b"x") }, Problem::Encrypted),
        (ZipEntry { flags: 1 << 6, ..ZipEntry::stored("s", b"x") }, Problem::Encrypted),
        (ZipEntry { method: 12, ..ZipEntry::stored("s", b"x") }, Problem::Method { number: 12 }),
        (ZipEntry { method: 93, ..ZipEntry::stored("s", b"x") }, Problem::Method { number: 93 }),
        (ZipEntry { crc: 7, ..ZipEntry::stored("s", b"x") }, Problem::Damaged(Damage::Checksum)),
        (
            ZipEntry { size: 3, ..ZipEntry::deflated("s", b"longer") },
            Problem::Damaged(Damage::Longer),
        ),
        (
            ZipEntry { size: 9, ..ZipEntry::deflated("s", b"longer") },
            Problem::Damaged(Damage::Shorter),
        ),
        (ZipEntry { offset: Some(0), ..good() }, Problem::Overlap),
        (ZipEntry { offset: Some(1 << 30), ..ZipEntry::stored("s", b"x") }, Problem::CutShort),
    ];
    for (entry, problem) in cases {
        match check(&[good(), entry]) {
            Err(PackageError::Entry { problem: found, name }) => {
                assert_eq!(found, problem, "{name:?}");
            }
            other => panic!("{problem:?}: {other:?}"),
        }
    }
}

#[test]
fn both_headers_must_say_the_same() {
    let entry = || ZipEntry::deflated("name", b"some data");
    let cases = [
        (ZipEntry { local_name: Some(b"eman".to_vec()), ..entry() }, "name"),
        (ZipEntry { local_method: Some(0), ..entry() }, "compression method"),
        (ZipEntry { local_flags: Some(1), ..entry() }, "flag"),
        (ZipEntry { local_flags: Some(8), ..entry() }, "flag"),
        (ZipEntry { local_crc: Some(0), ..entry() }, "checksum"),
        (ZipEntry { local_size: Some(5), ..entry() }, "size"),
        (ZipEntry { local_size: Some(5), ..entry().streamed() }, "size"),
        (ZipEntry { local_crc: Some(5), ..entry().streamed() }, "checksum"),
        (ZipEntry { descriptor_crc: Some(5), ..entry().streamed() }, "checksum"),
    ];
    for (entry, field) in cases {
        match check(&[good(), entry]) {
            Err(PackageError::Entry { problem, .. }) => {
                assert_eq!(problem, Problem::HeadersDiffer { field });
            }
            other => panic!("{field}: {other:?}"),
        }
    }
}

/// Header, name of one letter and no extra field.
const HEAD_BYTES: usize = 30 + 1;
const RECORD_BYTES: usize = 46 + 1;

#[test]
fn two_names_for_the_same_data_are_refused() {
    let inner = ZipEntry::deflated("a", &vec![0; 100_000]);
    let mut bytes = zip(std::slice::from_ref(&inner));
    let rest = bytes.split_off(HEAD_BYTES + inner.data.len());
    let first = &rest[..RECORD_BYTES];
    let second = [&first[..46], b"b"].concat();
    let refused = |second: &[u8]| {
        let bytes = end(bytes.clone(), &[first, second].concat(), 2);
        match Archive::check(&bytes, &Limits::INLINE) {
            Err(PackageError::Entry { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    };
    // The header at the data has only one of the names.
    assert_eq!(refused(&second), Problem::HeadersDiffer { field: "name" });
    assert_eq!(refused(first), Problem::Overlap);
}

#[test]
fn an_entry_inside_the_data_of_another_is_refused() {
    let inner = zip(&[ZipEntry::stored("b", b"inside")]);
    let quoted = &inner[..HEAD_BYTES + 6];
    let mut bytes = zip(&[ZipEntry::stored("a", quoted)]);
    let rest = bytes.split_off(HEAD_BYTES + quoted.len());
    let mut record = inner[quoted.len()..quoted.len() + RECORD_BYTES].to_vec();
    // The offset of the local header: behind the outer entry's own.
    record[42..46].copy_from_slice(&u32::try_from(HEAD_BYTES).unwrap().to_le_bytes());
    let bytes = end(bytes, &[&rest[..RECORD_BYTES], &record].concat(), 2);
    match Archive::check(&bytes, &Limits::INLINE) {
        Err(PackageError::Entry { problem, .. }) => assert_eq!(problem, Problem::Overlap),
        other => panic!("{other:?}"),
    }
}

#[test]
fn limits_hold_before_and_while_inflating() {
    let limits = Limits { zipped_bytes: 10_000, unzipped_bytes: 1_000, entries: 5 };
    let refused = |entries: &[ZipEntry]| Archive::check(&zip(entries), &limits).unwrap_err();
    let error = refused(&[ZipEntry::stored("a", &[0; 10_000])]);
    assert_eq!(error.to_string(), "Zipped size must be smaller than 10000 bytes");
    assert_eq!(error.aws().0, 413);
    let half = |name| ZipEntry::deflated(name, &[0; 501]);
    let error = refused(&[half("a"), half("b")]);
    assert_eq!(error.to_string(), "Unzipped size must be smaller than 1000 bytes");
    // It claims little and would give 50 MB.
    let bomb = ZipEntry { size: 900, ..ZipEntry::deflated("a", &vec![0; 5_000_000]) };
    assert!(matches!(
        refused(&[bomb]),
        PackageError::Entry { problem: Problem::Damaged(Damage::Longer), .. }
    ));
    let names = ["a", "b", "c", "d", "e", "f"].map(|name| ZipEntry::stored(name, b""));
    assert!(matches!(refused(&names), PackageError::TooManyEntries { limit: 5 }));
    // Directories that are only implied count.
    assert!(matches!(
        refused(&[ZipEntry::stored("a/b/c/d/e/f", b"")]),
        PackageError::TooManyEntries { limit: 5 }
    ));
}

#[test]
fn what_is_no_zip_is_refused_in_the_words_of_aws() {
    let whole = zip(&[good(), ZipEntry::stored("b", b"bbb")]);
    let more = end(Vec::new(), b"", 3);
    for bytes in [&b""[..], b"UEs=", &[0; 100], &whole[..whole.len() - 1], &whole[40..], &more] {
        let error = Archive::check(bytes, &Limits::INLINE).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("Could not unzip uploaded file"), "{error:?}");
        assert_eq!(error.aws(), (400, "InvalidParameterValueException"));
    }
    for entries in [&[][..], &[ZipEntry::stored("dir/", b"")]] {
        assert!(matches!(check(entries), Err(PackageError::Empty)));
    }
}

#[test]
fn every_cut_and_every_changed_byte_is_refused_or_harmless() {
    let whole = zip(&[
        good(),
        ZipEntry::stored("bootstrap", b"#!/bin/sh\n"),
        ZipEntry::link("l", "index.py").streamed(),
    ]);
    for length in 0..whole.len() {
        assert!(Archive::check(&whole[..length], &Limits::INLINE).is_err(), "{length}");
    }
    for at in 0..whole.len() {
        for change in [0x01, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            if let Ok(archive) = Archive::check(&bytes, &Limits::INLINE) {
                let mut tar = TarWriter::new(Vec::new());
                archive.write_tar("var/task", &mut tar).unwrap();
            }
        }
    }
}
