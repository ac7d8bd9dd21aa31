//! Which operation a method and a path mean: one match, no state.

use crate::access::Surface;

/// An operation of one of the surfaces. Names in paths are as sent: percent-encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Next,
    Response(&'a str),
    Error(&'a str),
    InitError,
    Invoke(&'a str),
    CreateFunction,
    ListFunctions,
    GetFunction(&'a str),
    DeleteFunction(&'a str),
    Health,
    Status,
    Metrics,
}

/// What a request's first line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Routed<'a> {
    Found(Route<'a>),
    /// The path exists with other methods.
    WrongMethod(Surface, &'static str),
    NotFound(Surface),
}

/// Lambda's API versions as they stand in paths.
const RUNTIME_VERSION: &str = "/2018-06-01";
const LAMBDA_VERSION: &str = "/2015-03-31";

impl<'a> Route<'a> {
    pub(super) fn of(method: &str, path: &'a str) -> Routed<'a> {
        let bare = path.strip_prefix(RUNTIME_VERSION).unwrap_or(path);
        if let Some(rest) = bare.strip_prefix("/runtime/") {
            return runtime(method, rest);
        }
        // Older SDKs send trailing slashes.
        if let Some(rest) = path.strip_prefix(LAMBDA_VERSION) {
            return lambda(method, rest.strip_suffix('/').unwrap_or(rest));
        }
        let route = match path {
            "/health" => Route::Health,
            "/status" => Route::Status,
            "/metrics" => Route::Metrics,
            _ if path.starts_with(RUNTIME_VERSION) => return Routed::NotFound(Surface::Runtime),
            _ => return Routed::NotFound(Surface::Control),
        };
        match method {
            "GET" | "HEAD" => Routed::Found(route),
            _ => Routed::WrongMethod(route.surface(), "GET, HEAD"),
        }
    }

    pub(super) fn surface(self) -> Surface {
        match self {
            Route::Next | Route::Response(_) | Route::Error(_) | Route::InitError => {
                Surface::Runtime
            }
            Route::Invoke(_) => Surface::Invoke,
            Route::CreateFunction
            | Route::ListFunctions
            | Route::GetFunction(_)
            | Route::DeleteFunction(_) => Surface::Control,
            Route::Health => Surface::Health,
            Route::Status | Route::Metrics => Surface::Observe,
        }
    }
}

fn runtime<'a>(method: &str, rest: &'a str) -> Routed<'a> {
    let route = match rest {
        "invocation/next" => {
            return match method {
                "GET" => Routed::Found(Route::Next),
                _ => Routed::WrongMethod(Surface::Runtime, "GET"),
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
        _ => Routed::WrongMethod(Surface::Runtime, "POST"),
    }
}

fn lambda<'a>(method: &str, rest: &'a str) -> Routed<'a> {
    if rest == "/functions" {
        return match method {
            "POST" => Routed::Found(Route::CreateFunction),
            "GET" => Routed::Found(Route::ListFunctions),
            _ => Routed::WrongMethod(Surface::Control, "GET, POST"),
        };
    }
    let Some(rest) = rest.strip_prefix("/functions/") else {
        return Routed::NotFound(Surface::Control);
    };
    match rest.split_once('/') {
        Some((name, "invocations")) => match method {
            "POST" => Routed::Found(Route::Invoke(name)),
            _ => Routed::WrongMethod(Surface::Invoke, "POST"),
        },
        Some(_) => Routed::NotFound(Surface::Control),
        None => match method {
            "GET" => Routed::Found(Route::GetFunction(rest)),
            "DELETE" => Routed::Found(Route::DeleteFunction(rest)),
            _ => Routed::WrongMethod(Surface::Control, "DELETE, GET"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_path() {
        let cases = [
            ("GET", "/2018-06-01/runtime/invocation/next", Route::Next),
            ("GET", "/runtime/invocation/next", Route::Next),
            ("POST", "/2018-06-01/runtime/invocation/a-b/response", Route::Response("a-b")),
            ("POST", "/runtime/invocation/a-b/error", Route::Error("a-b")),
            ("POST", "/2018-06-01/runtime/init/error", Route::InitError),
            ("POST", "/2015-03-31/functions/f/invocations", Route::Invoke("f")),
            ("POST", "/2015-03-31/functions/arn%3Aaws/invocations/", Route::Invoke("arn%3Aaws")),
            ("POST", "/2015-03-31/functions", Route::CreateFunction),
            ("GET", "/2015-03-31/functions/", Route::ListFunctions),
            ("GET", "/2015-03-31/functions/f", Route::GetFunction("f")),
            ("DELETE", "/2015-03-31/functions/f", Route::DeleteFunction("f")),
            ("HEAD", "/health", Route::Health),
            ("GET", "/status", Route::Status),
            ("GET", "/metrics", Route::Metrics),
        ];
        for (method, path, route) in cases {
            assert_eq!(Route::of(method, path), Routed::Found(route), "{method} {path}");
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
        for path in ["/", "/x", "/2018-06-01/x", "/runtime/invocation/x/y", "/2015-03-31/x"] {
            assert!(matches!(Route::of("GET", path), Routed::NotFound(_)), "{path}");
        }
        assert_eq!(Route::of("GET", "/2018-06-01/"), Routed::NotFound(Surface::Runtime));
    }
}
