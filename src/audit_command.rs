//! `lambda-runtime-api-server audit verify ...`: whether an audit log is what the service has written.
//!
//! It needs neither the service nor a configuration, and writes nothing. Files are read once, from the
//! first to the last byte, with no more than a line in memory.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use crate::audit::chain::{Binding, Hash, LINE_BYTES_MAX};
use crate::audit::named;
use crate::audit::verify::{Ending, Verifier, Wrong};
use crate::config::arguments::{EXIT_FAILURE, EXIT_USAGE};

pub const HELP: &str = "\
Whether an audit log is whole and unchanged.

Usage: lambda-runtime-api-server audit verify [OPTIONS] FILE... | DIRECTORY

  All files of a DIRECTORY must be one chain that begins with the first line of all, or behind --after.
  FILEs are taken in the order of their days; what the first one follows is told and not looked for.

Options:
  --expect HASH    the chain must have a line of this hash, such as a head from the service's log:
                   only so is it found when the newest lines are cut off
  --after HASH     what the first line follows: the seal of a file that is not there any more
  --key-file FILE  the secret of [audit] key_file; more than one if it was changed

Exit codes:
  0  nothing is wrong
  1  something was changed, is missing or was cut off: each on a line of its own, with file and line
  2  the command line is wrong, or a file cannot be read
";

/// More of them tell nothing new.
const WRONGS_MAX: u64 = 100;
const SECRET_BYTES_MAX: u64 = 4096;

/// What ends the command early: its exit code and the line for the operator.
type Failed = (u8, String);

#[derive(Debug, Default)]
struct Options {
    paths: Vec<PathBuf>,
    expected: Vec<Hash>,
    after: Option<Hash>,
    keys: Vec<Binding>,
}

/// Runs the command with what stands behind `audit`.
pub fn run(arguments: &[OsString], out: &mut dyn Write) -> Result<(), Failed> {
    let Some(options) = parse(arguments)? else { return print(out, HELP) };
    let (files, directory) = files(&options.paths)?;
    let mut verifier = Verifier::new(options.keys);
    for hash in options.expected {
        verifier.expect(hash);
    }
    let mut found = 0;
    let mut tell = |out: &mut dyn Write, file: &Path, wrong: Wrong| -> Result<(), Failed> {
        found += 1;
        if found > WRONGS_MAX {
            return Ok(());
        }
        match wrong.line {
            0 => print(out, &format!("{}: {}", file.display(), wrong.what)),
            line => print(out, &format!("{}:{line}: {}", file.display(), wrong.what)),
        }
    };
    for file in &files {
        check(&mut verifier, file, &mut |wrong| tell(out, file, wrong))?;
    }
    let last = files.last().map_or_else(|| Path::new(""), PathBuf::as_path);
    for wrong in verifier.end() {
        tell(out, last, wrong)?;
    }
    let follows = verifier.follows.as_ref();
    let unexpected = match options.after {
        Some(after) => follows.is_none_or(|(_, hash)| *hash != after),
        None => directory && follows.is_some(),
    };
    if unexpected {
        let what = match follows {
            Some((name, hash)) => format!("it follows {name} (seal {hash}), which is not there"),
            None => "it follows nothing".to_owned(),
        };
        tell(out, files.first().map_or(last, PathBuf::as_path), Wrong { line: 0, what })?;
    }
    summary(out, &verifier, files.len())?;
    match found {
        0 => Ok(()),
        count => Err((EXIT_FAILURE, format!("the audit log is not whole: {count} findings"))),
    }
}

fn summary(out: &mut dyn Write, verifier: &Verifier, files: usize) -> Result<(), Failed> {
    let Verifier { lines, recovered, unkeyed, follows, .. } = verifier;
    print(out, &format!("{files} files, {lines} lines; {unkeyed} of them without a key"))?;
    if let Some((name, hash)) = follows {
        print(out, &format!("follows {name}, seal {hash}"))?;
    }
    if *recovered > 0 {
        print(out, &format!("the service has ended {recovered} times without closing it"))?;
    }
    let ending = match verifier.ending() {
        Ending::Sealed => "sealed",
        Ending::Closed => "closed",
        Ending::Open => "open: whether its newest lines are there only --expect tells",
    };
    let head = verifier.head().map_or_else(String::new, |head| format!(", head {}", head.hash));
    print(out, &format!("the last file is {ending}{head}"))
}

