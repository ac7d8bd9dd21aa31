"""Network slots: networks that are ready before a sandbox needs one, and everything that can happen to them."""

import json
import signal
import tempfile

import pytest
from prometheus_client.parser import text_string_to_metric_families

import docker_cli
import faulty_engine
from harness import wait_for
from wire import InBackground


def states(service):
    return service.http("GET", "/status").json()["slots"]


def ready(service, count, **others):
    """Waits until so many slots are ready, and so many in each of the other states that are named."""
    wanted = {"ready": count, "making": 0, **others}
    wait_for(lambda: wanted.items() <= states(service).items(), 60, f"slots {wanted}, not {states(service)}")


def holder_of(container):
    """The container whose network this one has joined; None if it has one of its own."""
    kind, _, holder = docker_cli.inspect(container)["HostConfig"]["NetworkMode"].partition(":")
    return holder if kind == "container" else None


def address_of(container, service):
    return docker_cli.inspect(container)["NetworkSettings"]["Networks"][service.network]["IPAddress"]


def good(answer):
    assert answer.status == 200 and "x-amz-function-error" not in answer.headers, answer
    return answer.json()


def test_a_sandbox_joins_a_ready_network(make_service, image):
    service = make_service()
    ready(service, 4, taken=0)
    service.create("joins", image)
    good(service.invoke("joins", {"op": "where"}))
    (container,) = service.sandboxes("joins")
    holder = holder_of(container)
    assert holder in service.slots()
    (sandbox,) = service.http("GET", "/status").json()["sandboxes"]
    assert sandbox["address"] == address_of(holder, service), "it is known by the slot's address"
    ready(service, 4, taken=1)
    text = service.http("GET", "/metrics").body.decode()
    family = next(f for f in text_string_to_metric_families(text) if f.name == "lambda_network_slots")
    assert {s.labels["state"]: s.value for s in family.samples} == {"making": 0, "ready": 4, "taken": 1, "resting": 0}
    told = docker_cli.inspect(holder)
    assert told["HostConfig"]["ReadonlyRootfs"] and told["HostConfig"]["CapDrop"] == ["ALL"]
    assert told["Config"]["User"] not in ("", "0", "root")
    assert service.stop() == 0
    assert service.slots() == [] and service.containers() == []


def test_none_are_made_where_they_are_switched_off(make_service, image):
    service = make_service(docker={"network_slots": 0})
    service.create("alone", image)
    good(service.invoke("alone", {"op": "where"}))
    (container,) = service.sandboxes("alone")
    assert holder_of(container) is None
    assert service.slots() == [] and set(states(service).values()) == {0}


def test_a_network_is_used_again_and_the_new_sandbox_is_not_taken_for_the_old(make_service, image):
    service = make_service(docker={"network_slots": 1})
    ready(service, 1)
    service.create("again", image, Timeout=2)
    service.create("other", image, Timeout=20)
    late = service.invoke("again", {"op": "sleep", "ms": 20_000})
    assert late.json()["errorType"] == "Sandbox.Timedout"
    # One that nobody has used, and that of the sandbox which has gone.
    ready(service, 2, taken=0, resting=0)
    old, fresh = service.slots()
    good(service.invoke("other", {"op": "where"}))
    assert holder_of(service.sandboxes("other")[0]), "there was one that nobody has used"
    assert states(service)["taken"] == 1
    # From two addresses, one of them the old sandbox's: the answer to the old sandbox's invocation.
    event = {"op": "answer", "id": late.headers["x-amzn-requestid"], "ms": 1_500}
    both = [InBackground(service.invoke, "again", event) for _ in range(2)]
    answers = [good(call.result()) for call in both]
    assert len({answer["sandbox"] for answer in answers}) == 2
    holders = {holder_of(container) for container in service.sandboxes("again")}
    assert holders & {old, fresh}, "the function's own network served again"
    assert all(answer["said"].split()[1] == "400" for answer in answers), answers


def test_a_function_never_gets_the_network_of_another(make_service, image):
    service = make_service(docker={"network_slots": 1})
    ready(service, 1)
    used = {}
    for name in ("one", "two"):
        service.create(name, image, Timeout=10)
        for _ in range(2):
            service.invoke(name, {"op": "sleep", "ms": 0})
            used.setdefault(name, set()).update(holder_of(c) for c in service.sandboxes(name))
            service.invoke(name, {"op": "exit", "code": 3})
            wait_for(lambda: states(service)["ready"] >= 1 and states(service)["taken"] == 0, 30, "a slot is ready")
    assert not (used["one"] - {None}) & (used["two"] - {None})
    assert used["one"] - {None} and used["two"] - {None}


