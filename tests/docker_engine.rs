//! The Engine client against a real Docker Engine.
//!
//! It needs an Engine behind `/var/run/docker.sock` (or `DOCKER_HOST=unix://...`), fails without
//! one, and skips only when `LAMBDA_TEST_NO_DOCKER` is set. Everything it makes has a name of its
//! own and is removed by guards, after a failure too. The programs in its images come from a
//! static busybox (`LAMBDA_TEST_BUSYBOX`, else `/bin/busybox`, Debian's `busybox-static`); where
//! there is none, what needs a running program is left out, and a line says so.

// clippy.toml lets tests panic and print; helpers of an integration test count as none.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::fs::File;
use std::io::Read;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use lambda_runtime_api_server::docker::{
    ContainerSpec, Engine, Event, EventStream, EventTime, Frames, Ipv4Net, LogDriver, Logged,
    NetworkMode, NetworkSpec, Output, Settings, TarEntry, TarWriter,
};

const LABEL: &str = "docker-engine-test";
const MIB: u64 = 1024 * 1024;

fn engine() -> Option<Engine> {
    if std::env::var_os("LAMBDA_TEST_NO_DOCKER").is_some() {
        println!("skipped: LAMBDA_TEST_NO_DOCKER is set");
        return None;
    }
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").into();
    let settings =
        Settings { socket, call_timeout: Duration::from_secs(60), max_idle_connections: 4 };
    Some(Engine::connect(&settings).expect("these tests need a Docker Engine"))
}

/// A name that no other test and no other run has.
fn unique(kind: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    format!("{LABEL}-{kind}-{}-{number}-{:x}", std::process::id(), time.subsec_nanos())
}

/// Removes what a test has made, in the order of the fields.
struct Cleanup {
    engine: Engine,
    containers: Vec<String>,
    images: Vec<String>,
    networks: Vec<String>,
}

impl Cleanup {
    fn new(engine: &Engine) -> Self {
        Cleanup {
            engine: engine.clone(),
            containers: Vec::new(),
            images: Vec::new(),
            networks: Vec::new(),
        }
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let engine = &self.engine;
        let removed = [
            self.containers.iter().map(|id| engine.remove_container(id, true)).collect::<Vec<_>>(),
            self.images.iter().map(|name| engine.remove_image(name)).collect(),
            self.networks.iter().map(|name| engine.remove_network(name)).collect(),
        ];
        for error in removed.into_iter().flatten().filter_map(Result::err) {
            eprintln!("not removed: {error}");
        }
    }
}

fn busybox() -> Option<PathBuf> {
    let path = std::env::var_os("LAMBDA_TEST_BUSYBOX").unwrap_or_else(|| "/bin/busybox".into());
    Some(PathBuf::from(path)).filter(|path| path.is_file())
}

/// Imports an image whose `/bin/sh` is busybox, or that has no program at all.
fn import(cleanup: &mut Cleanup, busybox: Option<&PathBuf>) -> String {
    let mut tar = TarWriter::new(Vec::new());
    for (path, mode) in [("bin", 0o755), ("tmp", 0o1777), ("etc", 0o755)] {
        tar.directory(TarEntry::root(path, mode)).unwrap();
    }
    tar.file(TarEntry::root("etc/motd", 0o644), 3, &mut &b"hi\n"[..]).unwrap();
    if let Some(path) = busybox {
        let mut file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        tar.file(TarEntry::root("bin/busybox", 0o755), size, &mut file).unwrap();
        tar.symlink(TarEntry::root("bin/sh", 0o777), "busybox").unwrap();
    }
    let archive = tar.finish().unwrap();
    let name = format!("{}:v1", unique("image"));
    let changes = ["ENTRYPOINT [\"/bin/sh\"]", "ENV A=b=c", "WORKDIR /tmp", "LABEL k=v"];
    let changes = changes.map(str::to_owned);
    cleanup.images.push(name.clone());
    let id = cleanup.engine.import_image(&mut &archive[..], &name, &changes).unwrap();
    assert!(id.starts_with("sha256:"), "{id}");
    name
}