/// Feeds a file, and what is wrong to `tell`.
fn check(
    verifier: &mut Verifier,
    file: &Path,
    tell: &mut dyn FnMut(Wrong) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    verifier.begin(&name).into_iter().try_for_each(&mut *tell)?;
    let mut reader = BufReader::with_capacity(LINE_BYTES_MAX, open(file)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line);
        match read.map_err(|error| unreadable(file, &error))? {
            0 => return Ok(()),
            _ if line.last() == Some(&b'\n') => {
                verifier.line(&line[..line.len() - 1]).into_iter().try_for_each(&mut *tell)?;
            }
            LINE_BYTES_MAX => {
                verifier.line(&line).into_iter().try_for_each(&mut *tell)?;
                skip_line(&mut reader).map_err(|error| unreadable(file, &error))?;
            }
            length => tell(verifier.torn(length))?,
        }
    }
}

/// Passes over the rest of a line that is too long.
fn skip_line(reader: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let passed = end.map_or(bytes.len(), |at| at + 1);
        reader.consume(passed);
        if end.is_some() {
            return Ok(());
        }
    }
}

/// The files in the order of their names, which is that of their days; whether a directory was named.
fn files(paths: &[PathBuf]) -> Result<(Vec<PathBuf>, bool), Failed> {
    let mut files = paths.to_vec();
    let mut directory = false;
    if let [path] = paths
        && path.is_dir()
    {
        directory = true;
        let entries = fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
        files.clear();
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(path, &error))?;
            if entry.file_name().to_str().is_some_and(|name| named(name).is_some()) {
                files.push(entry.path());
            }
        }
        if files.is_empty() {
            return Err((EXIT_FAILURE, format!("{} has no audit log", path.display())));
        }
    }
    files.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    Ok((files, directory))
}

