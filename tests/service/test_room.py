"""Room for sandboxes: provisioned concurrency, memory, callers that wait, containers that rest."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

import docker_cli
from harness import wait_for


def refused(call, **arguments):
    with pytest.raises(ClientError) as found:
        call(**arguments)
    error = found.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"], error["Error"]["Message"]


def published(service, image, name, **settings):
    """A function with one published version; its client and that version."""
    service.create(name, image, **settings)
    client = service.boto()
    return client, client.publish_version(FunctionName=name)["Version"]


def provisioned(client, name, qualifier):
    return client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)


def ready(client, name, qualifier):
    return wait_for(
        lambda: (found := provisioned(client, name, qualifier))["Status"] == "READY" and found, 60, "it is READY"
    )


def running_versions(service):
    found = [docker_cli.inspect(container)["Config"]["Labels"] for container in service.containers()]
    return sorted(labels["lambda-runtime-api-server.version"] for labels in found)


def at_work(service):
    counts = service.http("GET", "/status").json()["invocations"]
    return counts["active"] - counts["queued"]


def test_provisioned_sandboxes_are_there_before_anybody_calls(make_service, image):
    service = make_service(execution={"idle_timeout_ms": 1_000})
    client, version = published(service, image, "ready")
    put = client.put_provisioned_concurrency_config(
        FunctionName="ready", Qualifier=version, ProvisionedConcurrentExecutions=2
    )
    assert (put["Status"], put["RequestedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 2)
    got = ready(client, "ready", version)
    assert got["AvailableProvisionedConcurrentExecutions"] == got["AllocatedProvisionedConcurrentExecutions"] == 2
    assert running_versions(service) == [version] * 2
    env = service.invoke(f"ready:{version}", {"op": "env"}).json()
    assert env["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"
    assert env["AWS_LAMBDA_FUNCTION_VERSION"] == version
    # Idle for longer than others may be, and one that is removed comes again.
    time.sleep(2.5)
    assert running_versions(service) == [version] * 2
    docker_cli.docker("rm", "--force", service.containers()[0])
    wait_for(lambda: len(service.containers()) == 2, 30, "another one has taken its place")
    # A restart keeps the promise.
    assert service.stop() == 0
    service.start()
    ready(client, "ready", version)
    client.delete_provisioned_concurrency_config(FunctionName="ready", Qualifier=version)
    wait_for(lambda: service.containers() == [], 30, "they are idle like any other now")


def test_provisioned_concurrency_follows_its_alias_and_goes_with_the_function(make_service, image):
    service = make_service()
    client, first = published(service, image, "followed")
    client.create_alias(FunctionName="followed", Name="live", FunctionVersion=first)
    client.put_provisioned_concurrency_config(
        FunctionName="followed", Qualifier="live", ProvisionedConcurrentExecutions=1
    )
    ready(client, "followed", "live")
    on_both = refused(
        client.put_provisioned_concurrency_config,
        FunctionName="followed",
        Qualifier=first,
        ProvisionedConcurrentExecutions=1,
    )
    assert on_both[:2] == (400, "InvalidParameterValueException")
    client.update_function_configuration(FunctionName="followed", Description="second")
    client.get_waiter("function_updated_v2").wait(FunctionName="followed")
    second = client.publish_version(FunctionName="followed")["Version"]
    client.update_alias(FunctionName="followed", Name="live", FunctionVersion=second)
    wait_for(lambda: second in running_versions(service), 30, "a sandbox of the version that it means now")
    client.delete_function(FunctionName="followed")
    wait_for(lambda: service.containers() == [], 30, "nothing of it is left")


def test_what_is_provisioned_is_kept_from_others(make_service, image):
    service = make_service(execution={"max_concurrent_executions": 4})
    client, version = published(service, image, "kept", Timeout=20)
    put = client.put_provisioned_concurrency_config
    put(FunctionName="kept", Qualifier=version, ProvisionedConcurrentExecutions=2)
    ready(client, "kept", version)
    other = service.create("greedy", image, Timeout=20)
    too_much = refused(put, FunctionName="kept", Qualifier=version, ProvisionedConcurrentExecutions=4)
    assert too_much[:2] == (400, "InvalidParameterValueException")
    below = refused(client.put_function_concurrency, FunctionName="kept", ReservedConcurrentExecutions=1)
    assert below[:2] == (400, "InvalidParameterValueException")
    with ThreadPoolExecutor(3) as pool:
        busy = [pool.submit(service.invoke, other, {"op": "sleep", "ms": 8_000}) for _ in range(2)]
        wait_for(lambda: at_work(service) == 2, 20, "both are at work")
        assert service.invoke(other, {"op": "where"}).status == 429, "the others have no more"
        for _ in range(3):
            assert service.invoke(f"kept:{version}", {"op": "where"}).status == 200
        assert all(call.result().status == 200 for call in busy)


def test_promises_made_at_the_same_time_are_not_more_than_there_is(make_service, image):
    service = make_service(execution={"max_concurrent_executions": 4})
    names = [f"at-once-{number}" for number in range(6)]
    for name in names:
        published(service, image, name)

    def put(name):
        try:
            service.boto().put_provisioned_concurrency_config(
                FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=2
            )
        except ClientError as error:
            assert error.response["Error"]["Code"] == "InvalidParameterValueException"
            return False
        return True

    with ThreadPoolExecutor(len(names)) as pool:
        made = [name for name, done in zip(names, pool.map(put, names)) if done]
    assert len(made) == 1, "four less the one that stays for all others is one times two"
    ready(service.boto(), made[0], "1")


def test_provisioned_concurrency_needs_a_version_that_stays(make_service, image):
    service = make_service()
    service.create("floating", image)
    client = service.boto()
    client.create_alias(FunctionName="floating", Name="newest", FunctionVersion="$LATEST")
    unpublished = refused(
        client.put_provisioned_concurrency_config,
        FunctionName="floating",
        Qualifier="newest",
        ProvisionedConcurrentExecutions=1,
    )
    assert unpublished == (
        400,
        "InvalidParameterValueException",
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
    )


def test_a_provisioned_sandbox_that_cannot_initialize_is_told_as_failed(make_service, image):
    service = make_service()
    client, version = published(service, image, "broken", variables={"FAIL_INIT": "exit"})
    client.put_provisioned_concurrency_config(
        FunctionName="broken", Qualifier=version, ProvisionedConcurrentExecutions=1
    )
    failed = wait_for(
        lambda: (found := provisioned(client, "broken", version))["Status"] == "FAILED" and found, 30, "it is FAILED"
    )
    assert failed["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"
    assert failed["AvailableProvisionedConcurrentExecutions"] == 0


def test_memory_bounds_containers_and_idle_ones_make_room(make_service, image):
    service = make_service(execution={"max_total_memory_mb": 256})
    first, second, third = (service.create(name, image, MemorySize=128, Timeout=20) for name in ("a", "b", "c"))
    for name in (first, second, third):
        assert service.invoke(name, {"op": "where"}).status == 200, "an idle one of another function goes"
    wait_for(lambda: len(service.containers()) == 2, 20, "two fit")
    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(service.invoke, name, {"op": "sleep", "ms": 8_000}) for name in (first, second)]
        wait_for(lambda: at_work(service) == 2, 20, "both are at work")
        answer = service.invoke(third, {"op": "where"})
        assert answer.status == 429, "no memory is left"
        assert answer.error_type == "TooManyRequestsException" and answer.headers["retry-after"]
        assert answer.json()["Reason"] == "ConcurrentInvocationLimitExceeded"
        assert all(call.result().status == 200 for call in busy)
    assert service.invoke(third, {"op": "where"}).status == 200


def test_a_caller_may_wait_for_room(make_service, image):
    service = make_service(execution={"max_concurrent_executions": 1, "max_queue_wait_ms": 20_000})
    name = service.create("queued", image, Timeout=20)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: service.invoke(name, {"op": "sleep", "ms": 300}), range(4)))
    assert [answer.status for answer in answers] == [200] * 4
    assert len({answer.json()["hostname"] for answer in answers}) == 1


def paused(service):
    return [docker_cli.inspect(container)["State"]["Paused"] for container in service.containers()]


def test_an_idle_container_is_frozen_and_thawed_by_the_next_call(make_service, image):
    service = make_service(execution={"freeze_after_ms": 500})
    name = service.create("resting", image, Timeout=10)
    host = service.invoke(name, {"op": "where"}).json()["hostname"]
    for _ in range(3):
        wait_for(lambda: paused(service) == [True], 20, "it is frozen")
        assert service.invoke(name, {"op": "where"}).json()["hostname"] == host
    # While it is being frozen or thawed, calls come in as well.
    for number in range(30):
        assert service.invoke(name, {"op": "echo", "number": number}).json()["event"]["number"] == number
        time.sleep(0.49)
    assert len(service.containers()) == 1
    wait_for(lambda: paused(service) == [True], 20, "it is frozen")
    docker_cli.docker("rm", "--force", service.containers()[0])
    assert service.invoke(name, {"op": "where"}).status == 200, "another one takes its place"
    wait_for(lambda: paused(service) == [True], 20, "that one is frozen too")
    service.boto().delete_function(FunctionName=name)
    wait_for(lambda: service.containers() == [], 20, "a frozen container is removed like any other")


def test_a_failed_init_is_tried_once_more_and_the_caller_told_once(make_service, image):
    service = make_service()
    name = service.create("stillborn", image, {"FAIL_INIT": "exit"}, Timeout=5)
    answer = service.invoke(name)
    assert answer.json()["errorType"] == "Runtime.ExitError" and "exit status 7" in answer.json()["errorMessage"]
    metrics = service.http("GET", "/metrics").body.decode()
    assert 'lambda_sandbox_ends_total{reason="init_failed"} 2' in metrics
    wait_for(lambda: service.containers() == [], 20, "neither is left")
