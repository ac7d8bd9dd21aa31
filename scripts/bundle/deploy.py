"""Makes what a plan wants: names of images, layers, functions with their versions and settings, in this order.

Numbers of versions are reproduced: where the bundle has a gap (a version that was deleted), one is published and
deleted again. A function carries a tag until all of it is there, and is then read back and compared with the bundle.
"""

import base64
import io
import time
import zipfile

import engine
from archive import package_name
from functions import FUNCTIONS, LATEST, LAYERS, UNFINISHED, describe, layer_content, versions_of
from plan import CREATE, key_of, names_itself
from service import path, stored_code
from tell import FAILED, Stop, Told, note, step

# Names that keep images which no function's own name stands for: else `docker image prune` would take them.
KEEPER = "lambda-runtime-api-server/imported"
READY_S = 900


class Deployment:
    def __init__(self, bundle, service, plan, done):
        self.bundle = bundle
        self.service = service
        self.plan = plan
        self.done = done
        # What the user has to be told at the end.
        self.told = []
        self.named = {}

    def run(self):
        plan = self.plan
        for image in plan.manifest["runtimes"]:
            if plan.names.get(image["name"]) == image["image"]:
                self.name_image(image["name"], image["image"])
        if plan.layers_to_publish:
            step("Publishing layers")
        for layer in plan.layers_to_publish:
            self.publish_layer(layer)
        for layer in plan.layers_to_permit:
            self.permit(layer)
        for action, function in plan.functions:
            step(f"Function {function['name']}")
            expected = plan.expected(function)
            if action != CREATE:
                self.service.call("DELETE", path(*FUNCTIONS, function["name"]))
                self.did(f"function {function['name']} deleted")
            self.upload(version["code"].get("package") for version in versions_of(function))
            Making(self, function, expected).run()
            self.did(f"function {function['name']} is there")
        self.name_images()

    def did(self, what):
        self.done.append(what)
        note(what)

    # Images.

    def name_image(self, name, fingerprint):
        if self.named.get(name) != fingerprint:
            engine.tag(self.plan.ids[fingerprint], name)
            self.named[name] = fingerprint

    def name_images(self):
        """The names as they are to stay, and one for each image that would have none."""
        for name, fingerprint in self.plan.names.items():
            self.name_image(name, fingerprint)
        for fingerprint in sorted(self.plan.images_used() - set(self.named.values())):
            image = engine.find(self.plan.ids[fingerprint])
            if image and not image.names:
                keeper = f"{KEEPER}:{fingerprint[:32]}"
                engine.tag(image.id, keeper)
                self.told.append(
                    f"{keeper} keeps an image that functions of the bundle name by its digest, or only did before"
                )

    # Packages and layers.

    def upload(self, packages):
        for sha256 in sorted({sha256 for sha256 in packages if sha256}):
            source, length = self.bundle.open(package_name(sha256))
            with Told(f"storing package {sha256[:12]}"):
                self.service.upload(sha256, source, length)

    def publish_layer(self, layer):
        name, number = layer["name"], layer["version"]
        self.upload([layer["package"]])
        versions = path(*LAYERS, name, "versions")
        numbers = [one["Version"] for one in self.service.pages("LayerVersions", *LAYERS, name, "versions")]
        next_number = max(numbers, default=0) + 1
        with Told(f"publishing and deleting versions of layer {name} up to {number}"):
            while next_number < number:
                published = self.service.call("POST", versions, {"Content": gap()})["Version"]
                self.service.call("DELETE", path(*LAYERS, name, "versions", published))
                next_number = published + 1
        request = {member: value for member, value in layer_content(layer).items() if member not in ("name", "package")}
        request["Content"] = stored_code(layer["package"])
        published = self.service.call("POST", versions, request)["Version"]
        self.plan.layers[key_of(layer)] = f"{name}:{published}"
        self.permit(layer)
        self.did(f"layer {name}:{published} is published")
        if published != number:
            self.told.append(
                f"layer {name}:{number} of the bundle is {name}:{published} here: its number was taken before"
            )

    def permit(self, layer):
        name, number = self.plan.layers[key_of(layer)].split(":")
        for statement in layer["permissions"]:
            self.service.call("POST", path(*LAYERS, name, "versions", number, "policy"), statement)