/// The first private /24 that no network of this Engine overlaps.
fn free_subnet(engine: &Engine) -> Ipv4Net {
    let taken: Vec<Ipv4Net> =
        engine.networks().unwrap().into_iter().flat_map(|network| network.subnets).collect();
    // Other runs look for one at the same time: begin somewhere of one's own.
    let start = std::process::id();
    (0..256)
        .map(|n| u8::try_from((start + n) % 256).unwrap())
        .map(|n| Ipv4Net::new(Ipv4Addr::new(10, 213, n, 0), 24).unwrap())
        .find(|net| !taken.iter().any(|other| other.overlaps(*net)))
        .unwrap()
}

fn spec(image: &str, script: &str) -> ContainerSpec {
    ContainerSpec {
        image: image.to_owned(),
        command: Some(vec!["-c".to_owned(), script.to_owned()]),
        labels: [(LABEL.to_owned(), unique("label"))].into(),
        ..ContainerSpec::default()
    }
}

/// Creates a container and puts it under guard.
fn create(cleanup: &mut Cleanup, spec: &ContainerSpec) -> String {
    let id = cleanup.engine.create_container(&unique("container"), spec).unwrap();
    cleanup.containers.push(id.clone());
    id
}

/// Waits for an event that `wanted` takes; other tests' events go by.
fn wait_for(events: &mut EventStream, wanted: impl Fn(&Event) -> bool) -> Event {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let event = events.next_event().unwrap().unwrap();
        if wanted(&event) {
            return event;
        }
    }
    panic!("the event did not come within 30 s");
}

fn died(id: &str) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Died { container_id, .. } if container_id == id)
}

#[test]
fn the_engine_tells_what_it_is() {
    let Some(engine) = engine() else { return };
    engine.ping().unwrap();
    let version = engine.version().unwrap();
    assert_eq!(version.os, "linux");
    assert!(!version.version.is_empty() && !version.arch.is_empty());
    let info = engine.info().unwrap();
    assert!(info.cpus >= 1 && info.memory_bytes > 64 * MIB, "{info:?}");
    assert_eq!(engine.renegotiate().unwrap(), engine.api_version());
}

#[test]
fn what_is_not_there_is_none_or_not_found() {
    let Some(engine) = engine() else { return };
    let name = unique("missing");
    assert_eq!(engine.container(&name).unwrap(), None);
    assert_eq!(engine.network(&name).unwrap(), None);
    assert_eq!(engine.image(&name).unwrap(), None);
    engine.remove_container(&name, true).unwrap();
    engine.remove_network(&name).unwrap();
    engine.remove_image(&name).unwrap();
    let error = engine.start_container(&name).unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert!(error.to_string().contains(&name), "{error}");
    let spec = ContainerSpec { image: name.clone(), ..ContainerSpec::default() };
    assert!(engine.create_container(&name, &spec).unwrap_err().is_not_found());
    assert!(engine.pull_image("127.0.0.1:1/none:v1", &mut |_| {}).is_err());
}

#[test]
fn an_imported_image_is_what_the_archive_said() {
    let Some(engine) = engine() else { return };
    let mut cleanup = Cleanup::new(&engine);
    let name = import(&mut cleanup, None);
    let image = engine.image(&name).unwrap().unwrap();
    assert_eq!(image.entrypoint, ["/bin/sh"]);
    assert_eq!((image.os.as_str(), image.working_dir.as_str()), ("linux", "/tmp"));
    assert!(image.env.contains(&"A=b=c".to_owned()), "{:?}", image.env);
    assert_eq!(image.labels["k"], "v");
    assert!(image.command.is_empty() && image.repo_digests.is_empty());

    let second = format!("{}:v2", unique("image"));
    cleanup.images.push(second.clone());
    engine.tag_image(&name, &second).unwrap();
    engine.remove_image(&name).unwrap();
    assert_eq!(engine.image(&second).unwrap().unwrap().id, image.id);
    assert_eq!(engine.image(&name).unwrap(), None);
}

