//! The base image for `provided.al2023` functions, made by the service itself, so that no registry
//! is needed: users, the folders that Lambda has, certificate authorities if the host has them,
//! and the function's own `bootstrap` as entry point. It has no shell and no libraries: it runs
//! static programs.

use std::io::Cursor;
use std::path::Path;

use crate::docker::{Engine, EngineError, TarEntry, TarWriter};

/// Where hosts keep their certificate authorities, by distribution.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// A bundle beyond this is not one.
const MAX_AUTHORITIES_BYTES: u64 = 4 << 20;

const PASSWD: &str = "root:x:0:0:root:/root:/sbin/nologin\n\
                      sbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n\
                      nobody:x:65534:65534:nobody:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nsbx_user1051:x:990:\nnobody:x:65534:\n";

/// Makes the image if the Engine does not have it. True when it was made.
pub fn ensure(engine: &Engine, name: &str) -> Result<bool, EngineError> {
    if engine.image(name)?.is_some() {
        return Ok(false);
    }
    let authorities = AUTHORITIES.iter().find_map(|path| read_bounded(Path::new(path)));
    // Writing to memory cannot fail.
    let archive = archive(authorities.as_deref()).unwrap_or_default();
    let changes = [
        "ENV LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime LANG=en_US.UTF-8 \
         PATH=/usr/local/bin:/usr/bin/:/bin:/opt/bin TZ=:UTC",
        "WORKDIR /var/task",
        "ENTRYPOINT [\"/var/task/bootstrap\"]",
        "CMD [\"bootstrap\"]",
    ]
    .map(str::to_owned);
    engine.import_image(&mut Cursor::new(archive), name, &changes)?;
    Ok(true)
}

fn read_bounded(path: &Path) -> Option<Vec<u8>> {
    let size = std::fs::metadata(path).ok()?.len();
    (size <= MAX_AUTHORITIES_BYTES).then(|| std::fs::read(path).ok()).flatten()
}

fn archive(authorities: Option<&[u8]>) -> std::io::Result<Vec<u8>> {
    let mut tar = TarWriter::new(Vec::new());
    for directory in ["etc", "etc/ssl", "etc/ssl/certs", "opt", "proc", "sys", "dev", "var"] {
        tar.directory(TarEntry::root(directory, 0o755))?;
    }
    for directory in ["var/task", "var/runtime", "var/lang", "usr", "usr/bin"] {
        tar.directory(TarEntry::root(directory, 0o755))?;
    }
    tar.directory(TarEntry::root("tmp", 0o1777))?;
    let mut file = |path, data: &[u8]| {
        tar.file(TarEntry::root(path, 0o644), data.len() as u64, &mut Cursor::new(data))
    };
    file("etc/passwd", PASSWD.as_bytes())?;
    file("etc/group", GROUP.as_bytes())?;
    file("etc/nsswitch.conf", b"hosts: files dns\n")?;
    if let Some(authorities) = authorities {
        file("etc/ssl/certs/ca-certificates.crt", authorities)?;
    }
    tar.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_has_what_a_static_program_needs() {
        let tar = archive(Some(b"authority")).unwrap();
        for name in ["etc/passwd", "tmp", "var/task", "etc/ssl/certs/ca-certificates.crt"] {
            let found = tar.windows(name.len()).any(|window| window == name.as_bytes());
            assert!(found, "{name}");
        }
        assert_eq!(tar.len() % 512, 0);
    }
}
