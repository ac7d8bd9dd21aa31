//! Dispatch under random interleavings of everything that can happen to it.
//!
//! A seed decides on the limits and on each step; after each step [`super::invariants`] recounts
//! the core, and the model here follows every event: one outcome for each invocation, and never
//! two sandboxes with the same one. `LAMBDA_SIMULATION_SEEDS` runs more seeds than the usual,
//! `LAMBDA_SIMULATION_SEED` runs one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::core::{FrostOrder, Origin, Sandbox, SandboxId};
use super::invocation::{Refusal, Target};
use super::matching::Runtime;
use super::world::{World, runtimes_of, target};
use crate::sandbox::state::State;

const SEEDS: u64 = 2_000;
const STEPS: u64 = 150;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// SplitMix64: all that is asked of it is that a seed gives the same steps again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn index(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| usize::try_from(self.below(len as u64)).unwrap())
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        self.index(from.len()).map(|index| from[index].clone())
    }
}

/// What a launcher's thread is doing.
struct Launch {
    sandbox: SandboxId,
    container: Option<Arc<str>>,
}

struct Simulation {
    random: Random,
    world: World,
    targets: Vec<Arc<Target>>,
    revision: u64,
    launches: Vec<Launch>,
    polls: Vec<u64>,
    invoked: Vec<Uuid>,
    /// Answers whose body is arriving.
    arriving: Vec<(Runtime, Uuid)>,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut random = Random(seed);
        let max = usize::try_from(1 + random.below(6)).unwrap();
        let some = |random: &mut Random, of: u64| random.below(of) == 0;
        let (short, slow) = (some(&mut random, 3), some(&mut random, 3));
        let (freezes, patient) = (some(&mut random, 3), some(&mut random, 3));
        let world = World::with(max, |limits| {
            if short {
                limits.max_total_memory_mb = 128 * 3;
            }
            if slow {
                limits.max_parallel_starts = 2;
            }
            limits.freeze_after = freezes.then_some(Duration::from_secs(5));
            limits.max_queue_wait = Duration::from_millis(if patient { 2_000 } else { 0 });
        });
        let mut targets: Vec<_> = NAMES.iter().map(|name| target(name, 0)).collect();
        targets.push(runtimes_of("local"));
        Simulation {
            random,
            world,
            targets,
            revision: 0,
            launches: Vec::new(),
            polls: Vec::new(),
            invoked: Vec::new(),
            arriving: Vec::new(),
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.act();
        }
        self.finish();
    }

    /// One sandbox in any of these states; the order of ids makes it the same at each run.
    fn sandbox(&mut self, wanted: impl Fn(State) -> bool) -> Option<SandboxId> {
        let all = self.world.core.sandboxes.iter();
        let mut ids: Vec<_> = all.filter(|(_, s)| wanted(s.state)).map(|(&id, _)| id).collect();
        ids.sort_unstable();
        self.random.pick(&ids)
    }

    fn address(&mut self, wanted: impl Fn(State) -> bool) -> Option<IpAddr> {
        let id = self.sandbox(wanted)?;
        self.world.core.sandboxes[&id].address
    }

    /// Who would answer which invocation: mostly the one that runs it.
    fn answer_of(&mut self) -> Option<(Runtime, Uuid)> {
        let id = self.sandbox(|state| state == State::Busy)?;
        let sandbox = &self.world.core.sandboxes[&id];
        let event = sandbox.running.as_ref()?.event.id;
        // A runtime cannot answer what it has not got.
        if !self.world.book.lock().unwrap().delivered.iter().any(|&(_, got)| got == event) {
            return None;
        }
        let runtime = match (sandbox.origin, sandbox.address) {
            (Origin::Local(_), _) => Runtime::Local,
            (_, Some(address)) => Runtime::At(address),
            _ => return None,
        };
        match self.random.below(12) {
            0 => Some((runtime, self.random.pick(&self.invoked)?)),
            _ => Some((runtime, event)),
        }
    }

    fn act(&mut self) -> Option<()> {
        match self.random.below(100) {
            0..15 => {
                let target = self.random.pick(&self.targets)?;
                // Without a runtime nobody invokes a name that is not in the registry.
                if target.function.is_some() || self.world.core.pool_of.contains_key(&target.key) {
                    let id = self.world.invoke(&target);
                    self.invoked.push(id);
                }
            }
            15..28 => self.launcher(),
            28..30 => self.frost()?,
            30..48 => {
                let index = self.random.index(self.world.deliveries.len())?;
                self.world.deliver(index);
            }
            48..62 => {
                let likely = self.random.below(6) > 0;
                let address = self.address(|state| {
                    !likely || matches!(state, State::Creating | State::Starting | State::Finishing)
                })?;
                match self.random.below(12) {
                    0 => self.world.dead_poll(address),
                    _ => self.polls.extend(self.world.poll(address)),
                }
            }
            62..66 => {
                let target = self.random.pick(&self.targets)?;
                let target = runtimes_of(&target.key);
                let connection = self.random.below(3);
                self.polls.push(self.world.poll_local(&target, connection));
            }
            66..78 => {
                let (runtime, id) = self.answer_of()?;
                let _ = self.world.answer(runtime, id);
            }
            78..82 => {
                let (runtime, id) = self.answer_of()?;
                if self.world.step(|core, _, _| core.answer_begins(runtime, id)) {
                    self.arriving.push((runtime, id));
                }
            }
            82..85 => {
                let index = self.random.index(self.arriving.len())?;
                let (runtime, id) = self.arriving.swap_remove(index);
                if self.random.below(2) == 0 {
                    let _ = self.world.answer(runtime, id);
                }
                self.world.step(|core, now, wall| core.answer_broken(runtime, id, now, wall));
            }
            85..87 => {
                if self.random.below(3) == 0 {
                    return self.reset();
                }
                let poll = self.random.pick(&self.polls)?;
                let unseen = self.random.below(2) == 0;
                self.world.lose(poll, unseen);
            }
            87..90 => self.container_ends()?,
            90..92 => {
                let index = self.random.index(self.world.stops.len())?;
                let order = self.world.stops.swap_remove(index);
                self.world.step(|core, now, _| core.removed(order.sandbox, now));
            }
            92 => {
                let promised = usize::try_from(self.random.below(3)).unwrap();
                let target = self.random.pick(&self.targets[..NAMES.len()])?;
                self.world.step(|core, now, _| core.provision(&target, promised, now));
            }
            93 => {
                self.world.step(|core, now, _| core.relieve(now));
            }
            94..96 => {
                let millis = match self.random.below(4) {
                    0 => 60_000,
                    1 => 3_000,
                    _ => 60,
                };
                let time = Duration::from_millis(self.random.below(millis));
                self.world.pass(time);
            }
            96 => {
                let name = NAMES[self.random.index(NAMES.len())?];
                let reserved = match self.random.below(3) {
                    0 => None,
                    _ => Some(usize::try_from(self.random.below(4)).unwrap()),
                };
                self.world.step(|core, now, _| core.set_reserved(name, reserved, now));
            }
            97 => {
                let index = self.random.index(NAMES.len())?;
                if self.random.below(2) == 0 {
                    self.world.step(|core, now, _| core.reload(NAMES[index], now));
                    return Some(());
                }
                self.revision += 1;
                self.targets[index] = target(NAMES[index], self.revision);
            }
            98 => {
                let index = self.random.index(NAMES.len())?;
                self.world.step(|core, now, _| core.retire(NAMES[index], now));
            }
            _ => {
                let target = self.random.pick(&self.targets)?;
                let number = self.world.number();
                let address = IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
                let (id, name) = (format!("c{number}").into(), "adopted".into());
                let target = runtimes_of(&target.key);
                self.world
                    .step(|core, now, wall| core.adopt(&target, id, name, address, now, wall));
            }
        }
        Some(())
    }

    /// One step of one of the launcher's threads.
    fn launcher(&mut self) {
        if self.launches.is_empty() || self.random.below(3) == 0 {
            if let Some(sandbox) = self.world.begin() {
                self.launches.push(Launch { sandbox, container: None });
            }
            return;
        }
        let Some(index) = self.random.index(self.launches.len()) else { return };
        let sandbox = self.launches[index].sandbox;
        let fails = self.random.below(8) == 0;
        let again = self.random.below(8) == 0;
        match &self.launches[index].container {
            Some(container) if again => {
                // The Engine refuses to start it: it is removed, and another one is made.
                let container = container.clone();
                self.world.step(|core, now, wall| core.died(&container, 137, now, wall));
                self.launches[index].container = None;
            }
            _ if fails => {
                self.launches.swap_remove(index);
                let why = Refusal::NoSandbox("no room".to_owned());
                self.world.step(|core, now, _| core.start_failed(sandbox, why, now));
            }
            None => match self.world.created(sandbox) {
                Some((container, _)) => self.launches[index].container = Some(container),
                None => {
                    self.launches.swap_remove(index);
                    self.world.step(|core, now, _| core.removed(sandbox, now));
                }
            },
            Some(_) => {
                self.launches.swap_remove(index);
                self.world.step(|core, now, wall| core.started(sandbox, now, wall));
            }
        }
    }

    /// The Engine has paused or unpaused a container, or has not.
    fn frost(&mut self) -> Option<()> {
        let order = self.world.frosts.pop_front()?;
        let done = self.random.below(5) > 0;
        let FrostOrder { sandbox, ask, .. } = order;
        self.world.step(|core, now, _| core.frost_done(sandbox, ask, done, now));
        Some(())
    }

    /// A runtime resets the connection on which it got an event, mostly because it ends.
    fn reset(&mut self) -> Option<()> {
        let delivered = self.world.book.lock().unwrap().delivered.clone();
        let late = &delivered[delivered.len().saturating_sub(8)..];
        let (poll, event) = self.random.pick(late)?;
        self.world.reset(poll);
        let runs = |s: &&Sandbox| s.running.as_ref().is_some_and(|r| r.event.id == event);
        let sandbox = self.world.core.sandboxes.values().find(runs)?;
        let container = sandbox.container.clone()?;
        if self.random.below(3) > 0 {
            self.world.step(|core, now, wall| core.died(&container, 137, now, wall));
        }
        Some(())
    }

    fn container_ends(&mut self) -> Option<()> {
        let id = self.sandbox(|_| true)?;
        let sandbox = &self.world.core.sandboxes[&id];
        let (container, address) = (sandbox.container.clone()?, sandbox.address?);
        match self.random.below(4) {
            0 => self.world.step(|core, _, _| core.out_of_memory(&container)),
            1 => {
                let error = b"{}".to_vec().into();
                let told =
                    |core: &mut super::core::Core, now, _| core.init_error(address, error, now);
                let _ = self.world.step(told);
            }
            _ => self.world.step(|core, now, wall| core.died(&container, 1, now, wall)),
        }
        Some(())
    }

    /// Every runtime does its part and time hardly passes: whoever waits for a sandbox of the
    /// service's own is served, by nothing but the steps of others.
    fn serve_all(&mut self) {
        for _ in 0..60 {
            self.world.deliver_all();
            while self.frost().is_some() {}
            while let Some(sandbox) = self.world.begin() {
                self.launches.push(Launch { sandbox, container: None });
                self.end_launches();
            }
            self.end_launches();
            while let Some(order) = self.world.stops.pop() {
                self.world.step(|core, now, _| core.removed(order.sandbox, now));
            }
            for (runtime, id) in std::mem::take(&mut self.arriving) {
                self.world.step(|core, now, wall| core.answer_broken(runtime, id, now, wall));
            }
            let mut ids: Vec<_> = self.world.core.sandboxes.keys().copied().collect();
            ids.sort_unstable();
            for id in ids {
                let Some(sandbox) = self.world.core.sandboxes.get(&id) else { continue };
                let address = sandbox.address;
                match (&sandbox.running, sandbox.state, address) {
                    (Some(running), ..) => {
                        let event = running.event.id;
                        let runtime = address.map_or(Runtime::Local, Runtime::At);
                        self.world.answer(runtime, event).expect("it runs there");
                    }
                    (None, State::Starting | State::Finishing, Some(address)) => {
                        self.world.poll(address);
                    }
                    _ => {}
                }
            }
            self.world.pass(Duration::from_millis(10));
        }
        let waiting = |world: &World, memory_too: bool| {
            let pools = world.core.pools.iter().filter(|(_, p)| p.target.function.is_some());
            let short = pools.filter(|(id, _)| memory_too || !world.core.by_memory(**id));
            short.map(|(_, pool)| pool.waiting.len()).sum::<usize>()
        };
        assert_eq!(waiting(&self.world, false), 0, "they wait for ever");
        // For memory, and for room before they are accepted, nobody waits longer than this.
        self.world.pass(self.world.core.starving_time());
        assert_eq!(waiting(&self.world, true), 0, "they wait for memory for ever");
        assert_eq!(self.world.core.patient, 0, "they wait for room for ever");
    }

    /// The launcher's threads come to the end of what they do.
    fn end_launches(&mut self) {
        for Launch { sandbox, container } in std::mem::take(&mut self.launches) {
            if container.is_none() && self.world.created(sandbox).is_none() {
                self.world.step(|core, now, _| core.removed(sandbox, now));
            } else {
                self.world.step(|core, now, wall| core.started(sandbox, now, wall));
            }
        }
    }

    fn finish(&mut self) {
        if self.random.below(2) == 0 {
            self.serve_all();
        }
        self.world.step(|core, now, _| core.end_all(now));
        assert_eq!(self.world.core.active, 0, "invocations are left");
        assert!(self.world.begin().is_none(), "a start after the end");
        for (runtime, id) in std::mem::take(&mut self.arriving) {
            self.world.step(|core, now, wall| core.answer_broken(runtime, id, now, wall));
        }
        self.world.deliver_all();
        self.end_launches();
        while let Some(order) = self.world.stops.pop() {
            self.world.step(|core, now, _| core.removed(order.sandbox, now));
        }
        let core = &self.world.core;
        assert!(core.sandboxes.is_empty(), "sandboxes {:?} are left", core.sandboxes.keys());
        assert!(core.local_running.is_empty() && core.live == 0 && core.memory_mb == 0);
        let (ticks, hour) = (self.world.ticks, Duration::from_secs(3600));
        self.world.pass(hour);
        assert!(self.world.ticks - ticks < 40, "ticks though nothing is there");
        let core = &self.world.core;
        assert!(core.wake.is_none() && core.pools.values().all(|p| p.target.function.is_some()));
        let book = self.world.book.lock().unwrap();
        for id in &self.invoked {
            assert_eq!(book.outcomes.get(id).map(Vec::len), Some(1), "outcomes of {id}");
        }
        assert_eq!(book.outcomes.len(), self.invoked.len());
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn whatever_happens_each_invocation_ends_once_and_nothing_is_left() {
    let seeds = match number_from("LAMBDA_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from("LAMBDA_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(|| Simulation::new(seed).run());
        if let Err(panic) = result {
            eprintln!(
                "seed {seed} failed; LAMBDA_SIMULATION_SEED={seed} cargo test --lib \
                 dispatch::simulation runs it alone"
            );
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_seed_gives_the_same_steps_again() {
    let outcomes = |seed| {
        let mut simulation = Simulation::new(seed);
        simulation.run();
        let book = simulation.world.book.lock().unwrap();
        let of = |id| format!("{:?}", book.outcomes[id][0].0);
        simulation.invoked.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(outcomes(7), outcomes(7));
}
