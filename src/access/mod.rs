//! Who is calling, and what that caller may do: one table.
//!
//! A sandbox is known by its address (no NAT lies between a Docker bridge and its host, and a
//! sandbox cannot forge its address: it has no capabilities). A process of the host calls from a
//! loopback address. Everybody else is a stranger, who sees `/health`, or has signed the request
//! with a key (`signature`) and may do what its `policy` says; `keys` holds both.
//! Deliberately not here: how a route works.

pub mod keys;
pub mod policy;
pub mod signature;

use std::fmt::Write;
use std::net::IpAddr;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A process on the host itself that needs no signature.
    Loopback,
    /// Something with an address of its own: a sandbox, a container started by hand, or a stranger.
    Remote(IpAddr),
    /// A reverse proxy: its address says nothing of who calls.
    Proxy,
}

/// Who is calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Sandbox,
    Loopback,
    Signed,
    Stranger,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    Health,
    Status,
    Metrics,
    /// The Runtime API.
    Runtime,
    /// Lambda's control API.
    Control,
    /// Files of this host as a function's code, where an operation of `Control` asks for that.
    HostFiles,
    Invoke,
    /// CloudWatch Logs.
    Logs,
    /// EventBridge Scheduler.
    Scheduler,
    /// The operator's view of the asynchronous queue, and what it can change.
    Queue,
}

/// What the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// Allowed as far as the policy of the key allows it.
    ByPolicy,
    /// Allowed on the host itself alone.
    IfLocal,
    /// Allowed to a sandbox; who is not known as one is looked up at the Engine first.
    IfSandbox,
    Denied,
}

pub const CALLERS: [Caller; 4] =
    [Caller::Sandbox, Caller::Loopback, Caller::Signed, Caller::Stranger];

pub const SURFACES: [Surface; 10] = [
    Surface::Health,
    Surface::Status,
    Surface::Metrics,
    Surface::Runtime,
    Surface::Control,
    Surface::HostFiles,
    Surface::Invoke,
    Surface::Logs,
    Surface::Scheduler,
    Surface::Queue,
];

/// The table.
pub fn verdict(caller: Caller, surface: Surface) -> Verdict {
    match (surface, caller) {
        (Surface::Health, _) => Verdict::Allowed,
        (_, Caller::Loopback) => Verdict::Allowed,
        // A signature says nothing of which sandbox it is.
        (Surface::Runtime, Caller::Sandbox) => Verdict::Allowed,
        (Surface::Runtime, Caller::Signed | Caller::Stranger) => Verdict::IfSandbox,
        (Surface::HostFiles, Caller::Signed) => Verdict::IfLocal,
        (_, Caller::Signed) => Verdict::ByPolicy,
        (_, Caller::Sandbox | Caller::Stranger) => Verdict::Denied,
    }
}

/// Whether a signature makes a difference on this surface.
pub fn takes_signatures(surface: Surface) -> bool {
    verdict(Caller::Signed, surface) == Verdict::ByPolicy
}

/// What a stranger reads while no key is configured.
pub const DENIED: &str = "Only processes on the service's own host (127.0.0.1 or ::1) may call \
    this. Call it there, through a tunnel that ends there (ssh -L), or configure an access key \
    ([auth] keys) and sign the request.";

/// What may use files of the host as code.
pub const NOT_LOCAL: &str =
    "Only a call from the service's own host (127.0.0.1 or ::1) may name a directory of it.";

/// The table as a text for people.
pub fn table() -> String {
    let mut text = String::from(
        "Who may call what. A sandbox is a container of a function, known by its address; loopback \
         is a process\nof this host, while [auth] require_signature is \"remote\"; signed is who \
         has signed with one of [auth] keys,\nor a sandbox with its own key; a stranger is \
         everybody else.\n\n",
    );
    let mut row = |cells: [&str; 5]| {
        let [surface, rest @ ..] = cells;
        let _ = write!(text, "{surface:<12}");
        for cell in rest {
            let _ = write!(text, "{cell:<20}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    };
    row(["", "sandbox", "loopback", "signed", "stranger"]);
    for surface in SURFACES {
        let name = format!("{surface:?}").to_lowercase();
        let cells = CALLERS.map(|caller| match verdict(caller, surface) {
            Verdict::Allowed if surface == Surface::Runtime && caller == Caller::Sandbox => {
                "its own events"
            }
            Verdict::Allowed => "yes",
            Verdict::ByPolicy => "as its policy says",
            Verdict::IfLocal => "on loopback",
            Verdict::IfSandbox => "asks the Engine",
            Verdict::Denied => "no",
        });
        let [sandbox, loopback, signed, stranger] = cells;
        row([&name, sandbox, loopback, signed, stranger]);
    }
    text.push_str(
        "\nstatus, metrics and queue are GET /status, GET /metrics and /queue; hostfiles are \
         directories of this host as\ncode (hot reload). A sandbox's own key is good for invoke \
         alone, as the policy of its function's role says.\n\"asks the Engine\": a container that \
         was started by hand becomes a sandbox, everybody else is refused.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_cell_by_cell() {
        use Surface::*;
        use Verdict::*;
        let cells = [
            (Health, [Allowed, Allowed, Allowed, Allowed]),
            (Status, [Denied, Allowed, ByPolicy, Denied]),
            (Metrics, [Denied, Allowed, ByPolicy, Denied]),
            (Runtime, [Allowed, Allowed, IfSandbox, IfSandbox]),
            (Control, [Denied, Allowed, ByPolicy, Denied]),
            (HostFiles, [Denied, Allowed, IfLocal, Denied]),
            (Invoke, [Denied, Allowed, ByPolicy, Denied]),
            (Logs, [Denied, Allowed, ByPolicy, Denied]),
            (Scheduler, [Denied, Allowed, ByPolicy, Denied]),
            (Queue, [Denied, Allowed, ByPolicy, Denied]),
        ];
        assert_eq!(cells.map(|(surface, _)| surface), SURFACES);
        for (surface, expected) in cells {
            assert_eq!(CALLERS.map(|caller| verdict(caller, surface)), expected, "{surface:?}");
        }
    }

    #[test]
    fn the_table_is_printed_whole() {
        let text = table();
        for surface in SURFACES {
            let name = format!("\n{surface:?} ").to_lowercase();
            assert_eq!(text.matches(&name).count(), 1, "{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 120 && line.trim_end() == line), "{text}");
    }
}