#[test]
fn a_container_without_a_program_cannot_start() {
    let Some(engine) = engine() else { return };
    let mut cleanup = Cleanup::new(&engine);
    let image = import(&mut cleanup, None);
    let spec = spec(&image, "exit 0");
    let id = create(&mut cleanup, &spec);
    let error = engine.start_container(&id).unwrap_err();
    assert!(error.to_string().contains("/bin/sh"), "{error}");
    assert!(!error.is_unreachable());
    let container = engine.container(&id).unwrap().unwrap();
    assert!(!container.running && container.addresses.is_empty());
    assert_eq!(container.image, image);

    let label = format!("{LABEL}={}", spec.labels[LABEL]);
    assert_eq!(engine.containers(&[&label], false).unwrap(), []);
    let listed = engine.containers(&[&label], true).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, id);
    assert_eq!(listed[0].names, std::slice::from_ref(&container.name));
    let taken = engine.create_container(&container.name, &spec).unwrap_err();
    assert!(taken.is_conflict(), "{taken}");
}

#[test]
fn a_container_lives_on_its_own_network_at_its_own_address() {
    let Some(engine) = engine() else { return };
    let mut cleanup = Cleanup::new(&engine);
    let busybox = busybox();
    let image = import(&mut cleanup, busybox.as_ref());
    let (name, subnet) = (unique("net"), free_subnet(&engine));
    cleanup.networks.push(name.clone());
    let network = NetworkSpec {
        name: name.clone(),
        subnet: Some(subnet),
        gateway: subnet.host(1),
        labels: [(LABEL.to_owned(), String::new())].into(),
        ..NetworkSpec::default()
    };
    let id = engine.create_network(&network).unwrap();
    assert!(engine.create_network(&network).is_err(), "the name is taken");
    let found = engine.network(&name).unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.driver.as_str()), (id.as_str(), "bridge"));
    assert_eq!((found.subnets.clone(), found.gateway), (vec![subnet], subnet.host(1)));
    assert!(!found.inter_container() && found.labels.contains_key(LABEL));
    assert_eq!(engine.network(&id[..12]).unwrap(), None, "an id's beginning is no name");

    if busybox.is_none() {
        println!("no static busybox: the running container is not tested");
        return;
    }
    let address = subnet.host(77).unwrap();
    let container = ContainerSpec {
        network: NetworkMode::Named { name: name.clone(), address: Some(address) },
        ..hardened(&image)
    };
    let mut events =
        engine.events(Some(EventTime::now()), &[LABEL], Duration::from_secs(1)).unwrap();
    let id = create(&mut cleanup, &container);
    engine.start_container(&id).unwrap();
    engine.start_container(&id).unwrap();
    let running = engine.container(&id).unwrap().unwrap();
    assert!(running.running);
    assert_eq!(running.addresses, [(name.clone(), address.into())]);
    assert!(running.env.contains(&"X=1=2".to_owned()));
    let label = format!("{LABEL}={}", container.labels[LABEL]);
    let listed = engine.containers(&[&label], false).unwrap();
    assert_eq!((listed[0].state.as_str(), &listed[0].addresses), ("running", &running.addresses));

    let joined = ContainerSpec {
        network: NetworkMode::Container(id.clone()),
        ..spec(&image, "/bin/busybox ip -4 addr show eth0")
    };
    let joined = create(&mut cleanup, &joined);
    engine.start_container(&joined).unwrap();
    wait_for(&mut events, died(&joined));
    let output = engine.container_logs(&joined, None, None, 4096).unwrap();
    let output: Vec<u8> = output.into_iter().flat_map(|logged| logged.bytes).collect();
    let output = String::from_utf8(output).unwrap();
    assert!(output.contains(&address.to_string()), "{output}");

    let stats = engine.container_stats(&id).unwrap();
    assert!(stats.memory_used_bytes > 0 && stats.memory_used_bytes < 32 * MIB, "{stats:?}");
    assert!(stats.cpu_total > Duration::ZERO && stats.pids >= 2, "{stats:?}");

    engine.kill_container(&id, "SIGTERM").unwrap();
    let event = wait_for(&mut events, died(&id));
    assert!(matches!(event, Event::Died { exit_code: Some(42), .. }), "{event:?}");
    assert!(engine.kill_container(&id, "SIGTERM").unwrap_err().is_conflict());
    assert_eq!(engine.container(&id).unwrap().unwrap().exit_code, 42);
    engine.remove_container(&id, false).unwrap();
    wait_for(
        &mut events,
        |event| matches!(event, Event::Destroyed { container_id, .. } if *container_id == id),
    );
    // A new stream from a time before tells what has happened since.
    let Event::Died { time, .. } = event else { panic!("{event:?}") };
    let mut again = engine.events(Some(time), &[LABEL], Duration::from_secs(1)).unwrap();
    assert_eq!(wait_for(&mut again, died(&id)), event);
}