@pytest.mark.parametrize("how", ["removed", "killed", "disconnected"])
def test_a_busy_sandbox_that_loses_its_network_is_ended_at_once(make_service, image, how):
    service = make_service(docker={"network_slots": 1})
    ready(service, 1)
    service.create("cut", image, Timeout=600)
    good(service.invoke("cut", {"op": "where"}))
    (container,) = service.sandboxes("cut")
    holder = holder_of(container)
    ready(service, 1, taken=1)
    call = InBackground(service.invoke, "cut", {"op": "sleep", "ms": 500_000}, timeout=100)
    wait_for(lambda: service.http("GET", "/status").json()["invocations"]["active"] == 1, 10, "it is busy")
    match how:
        case "removed":
            docker_cli.docker("rm", "--force", holder)
        case "killed":
            docker_cli.docker("kill", holder)
        case "disconnected":
            docker_cli.docker("network", "disconnect", "--force", service.network, holder)
    answer = call.result(60)
    assert answer.json()["errorType"] == "Runtime.ExitError"
    wait_for(lambda: container not in service.containers(), 20, "the sandbox without a network is gone")
    good(service.invoke("cut", {"op": "where"}))
    wait_for(lambda: holder not in service.slots(), 20, "so is what held it")
    ready(service, 1, taken=1)


def test_an_idle_sandbox_that_loses_its_network_is_replaced(make_service, image):
    service = make_service(docker={"network_slots": 1})
    ready(service, 1)
    service.create("idle", image, Timeout=20)
    first = good(service.invoke("idle", {"op": "where"}))["sandbox"]
    (container,) = service.sandboxes("idle")
    docker_cli.docker("rm", "--force", holder_of(container))
    wait_for(lambda: container not in service.containers(), 20, "the sandbox without a network is gone")
    assert good(service.invoke("idle", {"op": "where"}))["sandbox"] != first


def test_a_lost_slot_is_replaced(make_service, image):
    service = make_service(docker={"network_slots": 2})
    ready(service, 2)
    lost = service.slots()
    docker_cli.docker("rm", "--force", *lost)
    service.create("after", image)
    good(service.invoke("after", {"op": "where"}))
    ready(service, 2)
    assert not set(lost) & set(service.slots())


def test_a_killed_service_leaves_none_behind_after_the_next_start(make_service, image):
    service = make_service()
    ready(service, 4)
    service.create("killed", image)
    good(service.invoke("killed", {"op": "where"}))
    orphans = set(service.slots())
    assert len(orphans) >= 4
    service.kill()
    assert orphans <= set(service.slots()), "a killed service can't clean up"
    service.start()
    assert not orphans & set(service.slots())
    ready(service, 4, taken=0)
    good(service.invoke("killed", {"op": "where"}))


def test_two_services_leave_each_others_slots_alone(make_service, image):
    first, second = make_service(), make_service()
    ready(first, 4)
    ready(second, 4)
    first.create("mine", image)
    before = good(first.invoke("mine", {"op": "where"}))["sandbox"]
    ready(first, 4, taken=1)
    slots = set(first.slots())
    second.kill()
    second.start()
    assert second.stop() == 0
    assert second.slots() == []
    assert set(first.slots()) == slots
    assert good(first.invoke("mine", {"op": "where"}))["sandbox"] == before


def test_a_removed_network_is_made_again(make_service, image):
    service = make_service(docker={"network_slots": 1})
    ready(service, 1)

    def removed():
        """The Engine removes no network that somebody is on, and the service makes its slots again meanwhile."""
        for container in docker_cli.network_containers(service.network):
            docker_cli.docker("network", "disconnect", "--force", service.network, container, check=False)
        return docker_cli.docker("network", "rm", service.network, check=False) != ""

    wait_for(removed, 30, "the network is removed")
    service.create("homeless", image)
    good(service.invoke("homeless", {"op": "where"}))
    ready(service, 1)


def test_an_engine_that_lets_nobody_join_is_told_of_once(make_service, image):
    def joins(line, body):
        return "/containers/create" in line and "container:" in json.loads(body)["HostConfig"].get("NetworkMode", "")

    with tempfile.TemporaryDirectory() as directory:
        proxy = faulty_engine.FaultyEngine(directory)
        proxy.rules = [(joins, faulty_engine.fail(400, "cannot join another container's network"))]
        try:
            service = make_service(docker={"socket": proxy.path, "network_slots": 2})
            ready(service, 2)
            for name in ("first", "second", "third"):
                service.create(name, image)
                good(service.invoke(name, {"op": "where"}))
                (container,) = service.sandboxes(name)
                assert holder_of(container) is None
            assert proxy.ruled >= 1
            told = [line for line in service.log().splitlines() if "network slots" in line and "WARN" in line]
            assert len(told) == 1 and "cannot join another container's network" in told[0], told
            # The others are given up; one is there to try it again with.
            wait_for(lambda: len(service.slots()) <= 1, 30, "no slots are kept in vain")
            assert service.stop() == 0
        finally:
            proxy.down()


def test_the_stop_waits_for_a_slot_that_is_being_made(make_service):
    service = make_service(docker={"network_slots": 64})
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
    assert service.slots() == []
