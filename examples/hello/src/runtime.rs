//! The Runtime API over one keep-alive connection: the four calls that a runtime needs.

use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::TcpStream;

/// Longest event: Lambda's synchronous payload limit.
const EVENT_BYTES_MAX: usize = 6 << 20;
/// Longest head of an answer.
const HEAD_BYTES_MAX: u64 = 64 << 10;

pub(crate) struct Event {
    pub(crate) request_id: String,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct RuntimeApi {
    host: String,
    connection: BufReader<TcpStream>,
}

impl RuntimeApi {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { host: address.to_owned(), connection: BufReader::new(stream) })
    }

    /// Waits for the next event, for as long as it takes.
    pub(crate) fn next(&mut self) -> io::Result<Event> {
        let (head, body) = self.call("GET", "invocation/next", "", "")?;
        let request_id = header(&head, "Lambda-Runtime-Aws-Request-Id")
            .ok_or_else(|| Error::new(ErrorKind::InvalidData, "an event without a request id"))?;
        Ok(Event { request_id: request_id.to_owned(), body })
    }

    pub(crate) fn response(&mut self, request_id: &str, answer: &str) -> io::Result<()> {
        self.call("POST", &format!("invocation/{request_id}/response"), "", answer).map(drop)
    }

    pub(crate) fn error(&mut self, request_id: &str, kind: &str, text: &str) -> io::Result<()> {
        self.report(&format!("invocation/{request_id}/error"), kind, text)
    }

    pub(crate) fn init_error(&mut self, kind: &str, text: &str) -> io::Result<()> {
        self.report("init/error", kind, text)
    }

    /// `kind` and `text` are this program's own words: nothing in them needs escaping.
    fn report(&mut self, path: &str, kind: &str, text: &str) -> io::Result<()> {
        let header = format!("Lambda-Runtime-Function-Error-Type: {kind}\r\n");
        let body =
            format!("{{\"errorMessage\":\"{text}\",\"errorType\":\"{kind}\",\"stackTrace\":[]}}");
        self.call("POST", path, &header, &body).map(drop)
    }

    /// One exchange: the head and the body of a 2xx answer; anything else is an error.
    fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> io::Result<(String, Vec<u8>)> {
        let request = format!(
            "{method} /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: {}\r\n{headers}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.connection.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        let mut limited = (&mut self.connection).take(HEAD_BYTES_MAX);
        while !head.ends_with("\r\n\r\n") {
            if limited.read_line(&mut head)? == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the Runtime API closed"));
            }
        }
        let length = header(&head, "Content-Length").and_then(|text| text.parse().ok());
        let length = length.unwrap_or(0);
        if length > EVENT_BYTES_MAX {
            return Err(Error::new(ErrorKind::InvalidData, "an event above 6 MB"));
        }
        let mut body = vec![0; length];
        self.connection.read_exact(&mut body)?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status.starts_with('2') {
            return Ok((head, body));
        }
        Err(Error::other(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&body))))
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn calls_share_one_connection_and_a_refusal_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .write_all(
                    b"HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: r-1\r\n\
                      content-length: 2\r\n\r\n{}HTTP/1.1 202 Accepted\r\n\r\n\
                      HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!",
                )
                .unwrap();
            let mut seen = String::new();
            stream.read_to_string(&mut seen).unwrap();
            seen
        });
        let mut api = RuntimeApi::connect(&address).unwrap();
        let event = api.next().unwrap();
        assert_eq!((event.request_id.as_str(), &event.body[..]), ("r-1", &b"{}"[..]));
        api.response("r-1", "[]").unwrap();
        let refused = api.error("r-1", "Hello.X", "text").unwrap_err();
        assert_eq!(refused.to_string(), "POST invocation/r-1/error: 403 no!");
        drop(api);
        let seen = server.join().unwrap();
        assert!(seen.contains("POST /2018-06-01/runtime/invocation/r-1/response HTTP/1.1"));
        assert!(seen.contains("Lambda-Runtime-Function-Error-Type: Hello.X\r\n"));
    }
}