def gap():
    """The content of a layer version that is there only to be deleted."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as zipped:
        zipped.writestr("gap", "")
    return {"ZipFile": base64.b64encode(data.getvalue()).decode()}


class Making:
    """One function on its way from nothing to what the bundle says."""

    def __init__(self, deployment, function, expected):
        self.deployment = deployment
        self.service = deployment.service
        self.name = function["name"]
        # `expected` has layers and images as they are called here.
        self.function = expected
        self.current = None
        self.told = None

    def call(self, method, version, *parts, body=None, **query):
        return self.service.call(method, path(version, "functions", self.name, *parts, **query), body)

    def run(self):
        with Told(f"making function {self.name}") as self.told:
            self.make()

    def make(self):
        function = self.function
        last = function["versions"][-1] if function["versions"] else None
        number = 0
        for version in function["versions"]:
            # What was published as it is now had a description of its own, perhaps.
            as_now = function["latest_is_published"] and version is last
            self.become(function["latest"] if as_now else version)
            number = self.publish(number, version)
        if not function["latest_is_published"]:
            self.become(function["latest"])
        for alias in function["aliases"]:
            self.call("POST", "2015-03-31", "aliases", body=alias)
        self.settings()
        self.finish()

    # Code and configuration.

    def become(self, version):
        """Makes $LATEST this, as a change even if it is the same: the next version is one of its own."""
        if self.current is None:
            self.create(version)
        else:
            before = self.current
            changed = (before["code"], before["architecture"]) != (version["code"], version["architecture"])
            if changed:
                body = {**self.code(version), "Architectures": [version["architecture"]]}
                self.call("PUT", "2015-03-31", "code", body=body)
                self.wait()
            if not changed or before["configuration"] != version["configuration"]:
                self.call("PUT", "2015-03-31", "configuration", body=self.configuration(version))
                self.wait()
        self.current = version

    def create(self, version):
        body = self.configuration(version)
        body["FunctionName"] = self.name
        body["PackageType"] = self.function["type"]
        body["Architectures"] = [version["architecture"]]
        body["Code"] = self.code(version)
        body["Tags"] = {UNFINISHED: "run-import-bundle-again"}
        self.service.call("POST", path(*FUNCTIONS), body)
        self.deployment.done.append(f"function {self.name} begun")
        self.wait()

    def code(self, version):
        code = version["code"]
        if "package" in code:
            return stored_code(code["package"])
        # The service looks a name up once, when it is told: it has to stand for this version's image then.
        if not names_itself(code["uri"]):
            self.deployment.name_image(code["uri"], code["image"])
        return {"ImageUri": code["uri"]}

    def configuration(self, version):
        body = dict(version["configuration"])
        target = body["DeadLetterConfig"].get("TargetArn")
        if target:
            body["DeadLetterConfig"] = {"TargetArn": self.service.arn(target)}
        if "Layers" in body:
            body["Layers"] = [f"{self.service.arn_prefix}layer:{layer}" for layer in body["Layers"]]
        return body

    def wait(self):
        """Until what was asked for is what is invoked."""
        end = time.monotonic() + READY_S
        while True:
            told = self.call("GET", "2015-03-31", "configuration")
            states = (told["State"], told.get("LastUpdateStatus", "Successful"))
            if states == ("Active", "Successful"):
                return
            reason = told.get("StateReason") or told.get("LastUpdateStatusReason") or ""
            if "Failed" in states:
                raise Stop(FAILED, f"function {self.name} could not be made ready: {reason}")
            if time.monotonic() > end:
                raise Stop(FAILED, f"function {self.name} is not ready after {READY_S} s: {reason}")
            self.told.what = f"function {self.name}: {reason}"
            time.sleep(0.1)

    def publish(self, number, version):
        """Publishes $LATEST as this version; `number` was the last one that was published."""
        wanted = int(version["version"])
        while number < wanted:
            self.told.what = f"function {self.name}: version {number + 1} of {wanted}"
            body = {"Description": version["configuration"].get("Description", "")}
            published = int(self.call("POST", "2015-03-31", "versions", body=body)["Version"])
            if published != number + 1:
                raise Stop(FAILED, f"version {number + 1} of {self.name} became {published}: somebody else changes it")
            number = published
            if number < wanted:
                self.call("DELETE", "2015-03-31", Qualifier=number)
        return number

    # Settings.

    def settings(self):
        function = self.function
        for policy in function["policies"]:
            for statement in policy["statements"]:
                if "SourceArn" in statement:
                    statement = {**statement, "SourceArn": self.service.arn(statement["SourceArn"])}
                self.call("POST", "2015-03-31", "policy", body=statement, Qualifier=policy["qualifier"])
        if function["reserved_concurrency"] is not None:
            body = {"ReservedConcurrentExecutions": function["reserved_concurrency"]}
            self.call("PUT", "2017-10-31", "concurrency", body=body)
        if function["recursion"] != "Terminate":
            self.call("PUT", "2024-08-31", "recursion-config", body={"RecursiveLoop": function["recursion"]})
        for config in function["event_invoke"]:
            qualifier, body = parted(config)
            destinations = {
                outcome: {"Destination": self.service.arn(to["Destination"])} if to.get("Destination") else {}
                for outcome, to in body["DestinationConfig"].items()
            }
            body["DestinationConfig"] = destinations
            self.call("PUT", "2019-09-25", "event-invoke-config", body=body, Qualifier=qualifier)
        for url in function["urls"]:
            qualifier, body = parted(url)
            alias = None if qualifier == LATEST else qualifier
            answer = self.call("POST", "2021-10-31", "url", body=body, Qualifier=alias)
            self.deployment.told.append(f"function {self.name} has a new URL: {answer['FunctionUrl']}")
        for config in function["provisioned"]:
            body = {"ProvisionedConcurrentExecutions": config["executions"]}
            self.call("PUT", "2019-09-30", "provisioned-concurrency", body=body, Qualifier=config["qualifier"])
        for config in function["runtime_management"]:
            qualifier, body = parted(config)
            self.call("PUT", "2021-07-20", "runtime-management-config", body=body, Qualifier=qualifier)

    def finish(self):
        """Gives the function its own tags, and compares it with the bundle."""
        arn = f"{self.service.arn_prefix}function:{self.name}"
        here, _ = describe(self.service, self.name)
        here["tags"] = self.function["tags"]
        different = [member for member in self.function if self.function[member] != here[member]]
        if different:
            raise Stop(FAILED, f"function {self.name} is not as in the bundle: {', '.join(different)}")
        # There may be 50 tags, and until the last moment this is one of them.
        tags = sorted(self.function["tags"].items())
        self.tag(arn, tags[:49])
        self.service.call("DELETE", path("2017-03-31", "tags", arn, tagKeys=UNFINISHED))
        self.tag(arn, tags[49:])

    def tag(self, arn, tags):
        if tags:
            self.service.call("POST", path("2017-03-31", "tags", arn), {"Tags": dict(tags)})


def parted(config):
    """A setting's qualifier, and the setting."""
    return config["qualifier"], {member: value for member, value in config.items() if member != "qualifier"}
