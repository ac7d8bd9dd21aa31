//! The Docker Engine calls that the cold-start comparison needs, over the Engine's Unix socket.
//!
//! One keep-alive connection, no version in the paths (the Engine then takes its newest), and of
//! each JSON answer only one field is looked at, by its text: not a client for anything else.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::client::{status, write_message};
use crate::message::Message;

/// No single call of a healthy Engine takes longer.
const CALL_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Engine {
    stream: UnixStream,
    answer: Message,
}

impl Engine {
    pub fn connect(socket: &str) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(CALL_MAX))?;
        stream.set_write_timeout(Some(CALL_MAX))?;
        Ok(Self { stream, answer: Message::default() })
    }

    /// One call; the body of its answer, or an error that names the call and what came back.
    pub fn call(&mut self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        write_message(&self.stream, head.as_bytes(), body.as_bytes())?;
        if !self.answer.read(&self.stream)? {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the Engine closed"));
        }
        let code = status(self.answer.start_line())?;
        let text = String::from_utf8_lossy(self.answer.body()).into_owned();
        if code >= 300 {
            return Err(io::Error::other(format!("{method} {path}: {code} {}", text.trim())));
        }
        Ok(text)
    }
}

/// The text of the first field of this name, as it stands in the document.
/// Enough for identifiers, addresses and states, which hold no escapes.
pub fn text_field<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    let (value, _) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_field_is_found() {
        let json = r#"{"Id":"abc","IPAM":{"Config":[{"Gateway": "172.18.0.1"}]},"Size":1}"#;
        assert_eq!(text_field(json, "Id"), Some("abc"));
        assert_eq!(text_field(json, "Gateway"), Some("172.18.0.1"));
        assert_eq!(text_field(json, "Size"), None);
        assert_eq!(text_field(json, "Name"), None);
    }
}