/// A container with every limit set, which exits with 42 when it is told to terminate.
fn hardened(image: &str) -> ContainerSpec {
    ContainerSpec {
        env: vec!["X=1=2".to_owned()],
        user: Some("993:990".to_owned()),
        working_dir: Some("/".to_owned()),
        hostname: Some("sandbox".to_owned()),
        extra_hosts: vec!["host.docker.internal:host-gateway".to_owned()],
        read_only_root: true,
        tmpfs: [("/tmp".to_owned(), "rw,exec,nosuid,nodev,size=16m".to_owned())].into(),
        memory_bytes: Some(32 * MIB),
        nano_cpus: Some(500_000_000),
        pids_limit: Some(64),
        open_files: Some(1024),
        oom_score_adj: Some(500),
        drop_capabilities: true,
        no_new_privileges: true,
        init: true,
        ipc_mode: Some("none".to_owned()),
        log_driver: Some(LogDriver {
            name: "json-file".to_owned(),
            options: [("max-size".to_owned(), "1m".to_owned())].into(),
        }),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout_s: Some(2),
        ..spec(image, "trap 'exit 42' TERM; while :; do /bin/busybox sleep 0.1; done")
    }
}

#[test]
fn logs_come_whole_and_by_time() {
    let Some(engine) = engine() else { return };
    let Some(busybox) = busybox() else {
        println!("no static busybox: nothing to run");
        return;
    };
    let mut cleanup = Cleanup::new(&engine);
    let image = import(&mut cleanup, Some(&busybox));
    let script = "echo one; echo two >&2; /bin/busybox sleep 1; echo three; exit 3";
    let mut events =
        engine.events(Some(EventTime::now()), &[LABEL], Duration::from_secs(1)).unwrap();
    let quiet = ContainerSpec { network: NetworkMode::None, ..spec(&image, script) };
    let id = create(&mut cleanup, &quiet);
    engine.start_container(&id).unwrap();
    let event = wait_for(&mut events, died(&id));
    let Event::Died { exit_code: Some(3), time, .. } = event else { panic!("{event:?}") };

    let end = SystemTime::UNIX_EPOCH + Duration::from_nanos(time.0.try_into().unwrap());
    let logs = |since, until, bytes| {
        let logged = engine.container_logs(&id, since, until, bytes).unwrap();
        let fresh = |time: SystemTime| time <= end && end < time + Duration::from_secs(60);
        assert!(logged.iter().all(|logged| fresh(logged.time)), "{logged:?}");
        let text = |logged: Logged| String::from_utf8(logged.bytes).unwrap();
        let mut lines: Vec<(Output, String)> =
            logged.into_iter().map(|logged| (logged.output, text(logged))).collect();
        lines.sort_by(|a, b| a.1.cmp(&b.1)); // the two outputs are two pipes
        lines
    };
    let three = (Output::Stdout, "three\n".to_owned());
    let early = [(Output::Stdout, "one\n".to_owned()), (Output::Stderr, "two\n".to_owned())];
    let all = [early[0].clone(), three.clone(), early[1].clone()];
    assert_eq!(logs(None, None, 1000), all);
    assert_eq!(logs(None, None, 7), std::slice::from_ref(&three));
    let middle = Some(end - Duration::from_millis(500));
    assert_eq!(logs(middle, None, 1000), [three]);
    assert_eq!(logs(None, middle, 1000), early);
}

