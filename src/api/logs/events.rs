//! Log events: PutLogEvents, GetLogEvents, FilterLogEvents.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{Call, LARGE};
use super::streams::{SEQUENCE_TOKEN, stream};
use super::{Answer, Operation, invalid, rules, tokens};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::rules::length;
use crate::function::violation::{Violation, Violations, least, longest, shortest};
use crate::logs::filter::{Filter, PATTERN_CHARS};
use crate::logs::select::{EVENT_OVERHEAD_BYTES, Found, From, Place, Query};
use crate::logs::{LogError, LogEvent};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "PutLogEvents", run: put },
    Operation { name: "GetLogEvents", run: get },
    Operation { name: "FilterLogEvents", run: filter },
];

const EVENTS: u32 = 10_000;
const STREAMS: usize = 100;
/// The texts of a batch and [`EVENT_OVERHEAD_BYTES`] for each.
const BATCH_BYTES: usize = 1 << 20;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const OLDEST_MS: i64 = 14 * DAY_MS;
const NEWEST_MS: i64 = 2 * HOUR_MS;

fn put(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    let group = call.group(&mut found)?;
    let stream = stream(call, &mut found)?;
    let events = batch(call, &mut found)?;
    rules::check(found)?;
    check_batch(&events)?;
    let info = api.logs.group_info(&call.region, group)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let kept_ms = info.retention_days.map_or(i64::MAX, |days| i64::from(days) * DAY_MS);
    let accepted = Accepted::of(&events, now_ms, kept_ms);
    let (from, to) = accepted.range;
    let events = &events[from..to];
    if let (Some(first), Some(last)) = (events.first(), events.last())
        && last.timestamp_ms - first.timestamp_ms > DAY_MS
    {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 \
             hours.",
        ));
    }
    api.logs.put(&call.region, group, stream, events)?;
    let mut answer = json!({ "nextSequenceToken": SEQUENCE_TOKEN });
    if let Some(rejected) = accepted.rejected {
        answer["rejectedLogEventsInfo"] = rejected;
    }
    Ok(Some(answer.to_string()))
}

/// An event as it is sent.
#[derive(Deserialize)]
struct Sent {
    timestamp: Option<i64>,
    message: Option<String>,
}

pub(super) fn batch(call: &Call, found: &mut Violations) -> Result<Vec<LogEvent>, AwsError> {
    let Some(sent) = call.large::<Vec<Sent>>()? else {
        found.push(Violation::null(LARGE));
        return Ok(Vec::new());
    };
    if sent.is_empty() {
        found.push(Violation::new(LARGE, "[]", shortest(1)));
    }
    if sent.len() > EVENTS as usize {
        found.push(Violation::hidden(LARGE, longest(EVENTS as usize)));
        return Ok(Vec::new());
    }
    let mut events = Vec::with_capacity(sent.len());
    for (index, Sent { timestamp, message }) in sent.into_iter().enumerate() {
        let field = |name| format!("{LARGE}.{}.member.{name}", index + 1);
        if let Some(time) = timestamp.filter(|time| *time < 0) {
            found.push(Violation::new(&field("timestamp"), time, least(0)));
        }
        length(found, &field("message"), message.as_deref(), 1, usize::MAX);
        match (timestamp, message) {
            (Some(timestamp_ms), Some(message)) => events.push(LogEvent { timestamp_ms, message }),
            (None, _) => found.push(Violation::null(&field("timestamp"))),
            (_, None) => found.push(Violation::null(&field("message"))),
        }
    }
    Ok(events)
}