fn open(file: &Path) -> Result<File, Failed> {
    let opened = File::open(file).and_then(|opened| match opened.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(opened),
    });
    opened.map_err(|error| unreadable(file, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failed {
    (EXIT_USAGE, format!("cannot read {}: {error}", path.display()))
}

fn usage(message: &str) -> Failed {
    (EXIT_USAGE, format!("{message}; see audit --help"))
}

/// `None`: the help is wanted.
fn parse(arguments: &[OsString]) -> Result<Option<Options>, Failed> {
    if arguments.iter().any(|argument| argument == "--help") {
        return Ok(None);
    }
    let mut rest = arguments.iter();
    match rest.next().map(|verb| verb.to_str()) {
        Some(Some("verify")) => {}
        Some(_) => return Err(usage("audit has one command, verify")),
        None => return Err(usage("audit needs a command")),
    }
    let mut options = Options::default();
    while let Some(argument) = rest.next() {
        match argument.to_str() {
            Some("--expect") => options.expected.push(hash(rest.next())?),
            Some("--after") if options.after.is_none() => options.after = Some(hash(rest.next())?),
            Some("--key-file") => {
                let file = rest.next().ok_or_else(|| usage("--key-file needs a file"))?;
                options.keys.push(key(Path::new(file))?);
            }
            Some(option) if option.starts_with('-') => {
                return Err(usage(&format!("unknown argument {option:?}")));
            }
            _ => options.paths.push(argument.into()),
        }
    }
    if options.paths.is_empty() {
        return Err(usage("audit verify needs a file or a directory"));
    }
    Ok(Some(options))
}

fn hash(argument: Option<&OsString>) -> Result<Hash, Failed> {
    argument
        .and_then(|text| Hash::read(text.to_str()?.as_bytes()))
        .ok_or_else(|| usage("a hash has 64 hexadecimal digits in lower case, and is given once"))
}

/// As the service reads it: one line.
fn key(file: &Path) -> Result<Binding, Failed> {
    let mut text = Vec::new();
    let read = open(file)?.take(SECRET_BYTES_MAX).read_to_end(&mut text);
    read.map_err(|error| unreadable(file, &error))?;
    let secret = text.trim_ascii_end();
    match secret.is_empty() {
        true => Err(usage(&format!("{} holds no secret", file.display()))),
        false => Ok(Binding::keyed(secret)),
    }
}

fn print(out: &mut dyn Write, text: &str) -> Result<(), Failed> {
    writeln!(out, "{}", text.trim_end())
        .map_err(|error| (EXIT_FAILURE, format!("cannot write to standard output: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tests::four_days;

    /// A directory with an audit log, gone afterwards.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> Temporary {
            let name = format!("lambda-audit-{}-{name}", std::process::id());
            let directory = Temporary(std::env::temp_dir().join(name));
            fs::create_dir(&directory.0).unwrap();
            for (name, bytes) in four_days() {
                fs::write(directory.0.join(name), bytes).unwrap();
            }
            directory
        }

        fn files(&self) -> Vec<PathBuf> {
            files(std::slice::from_ref(&self.0)).unwrap().0
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// The exit code and what was printed.
    fn run_with(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> (u8, String) {
        let mut all = vec![OsString::from("verify")];
        all.extend(arguments.iter().map(|argument| argument.as_ref().to_owned()));
        let mut out = Vec::new();
        let code = run(&all, &mut out).err().map_or(0, |(code, _)| code);
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_directory_is_one_chain_from_its_first_line_on() {
        let directory = Temporary::new("whole");
        fs::write(directory.0.join("notes.txt"), "not ours").unwrap();
        let (code, told) = run_with(&[&directory.0]);
        assert_eq!(code, 0, "{told}");
        assert!(told.contains("4 files, 19 lines"), "{told}");
        let files = directory.files();
        // Without a file in the middle.
        fs::rename(&files[2], directory.0.join("elsewhere")).unwrap();
        let (code, told) = run_with(&[&directory.0]);
        assert_eq!(code, 1);
        assert!(told.contains("audit-2026-11-26.jsonl:1: 5 lines are missing"), "{told}");
        assert!(told.contains("follows audit-2026-11-25.jsonl, which is not there"), "{told}");
        fs::rename(directory.0.join("elsewhere"), &files[2]).unwrap();
        // Without the first one, which is told, and can be said.
        fs::remove_file(&files[0]).unwrap();
        let (code, told) = run_with(&[&directory.0]);
        assert_eq!(code, 1);
        let seal = told.split("(seal ").nth(1).unwrap().split(')').next().unwrap().to_owned();
        assert_eq!(run_with(&[&directory.0, &"--after", &seal]).0, 0);
        assert_eq!(run_with(&[&directory.0, &"--after", &"0".repeat(64)]).0, 1);
        // Files by name say so and are whole.
        let (code, told) = run_with(&[&files[2], &files[1]]);
        assert_eq!(code, 0, "{told}");
        assert!(told.contains("follows audit-2026-11-23.jsonl, seal"), "{told}");
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory_and_is_found() {
        let directory = Temporary::new("long");
        let file = directory.files().remove(3);
        let mut bytes = fs::read(&file).unwrap();
        bytes.extend(std::iter::repeat_n(b'x', 5 << 20));
        fs::write(&file, &bytes).unwrap();
        let (code, told) = run_with(&[&directory.0]);
        assert_eq!(code, 1);
        assert!(told.contains("audit-2026-11-26.jsonl:4: is no line of an audit log"), "{told}");
        // A file of such lines does not fill the screen.
        fs::write(&file, b"x\n".repeat(100_000)).unwrap();
        let (code, told) = run_with(&[&directory.0]);
        assert_eq!((code, told.lines().count() < 110), (1, true));
    }

    #[test]
    fn a_command_line_without_sense_is_refused() {
        let code = |arguments: &[&str]| {
            let all: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            run(&all, &mut Vec::new()).err().map_or(0, |(code, _)| code)
        };
        assert_eq!(code(&["--help"]), 0);
        let hash = "0".repeat(64);
        for bad in [
            &[][..],
            &["list"],
            &["verify"],
            &["verify", "/x", "--expect"],
            &["verify", "/x", "--expect", &hash[1..]],
            &["verify", "/x", "--after", &hash, "--after", &hash],
            &["verify", "/x", "--bogus"],
            &["verify", "/x", "--key-file", "/nonexistent/key"],
            &["verify", "/nonexistent/file"],
            &["verify", "/tmp", "/tmp"],
        ] {
            assert_eq!(code(bad), 2, "{bad:?}");
        }
        for code in [0, EXIT_FAILURE, EXIT_USAGE] {
            assert!(HELP.contains(&format!("\n  {code}  ")));
        }
    }
}
