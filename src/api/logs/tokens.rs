//! What stands in `nextToken` and in event ids. Clients take them as they are and give them back;
//! whatever else comes is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::invalid;
use crate::api::error::AwsError;
use crate::logs::select::{From, Place};

/// As many digits as CloudWatch's have.
const DIGITS: usize = 56;

/// A token of GetLogEvents: a place, and the direction in which to go on from there.
pub(super) fn place(from: From, place: Place) -> String {
    let direction = match from {
        From::Start => 'f',
        From::End => 'b',
    };
    format!("{direction}/{}/s", id(place))
}

pub(super) fn parse_place(token: &str) -> Result<(From, Place), AwsError> {
    let parsed = || {
        let (direction, digits) = token.strip_suffix("/s")?.split_once('/')?;
        let from = match direction {
            "f" => From::Start,
            "b" => From::End,
            _ => return None,
        };
        Some((from, parse_id(digits)?))
    };
    parsed().ok_or_else(unknown)
}

/// An event's id, and a token of FilterLogEvents.
pub(super) fn id(place: Place) -> String {
    format!("{:0DIGITS$}", place.0)
}

pub(super) fn parse_id(digits: &str) -> Option<Place> {
    let plain = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).map(Place)
}

/// A token of a list: what its page ended with.
pub(super) fn text(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

pub(super) fn parse_text(token: Option<&str>) -> Result<Option<String>, AwsError> {
    let Some(token) = token else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| unknown())?;
    String::from_utf8(bytes).map(Some).map_err(|_| unknown())
}

pub(super) fn unknown() -> AwsError {
    invalid("The specified nextToken is invalid.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_nothing_else_is_one() {
        for at in [Place::FIRST, Place::at(1_795_424_571_123), Place::END] {
            for from in [From::Start, From::End] {
                assert_eq!(parse_place(&place(from, at)).unwrap(), (from, at));
            }
            assert_eq!(parse_id(&id(at)), Some(at));
            assert_eq!(id(at).len(), 56);
        }
        let digits = "0".repeat(56);
        for bad in ["", "f/", "f/1/s", "x", &format!("c/{digits}/s"), &format!("f/{digits}")] {
            assert_eq!(
                parse_place(bad).unwrap_err().message,
                "The specified nextToken is invalid."
            );
        }
        for bad in ["9".repeat(56), format!("+{}", "0".repeat(55)), digits[1..].to_owned()] {
            assert_eq!(parse_id(&bad), None, "{bad}");
        }
        assert_eq!(parse_text(Some(&text("/aws/é"))).unwrap().as_deref(), Some("/aws/é"));
        assert!(parse_text(Some("!")).is_err() && parse_text(Some("_w")).is_err());
        assert_eq!(parse_text(None).unwrap(), None);
    }
}