/// What is attached to before the start misses nothing: not the first line, not one of a burst that
/// is longer than the Engine's log, and not what was written before a removal.
#[test]
fn attached_output_is_whole() {
    let Some(engine) = engine() else { return };
    let Some(busybox) = busybox() else {
        println!("no static busybox: nothing to run");
        return;
    };
    let mut cleanup = Cleanup::new(&engine);
    let image = import(&mut cleanup, Some(&busybox));
    let script =
        "/bin/busybox seq 1 300000; echo begun >&2; while :; do /bin/busybox sleep 1; done";
    let chatty = ContainerSpec {
        network: NetworkMode::None,
        log_driver: Some(LogDriver {
            name: "json-file".to_owned(),
            options: [("max-size".to_owned(), "1m".to_owned())].into(),
        }),
        ..spec(&image, script)
    };
    let id = create(&mut cleanup, &chatty);
    let mut attached = engine.attach(&id).unwrap();
    attached.socket.set_nonblocking(false).unwrap();
    engine.start_container(&id).unwrap();
    let (mut frames, mut out, mut err) = (Frames::default(), Vec::new(), Vec::new());
    let mut take = |bytes: &[u8], err: &mut Vec<u8>| {
        let push = &mut |output, _, piece: &[u8]| match output {
            Output::Stdout => out.extend_from_slice(piece),
            Output::Stderr | Output::Engine => err.extend_from_slice(piece),
        };
        frames.push(bytes, push).unwrap();
    };
    take(&attached.first, &mut err);
    let mut chunk = [0; 8192];
    while err.is_empty() {
        let amount = attached.socket.read(&mut chunk).unwrap();
        assert!(amount > 0, "it ended early");
        take(&chunk[..amount], &mut err);
    }
    // The question goes the same way, and the container does not notice.
    let mut pulse = engine.ask_pulse(&id).unwrap();
    while !pulse.is_answered() {
        std::thread::sleep(Duration::from_millis(1));
    }
    engine.remove_container(&id, true).unwrap();
    loop {
        match attached.socket.read(&mut chunk).unwrap() {
            0 => break,
            amount => take(&chunk[..amount], &mut err),
        }
    }
    assert_eq!(err, b"begun\n");
    let out = String::from_utf8(out).unwrap();
    assert!(out.lines().eq((1..=300_000).map(|n: u32| n.to_string())), "{} bytes", out.len());
}

#[test]
fn running_out_of_memory_is_seen() {
    let Some(engine) = engine() else { return };
    let Some(busybox) = busybox() else {
        println!("no static busybox: nothing to run");
        return;
    };
    let mut cleanup = Cleanup::new(&engine);
    let image = import(&mut cleanup, Some(&busybox));
    let hungry = ContainerSpec {
        memory_bytes: Some(16 * MIB),
        ..spec(&image, "x=0123456789abcdef; while :; do x=$x$x; done")
    };
    let mut events =
        engine.events(Some(EventTime::now()), &[LABEL], Duration::from_secs(1)).unwrap();
    let id = create(&mut cleanup, &hungry);
    engine.start_container(&id).unwrap();
    let (mut out_of_memory, mut code) = (false, None);
    // The two come in either order.
    while !(out_of_memory && code.is_some()) {
        let event = wait_for(&mut events, |event| {
            died(&id)(event)
                || matches!(event, Event::OutOfMemory { container_id, .. } if *container_id == id)
        });
        match event {
            Event::Died { exit_code, .. } => code = exit_code,
            _ => out_of_memory = true,
        }
    }
    assert_eq!(code, Some(137));
    assert!(engine.container(&id).unwrap().unwrap().oom_killed);
}

#[test]
fn stopping_keeps_the_grace() {
    let Some(engine) = engine() else { return };
    let Some(busybox) = busybox() else {
        println!("no static busybox: nothing to run");
        return;
    };
    let mut cleanup = Cleanup::new(&engine);
    let image = import(&mut cleanup, Some(&busybox));
    let id = create(&mut cleanup, &spec(&image, "trap '' TERM; while :; do :; done"));
    engine.start_container(&id).unwrap();
    let started = Instant::now();
    engine.stop_container(&id, 1).unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(engine.container(&id).unwrap().unwrap().exit_code, 137);
    engine.stop_container(&id, 1).unwrap();
}
