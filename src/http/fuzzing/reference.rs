//! RFC 9112 once more, as slowly and plainly as it can be written down: whole input in, whole
//! verdict out. What the product reads in pieces and at once is compared with this.

/// Bounds that short inputs reach.
pub(super) const MAX_HEAD_BYTES: usize = 512;
pub(super) const MAX_URI_BYTES: usize = 128;
pub(super) const MAX_FIELDS: usize = 12;
/// What a request line may have beside its target.
const LINE_ROOM_BYTES: usize = 32;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) minor: u8,
    pub(super) fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Head<'a> {
    /// Whether the target is a path and the host a name, of which nothing needs to be known.
    pub(super) fn is_plain(&self) -> bool {
        self.target.starts_with(b"/")
            && !self.target.contains(&b'#')
            && self.all("host").concat().iter().all(u8::is_ascii_alphanumeric)
    }

    pub(super) fn all(&self, name: &str) -> Vec<&'a [u8]> {
        let named = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| *value).collect()
    }
}

/// Where the first head ends, if its end is there.
pub(super) fn end(data: &[u8]) -> Option<usize> {
    data.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// A whole head, or None where it is to be refused.
pub(super) fn head(data: &[u8]) -> Option<Head<'_>> {
    let text = data.strip_suffix(b"\r\n\r\n")?;
    let mut lines = split(text, b"\r\n").into_iter();
    let line = lines.next()?;
    let [method, target, version] = split(line, b" ")[..] else { return None };
    let minor = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        _ => return None,
    };
    let mut fields = Vec::new();
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let fits = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        if !is_token(name) || !value.iter().all(fits) {
            return None;
        }
        fields.push((name, trim(value)));
    }
    let head = Head { method, target, minor, fields };
    let hosts = head.all("host").len();
    let fits = is_token(method)
        && !target.is_empty()
        && target.iter().all(u8::is_ascii_graphic)
        && data.len() <= MAX_HEAD_BYTES
        && target.len() <= MAX_URI_BYTES
        && line.len() + 2 <= MAX_URI_BYTES + LINE_ROOM_BYTES
        && head.fields.len() <= MAX_FIELDS
        && (hosts == 1 || (hosts == 0 && minor == 0));
    fits.then_some(head)
}

/// How long the body is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

pub(super) fn framing(head: &Head<'_>) -> Option<Framing> {
    match (&head.all("transfer-encoding")[..], &head.all("content-length")[..]) {
        ([], []) => Some(Framing::Length(0)),
        ([], [length]) => {
            let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(length).ok().filter(|_| digits)?;
            text.parse().ok().map(Framing::Length)
        }
        ([coding], []) if head.minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
            Some(Framing::Chunked)
        }
        _ => None,
    }
}

/// A whole chunked body at the start of `data`: its bytes, and how many of `data` it takes. None
/// when it is not there whole, or malformed, or larger than `limit`.
pub(super) fn chunked(data: &[u8], limit: usize) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = line(data, &mut at)?;
        let size = line.split(|&byte| byte == b';').next()?;
        let digits = if size.len() < line.len() { trim_end(size) } else { size };
        let fits = (1..=15).contains(&digits.len())
            && digits.iter().all(u8::is_ascii_hexdigit)
            && !line.contains(&0);
        let digits = std::str::from_utf8(digits).ok().filter(|_| fits)?;
        let size = usize::try_from(u64::from_str_radix(digits, 16).ok()?).ok()?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(data.get(at..at.checked_add(size)?)?);
        at += size;
        (data.get(at..at + 2)? == b"\r\n" && body.len() <= limit).then_some(())?;
        at += 2;
    }
    loop {
        let line = line(data, &mut at)?;
        if line.is_empty() {
            return Some((body, at));
        }
        (!line.contains(&0)).then_some(())?;
    }
}

/// The line at `at`, which goes behind it. None where it does not end in CRLF.
fn line<'a>(data: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = data.get(*at..)?;
    let end = rest.iter().position(|&byte| byte == b'\r' || byte == b'\n')?;
    (rest.get(end..end + 2)? == b"\r\n").then_some(())?;
    *at += end + 2;
    Some(&rest[..end])
}

fn split<'a>(text: &'a [u8], by: &[u8]) -> Vec<&'a [u8]> {
    let (mut parts, mut from, mut at) = (Vec::new(), 0, 0);
    while at + by.len() <= text.len() {
        if &text[at..at + by.len()] == by {
            parts.push(&text[from..at]);
            from = at + by.len();
            at = from;
        } else {
            at += 1;
        }
    }
    parts.push(&text[from..]);
    parts
}

fn is_token(text: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(fits)
}

/// Without the spaces and tabs around it.
fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
    trim_end(&text[start..])
}

fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rev().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
    &text[..text.len() - end]
}
