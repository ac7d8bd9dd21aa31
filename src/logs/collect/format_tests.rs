//! AWS's lines, byte for byte: from logs that people have published.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::*;
use crate::function::model::Logging;
use crate::logs::collect::levels::Style;
use crate::logs::collect::subject::Place;

pub(in super::super) fn subject(json: bool, system: &str) -> Subject {
    Subject {
        place: Arc::new(Place {
            region: "eu-central-1".to_owned(),
            group: "/aws/lambda/f".to_owned(),
            stream: "2026/10/08/[$LATEST]22be53a8cfde4e68b844f8ec293b2543".to_owned(),
        }),
        style: Style::of(&Logging {
            json,
            application_level: None,
            system_level: Some(system.to_owned()),
            group: String::new(),
        }),
        function: "f".to_owned(),
        version: "$LATEST".to_owned(),
        arn: "arn:aws:lambda:eu-central-1:000000000000:function:f".to_owned(),
        kind: Kind::OnDemand,
        memory_mb: 256,
        runtime: None,
    }
}

fn id() -> Uuid {
    Uuid::parse_str("79b5e81f-9cdd-4145-b1f6-7c50ef8a2a36").unwrap()
}

fn at() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_795_424_571_123)
}

fn figures(micros: u64, init: Option<u64>, status: Status) -> Figures {
    Figures {
        duration: Duration::from_micros(micros),
        init: init.map(Duration::from_micros),
        max_memory_mb: Some(123),
        status,
        trace: None,
    }
}

#[test]
fn text_is_awss() {
    let text = subject(false, "WARN");
    assert_eq!(
        text.start(at(), id(), None).unwrap(),
        "START RequestId: 79b5e81f-9cdd-4145-b1f6-7c50ef8a2a36 Version: $LATEST"
    );
    assert_eq!(text.end(id()).unwrap(), "END RequestId: 79b5e81f-9cdd-4145-b1f6-7c50ef8a2a36");
    let report = |figures: &Figures| {
        let line = text.report(at(), id(), figures).unwrap();
        line.strip_prefix("REPORT RequestId: 79b5e81f-9cdd-4145-b1f6-7c50ef8a2a36\t")
            .unwrap()
            .to_owned()
    };
    // Each ends in a tab, as AWS's do, but for those with a status.
    assert_eq!(
        report(&figures(1_233_956, None, Status::Success)),
        "Duration: 1233.96 ms\tBilled Duration: 1234 ms\tMemory Size: 256 MB\t\
         Max Memory Used: 123 MB\t"
    );
    assert_eq!(
        report(&figures(2_370, Some(423_980), Status::Success)),
        "Duration: 2.37 ms\tBilled Duration: 427 ms\tMemory Size: 256 MB\t\
         Max Memory Used: 123 MB\tInit Duration: 423.98 ms\t"
    );
    assert_eq!(
        report(&figures(3_000_000, None, Status::Timeout)),
        "Duration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 256 MB\t\
         Max Memory Used: 123 MB\tStatus: timeout"
    );
    let failed = Status::Error("Runtime.OutOfMemory".to_owned());
    assert_eq!(
        report(&figures(4, Some(399_330), failed)),
        "Duration: 0.00 ms\tBilled Duration: 400 ms\tMemory Size: 256 MB\t\
         Max Memory Used: 123 MB\tInit Duration: 399.33 ms\tStatus: error\t\
         Error Type: Runtime.OutOfMemory"
    );
    let unknown = Figures { max_memory_mb: None, ..figures(1_000, None, Status::Success) };
    assert_eq!(report(&unknown), "Duration: 1.00 ms\tBilled Duration: 1 ms\tMemory Size: 256 MB\t");
    let trace = "Root=1-6ac7d554-62c6be2f6c1bd8032dac9acf;Parent=854892f93105b5ae;Sampled=1";
    let sampled = Figures { trace: Some(trace.into()), ..figures(1_000, None, Status::Success) };
    assert_eq!(
        report(&sampled),
        "Duration: 1.00 ms\tBilled Duration: 1 ms\tMemory Size: 256 MB\t\
         Max Memory Used: 123 MB\t\nXRAY TraceId: 1-6ac7d554-62c6be2f6c1bd8032dac9acf\t\
         SegmentId: 854892f93105b5ae\tSampled: true\t"
    );
    assert_eq!(text.runtime_done(at(), id(), &unknown), None);
}

#[test]
fn failures_are_told_before_the_end() {
    let text = subject(false, "INFO");
    assert_eq!(
        text.failure(at(), id(), "Task timed out after 3.00 seconds").unwrap(),
        "2026-11-23T09:02:51.123Z 79b5e81f-9cdd-4145-b1f6-7c50ef8a2a36 Task timed out after 3.00 \
         seconds\n"
    );
    assert_eq!(
        text.failure(at(), id(), "Runtime exited with error: exit status 1\nRuntime.ExitError")
            .unwrap(),
        "RequestId: 79b5e81f-9cdd-4145-b1f6-7c50ef8a2a36 Error: Runtime exited with error: exit \
         status 1\nRuntime.ExitError"
    );
    assert_eq!(subject(true, "DEBUG").failure(at(), id(), "x"), None);
}

