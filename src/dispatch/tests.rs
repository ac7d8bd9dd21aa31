//! Dispatch case by case, with callers, runtimes, Engine and clock played by [`super::world`].
//!
//! [`World::step`] checks the invariants after each step, so a case only says what is special.

mod endings;
mod locals;
mod matching;
mod reserved;
mod room;
mod starts;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::core::SandboxId;
use super::invocation::Target;
use super::matching::Runtime;
use super::world::World;
use crate::sandbox::state::State;

/// A sandbox as its runtime and the Engine know it.
struct Sandbox {
    id: SandboxId,
    container: Arc<str>,
    address: IpAddr,
}

const NOTHING: [Uuid; 0] = [];

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Starts the sandbox that was asked for; it does not poll yet.
fn launch(world: &mut World) -> Sandbox {
    let (id, container, address) = world.launch();
    Sandbox { id, container, address }
}

/// Polls and takes what that brings.
fn poll(world: &mut World, sandbox: &Sandbox) -> u64 {
    let poll = world.poll(sandbox.address).expect("it may ask");
    world.deliver_all();
    poll
}

/// Invokes, starts a sandbox for it and gives it the event.
fn busy(world: &mut World, target: &Arc<Target>) -> (Sandbox, Uuid, u64) {
    let id = world.invoke(target);
    let sandbox = launch(world);
    let poll = poll(world, &sandbox);
    assert_eq!(world.got(poll), [id]);
    (sandbox, id, poll)
}

/// A sandbox that has served once and waits.
fn idle(world: &mut World, target: &Arc<Target>) -> (Sandbox, u64) {
    let (sandbox, id, _) = busy(world, target);
    answer(world, &sandbox, id);
    let poll = poll(world, &sandbox);
    (sandbox, poll)
}

fn answer(world: &mut World, sandbox: &Sandbox, id: Uuid) {
    world.answer(Runtime::At(sandbox.address), id).expect("it runs there");
    assert_eq!(world.outcome(id), "Response(Body(2 bytes))");
}

fn state(world: &World, sandbox: &Sandbox) -> Option<State> {
    world.core.sandboxes.get(&sandbox.id).map(|sandbox| sandbox.state)
}
