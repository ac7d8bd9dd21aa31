//! Which operation a method and a path mean: one match, no state.

use std::borrow::Cow;

use super::control::{self, Operation};
use super::scheduler;
use crate::access::Surface;
use crate::http::Head;

/// An operation of one of the surfaces. Names in paths are as sent: percent-encoded.
#[derive(Debug, Clone, Copy)]
pub(super) enum Route<'a> {
    Next,
    Response(&'a str),
    Error(&'a str),
    InitError,
    Invoke(&'a str),
    /// The old way to invoke asynchronously.
    InvokeAsync(&'a str),
    /// The stored package of this SHA-256.
    Package(&'a str),
    /// The package of this SHA-256, to be stored.
    NewPackage(&'a str),
    /// An operation of Lambda's control API.
    Control(&'static Operation),
    /// An operation of CloudWatch Logs, which a header names.
    Logs,
    /// An operation of EventBridge Scheduler.
    Scheduler(&'static scheduler::Operation),
    /// The operator's view of the asynchronous queue.
    Queue(QueueCall),
    Health,
    Status,
    Metrics,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum QueueCall {
    Summary,
    Events,
    Retry,
    Purge,
}

impl QueueCall {
    pub(super) fn name(self) -> &'static str {
        match self {
            QueueCall::Summary => "Summary",
            QueueCall::Events => "Events",
            QueueCall::Retry => "Retry",
            QueueCall::Purge => "Purge",
        }
    }
}

/// What a request's first line means.
#[derive(Debug)]
pub(super) enum Routed<'a> {
    Found(Route<'a>),
    /// The path exists with other methods.
    WrongMethod(Surface, Cow<'static, str>),
    NotFound(Surface),
}

/// The Runtime API's version as it stands in paths; it may be left out.
const RUNTIME_VERSION: &str = "/2018-06-01";
const INVOKE_PREFIX: &str = "/2015-03-31/functions/";
const INVOKE_ASYNC_PREFIX: &str = "/2014-11-13/functions/";

impl<'a> Route<'a> {
    /// The operation that a request is, if it is any.
    pub(super) fn found(head: &Head<'a>) -> Option<Route<'a>> {
        match Route::of(head.method, head.path) {
            Routed::Found(route) => Some(route),
            Routed::WrongMethod(..) | Routed::NotFound(_) => None,
        }
    }

    pub(super) fn of(method: &str, path: &'a str) -> Routed<'a> {
        let bare = path.strip_prefix(RUNTIME_VERSION).unwrap_or(path);
        if let Some(rest) = bare.strip_prefix("/runtime/") {
            return runtime(method, rest);
        }
        let invoke =
            invoked(path, INVOKE_PREFIX, "/invocations").map(Route::Invoke).or_else(|| {
                invoked(path, INVOKE_ASYNC_PREFIX, "/invoke-async").map(Route::InvokeAsync)
            });
        if let Some(route) = invoke {
            return match method {
                "POST" => Routed::Found(route),
                _ => Routed::WrongMethod(Surface::Invoke, "POST".into()),
            };
        }
        if path == "/queue" || path.starts_with("/queue/") {
            return queue(method, path);
        }
        if let Some(digest) = path.strip_prefix("/packages/") {
            return match method {
                "GET" => Routed::Found(Route::Package(digest)),
                "PUT" => Routed::Found(Route::NewPackage(digest)),
                _ => Routed::WrongMethod(Surface::Control, "GET, PUT".into()),
            };
        }
        if method == "POST" && path == "/" {
            return Routed::Found(Route::Logs);
        }
        if let Some(found) = scheduler::find(method, path) {
            return match found {
                Ok(operation) => Routed::Found(Route::Scheduler(operation)),
                Err(methods) => Routed::WrongMethod(Surface::Scheduler, methods),
            };
        }
        let route = match path {
            "/health" => Route::Health,
            "/status" => Route::Status,
            "/metrics" => Route::Metrics,
            _ if path.starts_with(RUNTIME_VERSION) => return Routed::NotFound(Surface::Runtime),
            _ => return control(method, path),
        };
        match method {
            "GET" | "HEAD" => Routed::Found(route),
            _ => Routed::WrongMethod(route.surface(), "GET, HEAD".into()),
        }
    }

    pub(super) fn surface(self) -> Surface {
        match self {
            Route::Next | Route::Response(_) | Route::Error(_) | Route::InitError => {
                Surface::Runtime
            }
            Route::Invoke(_) | Route::InvokeAsync(_) => Surface::Invoke,
            Route::Queue(_) => Surface::Queue,
            Route::Logs => Surface::Logs,
            Route::Scheduler(_) => Surface::Scheduler,
            Route::Control(_) | Route::Package(_) | Route::NewPackage(_) => Surface::Control,
            Route::Health => Surface::Health,
            Route::Status => Surface::Status,
            Route::Metrics => Surface::Metrics,
        }
    }
}

fn runtime<'a>(method: &str, rest: &'a str) -> Routed<'a> {
    let route = match rest {
        "invocation/next" => {
            return match method {
                "GET" => Routed::Found(Route::Next),
                _ => Routed::WrongMethod(Surface::Runtime, "GET".into()),
            };
        }
        "init/error" => Route::InitError,
        _ => match rest.strip_prefix("invocation/").and_then(|rest| rest.split_once('/')) {
            Some((id, "response")) => Route::Response(id),
            Some((id, "error")) => Route::Error(id),
            _ => return Routed::NotFound(Surface::Runtime),
        },
    };
    match method {
        "POST" => Routed::Found(route),
        _ => Routed::WrongMethod(Surface::Runtime, "POST".into()),
    }
}

/// The function that a path of Invoke names. Older SDKs send trailing slashes.
fn invoked<'a>(path: &'a str, prefix: &str, suffix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    let name = rest.strip_suffix('/').unwrap_or(rest).strip_suffix(suffix)?;
    (!name.contains('/')).then_some(name)
}

fn queue<'a>(method: &str, path: &'a str) -> Routed<'a> {
    let (call, allowed) = match path {
        "/queue" => (QueueCall::Summary, "GET"),
        "/queue/events" => (QueueCall::Events, "GET"),
        "/queue/retry" => (QueueCall::Retry, "POST"),
        "/queue/purge" => (QueueCall::Purge, "POST"),
        _ => return Routed::NotFound(Surface::Queue),
    };
    if method == allowed {
        Routed::Found(Route::Queue(call))
    } else {
        Routed::WrongMethod(Surface::Queue, allowed.into())
    }
}

fn control<'a>(method: &str, path: &str) -> Routed<'a> {
    match control::find(method, path) {
        control::Found::Operation(operation) => Routed::Found(Route::Control(operation)),
        control::Found::OtherMethods(methods) => {
            Routed::WrongMethod(Surface::Control, methods.into())
        }
        control::Found::Nothing => Routed::NotFound(Surface::Control),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_path() {
        let cases = [
            ("GET", "/2018-06-01/runtime/invocation/next", "Next"),
            ("GET", "/runtime/invocation/next", "Next"),
            ("POST", "/2018-06-01/runtime/invocation/a-b/response", "Response(\"a-b\")"),
            ("POST", "/runtime/invocation/a-b/error", "Error(\"a-b\")"),
            ("POST", "/2018-06-01/runtime/init/error", "InitError"),
            ("POST", "/2015-03-31/functions/f/invocations", "Invoke(\"f\")"),
            ("POST", "/2015-03-31/functions/arn%3Aaws/invocations/", "Invoke(\"arn%3Aaws\")"),
            ("POST", "/2014-11-13/functions/f/invoke-async/", "InvokeAsync(\"f\")"),
            ("GET", "/queue", "Queue(Summary)"),
            ("GET", "/queue/events", "Queue(Events)"),
            ("POST", "/queue/purge", "Queue(Purge)"),
            ("POST", "/2015-03-31/functions", "Control(CreateFunction)"),
            ("GET", "/2015-03-31/functions/", "Control(ListFunctions)"),
            ("GET", "/2015-03-31/functions/f", "Control(GetFunction)"),
            ("DELETE", "/2015-03-31/functions/f", "Control(DeleteFunction)"),
            ("GET", "/packages/00ff", "Package(\"00ff\")"),
            ("POST", "/", "Logs"),
            ("POST", "/schedules/s", "Scheduler(CreateSchedule)"),
            ("GET", "/schedule-groups", "Scheduler(ListScheduleGroups)"),
            ("PUT", "/packages/00ff", "NewPackage(\"00ff\")"),
            ("HEAD", "/health", "Health"),
            ("GET", "/status", "Status"),
            ("GET", "/metrics", "Metrics"),
        ];
        for (method, path, route) in cases {
            match Route::of(method, path) {
                Routed::Found(found) => assert_eq!(format!("{found:?}"), route, "{method} {path}"),
                other => panic!("{method} {path}: {other:?}"),
            }
        }
    }

    #[test]
    fn wrong_methods_and_unknown_paths_are_told_apart() {
        let wrong = |method, path| matches!(Route::of(method, path), Routed::WrongMethod(..));
        assert!(wrong("POST", "/2018-06-01/runtime/invocation/next"));
        assert!(wrong("GET", "/runtime/invocation/x/response"));
        assert!(wrong("PUT", "/2015-03-31/functions/f"));
        assert!(wrong("GET", "/2015-03-31/functions/f/invocations"));
        assert!(wrong("POST", "/metrics"));
        assert!(wrong("PATCH", "/schedules/s"));
        assert!(wrong("DELETE", "/packages/00ff"));
        assert!(wrong("GET", "/queue/purge") && wrong("POST", "/queue"));
        assert!(wrong("GET", "/2014-11-13/functions/f/invoke-async"));
        for path in [
            "/",
            "/x",
            "/2018-06-01/x",
            "/runtime/invocation/x/y",
            "/2015-03-31/x",
            "/queue/x",
            "/queues",
        ] {
            assert!(matches!(Route::of("GET", path), Routed::NotFound(_)), "{path}");
        }
        assert!(matches!(Route::of("GET", "/2018-06-01/"), Routed::NotFound(Surface::Runtime)));
    }
}