#[test]
fn starts_are_told_as_awss() {
    let mut text = subject(false, "INFO");
    assert_eq!(text.init_start(at()), None, "an image has no runtime version");
    text.runtime = Some(("python3.13".to_owned(), "arn:aws:lambda:r::runtime:ab".to_owned()));
    assert_eq!(
        text.init_start(at()).unwrap(),
        "INIT_START Runtime Version: python3.13\tRuntime Version ARN: arn:aws:lambda:r::runtime:ab"
    );
    let report =
        |status: &Status| text.init_report(at(), Duration::from_micros(10_000_115), status);
    assert_eq!(report(&Status::Success), None);
    assert_eq!(
        report(&Status::Timeout).unwrap(),
        "INIT_REPORT Init Duration: 10000.12 ms\tPhase: init\tStatus: timeout"
    );
    assert_eq!(
        report(&Status::Error("Runtime.ExitError".to_owned())).unwrap(),
        "INIT_REPORT Init Duration: 10000.12 ms\tPhase: init\tStatus: error\t\
         Error Type: Runtime.ExitError"
    );
}

#[test]
fn json_is_awss() {
    let json = subject(true, "DEBUG");
    assert_eq!(
        json.start(at(), id(), None).unwrap(),
        r#"{"time":"2026-11-23T09:02:51.123Z","type":"platform.start","record":{"requestId":"79b5e81f-9cdd-4145-b1f6-7c50ef8a2a36","functionArn":"arn:aws:lambda:eu-central-1:000000000000:function:f","version":"$LATEST"}}"#
    );
    assert_eq!(json.end(id()), None);
    assert_eq!(
        json.report(at(), id(), &figures(1_233_960, Some(463_512), Status::Success)).unwrap(),
        r#"{"time":"2026-11-23T09:02:51.123Z","type":"platform.report","record":{"requestId":"79b5e81f-9cdd-4145-b1f6-7c50ef8a2a36","metrics":{"durationMs":1233.96,"billedDurationMs":1698,"memorySizeMB":256,"maxMemoryUsedMB":123,"initDurationMs":463.512},"status":"success"}}"#
    );
    let timeout = figures(5_000_000, None, Status::Timeout);
    assert_eq!(
        json.runtime_done(at(), id(), &timeout).unwrap(),
        r#"{"time":"2026-11-23T09:02:51.123Z","type":"platform.runtimeDone","record":{"requestId":"79b5e81f-9cdd-4145-b1f6-7c50ef8a2a36","status":"timeout","metrics":{"durationMs":5000.0}}}"#
    );
    assert_eq!(
        json.init_start(at()).unwrap(),
        r#"{"time":"2026-11-23T09:02:51.123Z","type":"platform.initStart","record":{"initializationType":"on-demand","phase":"init","functionName":"f","functionVersion":"$LATEST","instanceId":"2026/10/08/f[$LATEST]22be53a8cfde4e68b844f8ec293b2543","instanceMaxMemory":268435456}}"#
    );
    assert_eq!(
        json.init_report(at(), Duration::from_micros(10_000_487), &Status::Timeout).unwrap(),
        r#"{"time":"2026-11-23T09:02:51.123Z","type":"platform.initReport","record":{"initializationType":"on-demand","phase":"init","status":"timeout","metrics":{"durationMs":10000.487}}}"#
    );
    assert_eq!(
        json.dropped(at(), "why", 2, 30).unwrap(),
        r#"{"time":"2026-11-23T09:02:51.123Z","type":"platform.logsDropped","record":{"droppedBytes":30,"droppedRecords":2,"reason":"why"}}"#
    );
}

/// Whatever a runtime calls its error, each record is one JSON object.
#[test]
fn records_are_json_whatever_is_in_them() {
    let json = subject(true, "DEBUG");
    let odd = Status::Error("a\"b\\c\u{1}\u{2028}".to_owned());
    let trace = Some("Root=1-\"x\";Parent=\\;Sampled=1");
    let figures = Figures { trace: trace.map(Into::into), ..figures(1, Some(2), odd.clone()) };
    for line in [
        json.init_start(at()),
        json.init_done(at(), &odd),
        json.init_report(at(), Duration::ZERO, &odd),
        json.start(at(), id(), trace),
        json.runtime_done(at(), id(), &figures),
        json.report(at(), id(), &figures),
        json.dropped(at(), "\"", 1, 1),
    ] {
        let line = line.unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(value["type"].as_str().unwrap().starts_with("platform."), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}

/// AWS's table of system log levels.
#[test]
fn the_system_level_chooses_records() {
    let failed = Status::Error("Runtime.ExitError".to_owned());
    let written = |level: &str, status: &Status| {
        let mut json = subject(true, level);
        let figures = figures(1, None, status.clone());
        let image = json.init_start(at());
        json.runtime = Some((String::new(), String::new()));
        [
            image,
            json.init_start(at()),
            json.init_done(at(), status),
            json.init_report(at(), Duration::ZERO, status),
            json.start(at(), id(), None),
            json.runtime_done(at(), id(), &figures),
            json.report(at(), id(), &figures),
        ]
        .map(|line| line.is_some())
    };
    let (yes, no) = (true, false);
    assert_eq!(written("DEBUG", &Status::Success), [yes; 7]);
    assert_eq!(written("INFO", &Status::Success), [no, yes, no, no, yes, no, yes]);
    assert_eq!(written("WARN", &Status::Success), [no; 7]);
    let provisioned = Subject { kind: Kind::Provisioned, ..subject(true, "INFO") };
    let report = provisioned.init_report(at(), Duration::ZERO, &Status::Success).unwrap();
    assert!(report.contains(r#""initializationType":"provisioned-concurrency""#), "{report}");
    assert_eq!(written("WARN", &failed), [no, no, yes, yes, no, yes, yes]);
}
