//! AWS Lambda as one static binary over the Docker Engine. The folders, in the order in which an
//! invocation meets them:
//!
//! | folder | what it is |
//! |---|---|
//! | [`config`] | `config.toml`, environment and command line as typed values |
//! | [`http`] | sockets, framing, limits, the fixed workers; gives out requests and responders |
//! | [`access`] | who is calling, and what that caller may do |
//! | [`api`] | one file per AWS surface |
//! | [`audit`] | a line for each call, invocation and sandbox, chained by hash |
//! | [`audit_command`] | the sub-command `audit`: whether such a log is whole |
//! | [`function`] | the registry of functions, kept durably |
//! | [`package`] | a function's code, made ready |
//! | [`dispatch`] | invocations meet sandboxes |
//! | [`asynchronous`] | the durable queue of events, their delivery and what becomes of them |
//! | [`schedule`] | schedules, and the thread that hands their runs to that queue |
//! | [`sandbox`] | containers and their lives |
//! | [`docker`] | the Engine client |
//! | [`logs`] | what functions print, kept and served |
//! | [`observe`] | log lines, metrics, the process's own figures |
//! | [`sigv4`] | signatures of requests, as text |
//! | [`queue_command`] | the sub-command `queue`: an operator asks the running service |
//! | [`systemd`] | readiness, watchdog and passed sockets, by systemd's protocols |
//! | [`listening`] | where the service listens, and where sandboxes reach it |
//! | [`service`] | wires them, starts and stops them in order |

pub mod access;
pub mod api;
pub mod asynchronous;
pub mod audit;
pub mod audit_command;
pub mod config;
pub mod dispatch;
pub mod docker;
pub mod function;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
mod json;
pub mod listening;
pub mod logs;
pub mod observe;
pub mod package;
pub mod queue_command;
mod random;
pub mod sandbox;
pub mod schedule;
pub mod service;
pub mod sigv4;
pub mod systemd;
