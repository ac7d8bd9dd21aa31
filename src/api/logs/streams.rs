//! Log streams: CreateLogStream, DeleteLogStream, DescribeLogStreams.

use serde_json::{Value, json};

use super::request::{Call, group_arn};
use super::{Answer, Operation, invalid, rules, tokens};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::rules::member;
use crate::function::violation::Violations;
use crate::logs::StreamInfo;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "CreateLogStream", run: create },
    Operation { name: "DeleteLogStream", run: delete },
    Operation { name: "DescribeLogStreams", run: describe },
];

const PAGE: u32 = 50;
const BY_TIME: &str = "LastEventTime";

/// AWS still names one, and takes any.
pub(super) const SEQUENCE_TOKEN: &str = "49039859606900543440743085402301098127";

fn create(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let (group, stream) = names(call)?;
    api.logs.create_stream(&call.region, group, stream)?;
    Ok(None)
}

fn delete(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let (group, stream) = names(call)?;
    api.logs.delete_stream(&call.region, group, stream)?;
    Ok(None)
}

fn names(call: &Call) -> Result<(&str, &str), AwsError> {
    let mut found = Violations::default();
    let group = call.group(&mut found)?;
    let stream = stream(call, &mut found)?;
    rules::check(found)?;
    Ok((group, stream))
}

/// The stream that `logStreamName` names, which has to be there.
pub(super) fn stream<'a>(call: &'a Call, found: &mut Violations) -> Result<&'a str, AwsError> {
    let stream = call.text("logStreamName")?;
    rules::stream_name(found, "logStreamName", stream);
    Ok(rules::required(found, "logStreamName", stream))
}

fn describe(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    let group = call.group_or_identifier(&mut found)?;
    let prefix = call.text("logStreamNamePrefix")?;
    rules::stream_name(&mut found, "logStreamNamePrefix", prefix);
    let order = call.text("orderBy")?;
    member(&mut found, "orderBy", order, &["LogStreamName", BY_TIME]);
    let limit = rules::limit(&mut found, call.number("limit")?, PAGE, PAGE);
    rules::check(found)?;
    let by_time = order == Some(BY_TIME);
    if by_time && prefix.is_some() {
        return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let descending = call.flag("descending")?;
    let after = parse_token(call.text("nextToken")?)?;

    let streams = api.logs.streams(&call.region, group)?;
    let key = |name: &str, info: &StreamInfo| {
        let last_ms = info.events_ms.map_or(0, |(_, last, _)| last);
        (if by_time { last_ms } else { 0 }, Box::<str>::from(name))
    };
    let mut all: Vec<((i64, Box<str>), StreamInfo)> = streams
        .iter()
        .filter(|(name, _)| prefix.is_none_or(|prefix| name.starts_with(prefix)))
        .map(|(name, info)| (key(name, info), *info))
        .filter(|(key, _)| {
            after.as_ref().is_none_or(|last| if descending { key < last } else { key > last })
        })
        .collect();
    all.sort_by(|(a, _), (b, _)| if descending { b.cmp(a) } else { a.cmp(b) });
    let more = all.len() > limit;
    all.truncate(limit);
    let arn = group_arn(&call.region, &api.settings.account_id, group);
    let shown: Vec<Value> = all.iter().map(|((_, name), info)| show(&arn, name, info)).collect();
    let mut answer = json!({ "logStreams": shown });
    if let (true, Some(((last_ms, name), _))) = (more, all.last()) {
        answer["nextToken"] = tokens::text(&format!("{last_ms}:{name}")).into();
    }
    Ok(Some(answer.to_string()))
}

/// What the page before has ended with.
fn parse_token(token: Option<&str>) -> Result<Option<(i64, Box<str>)>, AwsError> {
    let Some(text) = tokens::parse_text(token)? else { return Ok(None) };
    let parsed = text.split_once(':').and_then(|(ms, name)| Some((ms.parse().ok()?, name.into())));
    parsed.map(Some).ok_or_else(tokens::unknown)
}

fn show(group_arn: &str, name: &str, info: &StreamInfo) -> Value {
    let mut shown = json!({
        "logStreamName": name,
        "creationTime": info.created_ms,
        "uploadSequenceToken": SEQUENCE_TOKEN,
        "arn": format!("{group_arn}:log-stream:{name}"),
        // CloudWatch has not filled it since 2019.
        "storedBytes": 0,
    });
    if let Some((first, last, ingested)) = info.events_ms {
        shown["firstEventTimestamp"] = first.into();
        shown["lastEventTimestamp"] = last.into();
        shown["lastIngestionTime"] = ingested.into();
    }
    shown
}