pub(super) fn check_batch(events: &[LogEvent]) -> Result<(), AwsError> {
    let sizes = events.iter().map(|event| event.message.len() + EVENT_OVERHEAD_BYTES);
    if let Some(size) = sizes.clone().find(|size| *size > BATCH_BYTES) {
        return Err(invalid(format!(
            "Log event too large: {size} bytes exceeds limit of {BATCH_BYTES}"
        )));
    }
    let size: usize = sizes.sum();
    if size > BATCH_BYTES {
        let message = format!("Upload too large: {size} bytes exceeds limit of {BATCH_BYTES}");
        return Err(invalid(message));
    }
    if !events.is_sorted_by_key(|event| event.timestamp_ms) {
        return Err(invalid(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    Ok(())
}

/// Which events of a batch, in the order of time, are neither too old nor too new.
struct Accepted {
    range: (usize, usize),
    rejected: Option<Value>,
}

impl Accepted {
    fn of(events: &[LogEvent], now_ms: i64, kept_ms: i64) -> Accepted {
        let before = |ms: i64| events.partition_point(|event| event.timestamp_ms < ms);
        let too_old = before(now_ms.saturating_sub(OLDEST_MS));
        let expired = before(now_ms.saturating_sub(kept_ms));
        let too_new = before(now_ms.saturating_add(NEWEST_MS + 1));
        let mut rejected = json!({});
        if too_old > 0 {
            rejected["tooOldLogEventEndIndex"] = too_old.into();
        }
        if expired > 0 {
            rejected["expiredLogEventEndIndex"] = expired.into();
        }
        if too_new < events.len() {
            rejected["tooNewLogEventStartIndex"] = too_new.into();
        }
        let is_empty = rejected.as_object().is_none_or(|members| members.is_empty());
        Accepted {
            range: (too_old.max(expired).min(too_new), too_new),
            rejected: (!is_empty).then_some(rejected),
        }
    }
}

fn get(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    let group = call.group_or_identifier(&mut found)?;
    let stream = stream(call, &mut found)?;
    let start = rules::time(&mut found, "startTime", call.number("startTime")?);
    let end = rules::time(&mut found, "endTime", call.number("endTime")?);
    let limit = rules::limit(&mut found, call.number("limit")?, EVENTS, EVENTS);
    rules::check(found)?;
    let token = call.text("nextToken")?;
    let from_head = call.flag("startFromHead")?;
    let (from, at) = match token {
        Some(token) => {
            let (from, at) = tokens::parse_place(token)?;
            (from, Some(at))
        }
        None => (if from_head { From::Start } else { From::End }, None),
    };
    let mut range = (start.map_or(Place::FIRST, Place::at), end.map_or(Place::END, Place::at));
    match (from, at) {
        (From::Start, Some(at)) => range.0 = range.0.max(at),
        (From::End, Some(at)) => range.1 = range.1.min(at),
        (_, None) => {}
    }
    if !api.logs.has_stream(&call.region, group, stream)? {
        return Err(LogError::NoStream.into());
    }
    let only = |name: &str| name == stream;
    let query = Query { from, range, limit, stream: &only, event: &|_| true };
    let page = api.logs.select(&call.region, group, &query)?;
    let ends = match (page.events.first(), page.events.last()) {
        (Some(first), Some(last)) => (first.place, last.place.after()),
        // Nothing new: whoever asks again with the same token gets what comes meanwhile.
        _ => match (from, page.more) {
            (From::Start, true) => (page.seen.1, page.seen.1),
            (From::End, true) => (page.seen.0, page.seen.0),
            _ => {
                let at = at.unwrap_or(range.0);
                (at, at)
            }
        },
    };
    let (forward, backward) =
        (tokens::place(From::Start, ends.1), tokens::place(From::End, ends.0));
    let events = shown(page.events, false)?;
    Ok(Some(format!(
        r#"{{"events":[{events}],"nextForwardToken":"{forward}","nextBackwardToken":"{backward}"}}"#
    )))
}

/// The events as JSON. They are many: a tree of them would take ten times their size.
fn shown(events: Vec<Found>, with_stream: bool) -> Result<String, AwsError> {
    let text = |text: &str| serde_json::to_string(text).map_err(AwsError::service);
    let mut out = String::new();
    for Found { place, stream, timestamp_ms, ingested_ms, message } in events {
        let comma = if out.is_empty() { "" } else { "," };
        out += &format!(
            r#"{comma}{{"timestamp":{timestamp_ms},"ingestionTime":{ingested_ms},"message":"#
        );
        out += &text(&message)?;
        if with_stream {
            let id = tokens::id(place);
            out += &format!(r#","eventId":"{id}","logStreamName":{}"#, text(&stream)?);
        }
        out.push('}');
    }
    Ok(out)
}

fn filter(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    let group = call.group_or_identifier(&mut found)?;
    let names = call.texts("logStreamNames")?;
    if let Some(names) = &names {
        if names.is_empty() || names.len() > STREAMS {
            let constraint = if names.is_empty() { shortest(1) } else { longest(STREAMS) };
            found.push(Violation::hidden("logStreamNames", constraint));
        }
        for name in names.iter().take(STREAMS) {
            rules::stream_name(&mut found, "logStreamNames", Some(name));
        }
    }
    let prefix = call.text("logStreamNamePrefix")?;
    rules::stream_name(&mut found, "logStreamNamePrefix", prefix);
    let start = rules::time(&mut found, "startTime", call.number("startTime")?);
    let end = rules::time(&mut found, "endTime", call.number("endTime")?);
    let pattern = call.text("filterPattern")?;
    length(&mut found, "filterPattern", pattern, 0, PATTERN_CHARS);
    let limit = rules::limit(&mut found, call.number("limit")?, EVENTS, EVENTS);
    rules::check(found)?;
    if names.is_some() && prefix.is_some() {
        return Err(invalid("logStreamNames and logStreamNamePrefix cannot be given together."));
    }
    let filter = Filter::parse(pattern.unwrap_or_default()).map_err(|e| invalid(e.to_string()))?;
    // Here the last millisecond belongs to the range.
    let mut range = (
        start.map_or(Place::FIRST, Place::at),
        end.map_or(Place::END, |end| Place::at(end.saturating_add(1))),
    );
    if let Some(token) = call.text("nextToken")? {
        range.0 = range.0.max(tokens::parse_id(token).ok_or_else(tokens::unknown)?);
    }
    if let Some(names) = &names {
        let streams = api.logs.streams(&call.region, group)?;
        if !names.iter().all(|name| streams.contains_key(*name)) {
            return Err(LogError::NoStream.into());
        }
    }
    let wanted = |stream: &str| {
        names.as_ref().is_none_or(|names| names.contains(&stream))
            && prefix.is_none_or(|prefix| stream.starts_with(prefix))
    };
    let matches = |message: &str| filter.matches(message);
    let query = Query { from: From::Start, range, limit, stream: &wanted, event: &matches };
    let page = api.logs.select(&call.region, group, &query)?;
    let next = match page.more {
        true => format!(r#","nextToken":"{}""#, tokens::id(page.seen.1)),
        false => String::new(),
    };
    let events = shown(page.events, true)?;
    Ok(Some(format!(r#"{{"events":[{events}],"searchedLogStreams":[]{next}}}"#)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(times: &[i64]) -> Vec<LogEvent> {
        let event = |time: &i64| LogEvent { timestamp_ms: *time, message: "x".into() };
        times.iter().map(event).collect()
    }

    #[test]
    fn events_out_of_time_are_left_out_and_told() {
        let now = 100 * DAY_MS;
        let all = events(&[0, now - 15 * DAY_MS, now - 3 * DAY_MS, now, now + 3 * HOUR_MS]);
        let accepted = Accepted::of(&all, now, i64::MAX);
        assert_eq!(accepted.range, (2, 4));
        assert_eq!(
            accepted.rejected,
            Some(json!({ "tooOldLogEventEndIndex": 2, "tooNewLogEventStartIndex": 4 }))
        );
        let accepted = Accepted::of(&all, now, DAY_MS);
        assert_eq!(accepted.range, (3, 4));
        assert_eq!(accepted.rejected.unwrap()["expiredLogEventEndIndex"], 3);
        let fine = events(&[now - OLDEST_MS, now, now + NEWEST_MS]);
        let accepted = Accepted::of(&fine, now, i64::MAX);
        assert_eq!((accepted.range, accepted.rejected), ((0, 3), None));
        let old = events(&[0]);
        assert_eq!(Accepted::of(&old, now, i64::MAX).range, (1, 1));
    }

    #[test]
    fn a_batch_is_in_order_and_of_one_megabyte() {
        assert!(check_batch(&events(&[1, 1, 2])).is_ok());
        let error = check_batch(&events(&[2, 1])).unwrap_err();
        assert!(error.message.ends_with("must be in chronological order."));
        let large = |bytes: usize| LogEvent { timestamp_ms: 1, message: "x".repeat(bytes) };
        assert!(check_batch(&[large(BATCH_BYTES - 26)]).is_ok());
        let error = check_batch(&[large(BATCH_BYTES - 25)]).unwrap_err();
        assert_eq!(error.message, "Log event too large: 1048577 bytes exceeds limit of 1048576");
        let error = check_batch(&[large(BATCH_BYTES / 2), large(BATCH_BYTES / 2)]).unwrap_err();
        assert_eq!(error.message, "Upload too large: 1048628 bytes exceeds limit of 1048576");
    }
}
