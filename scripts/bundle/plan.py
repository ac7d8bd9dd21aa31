"""What an import would do at a target, and everything that stands in its way: found out before anything is changed.

A plan only reads. What it can't see is said where it comes out: the last number of a layer whose versions were all
deleted, for instance.
"""

import copy

import engine
from functions import FUNCTIONS, LAYERS, UNFINISHED, Unfit, describe, describe_layer, layer_content, versions_of
from service import path

WEBHOOK = "arn:aws:http:::webhook"

CREATE, REPLACE, REDO = "create", "replace", "make anew what an earlier import has left unfinished:"


class Plan:
    def __init__(self, bundle, service, replace=False, target_runtimes=False):
        self.manifest = bundle.manifest
        self.service = service
        self.replace = replace
        self.target_runtimes = target_runtimes
        # Each a list of lines: what is wrong, and what to do about it.
        self.problems = []
        self.notes = []
        # Image ids here by fingerprint, None where the image has to be loaded.
        self.ids = {image["fingerprint"]: locate(image) for image in self.manifest["images"]}
        # Names that images get here, by name.
        self.names = {}
        # Where a layer version of the bundle is here: NAME:VERSION, None while that is not known.
        self.layers = {}
        self.layers_to_publish = []
        # Layer versions that are here, without the permissions that they have in the bundle: an import broke off
        # in between. Permissions that there are stay as they are.
        self.layers_to_permit = []
        # (action, function) in order, and the names of those that are there already.
        self.functions = []
        self.there = []
        self.make()

    def make(self):
        for layer in self.manifest["layers"]:
            self.plan_layer(layer)
        self.uris = uris(self.manifest)
        for function in self.manifest["functions"]:
            self.plan_function(function)
        used = {
            name for _, one in self.functions for v in versions_of(one) for name in v["configuration"].get("Layers", [])
        }
        # A layer that only functions use which are there already is not published for nobody.
        self.layers_to_publish = [one for one in self.layers_to_publish if key_of(one) in used]
        self.layers_to_permit = [one for one in self.layers_to_permit if key_of(one) in used]
        self.check_architecture()
        self.check_runtimes()
        self.check_uris()
        self.check_limits()

    def problem(self, *lines):
        self.problems.append(lines)

    # Images.

    def images_used(self):
        """Fingerprints of what has to be on the Engine."""
        return {
            v["code"]["image"] for _, one in self.functions for v in versions_of(one) if "image" in v["code"]
        } | set(self.names.values())

    def images_to_load(self):
        used = self.images_used()
        return [
            one for one in self.manifest["images"] if one["fingerprint"] in used and not self.ids[one["fingerprint"]]
        ]

    def image_uri(self, code):
        """What an image function names as its image here. A digest names nothing that was not pulled."""
        if names_itself(code["uri"]):
            return self.ids[code["image"]] or "an image that is not loaded yet"
        return code["uri"]

    def check_architecture(self):
        here, there = self.service.architecture, self.manifest["architecture"]
        if here != there:
            self.problem(
                f"the bundle is of a machine with {there}, and this one has {here}: its programs can't run here"
            )

    def check_runtimes(self):
        needed = {v["configuration"].get("Runtime") for _, one in self.functions for v in versions_of(one)}
        for told in self.manifest["runtimes"]:
            if told["runtime"] in needed:
                self.check_runtime(told)

    def check_runtime(self, told):
        runtime, wanted = told["runtime"], told["name"]
        name = self.service.configuration["runtimes"].get(runtime)
        image = engine.find(name) if name else None
        if told["own_base"] and image and name == self.service.configuration["base_image"]:
            return  # each service makes its own, with its host's certificate authorities
        if image and image.fingerprint == told["image"]:
            return
        if image and self.target_runtimes:
            self.notes.append(f"functions of {runtime} run on {name}, which is another image than theirs was")
        elif name != wanted:
            lines = [
                f"runtime {runtime} is {name or 'no image'} here, and the functions of the bundle run on {wanted}.",
                "Add this to the service's config.toml, restart it, and run this again:",
                "    [runtimes]",
                f'    "{runtime}" = "{wanted}"',
            ]
            if image:
                lines.append(f"Or say --target-runtimes, and they run on {name}.")
            self.problem(*lines)
        elif image and not self.replace:
            self.problem(
                f"image {wanted} is another one here than in the bundle: functions of {runtime} would run on that.",
                "Say --replace to give the bundle's image that name, for new functions of others too,",
                "or --target-runtimes to run on what is here.",
            )
        else:
            self.names[wanted] = told["image"]

    def check_uris(self):
        """Images of image functions get the names by which these ask for them."""
        for uri in {v["code"]["uri"] for _, one in self.functions for v in versions_of(one) if "uri" in v["code"]}:
            if names_itself(uri):
                self.notes.append(
                    f"image {uri} can't have that name here, where it was not pulled: its functions name it by its id"
                )
                continue
            known, wanted = self.uris[uri]
            image = engine.find(uri)
            if image and image.fingerprint not in known and not self.replace:
                self.problem(
                    f"image {uri} is another one here than in the bundle.",
                    "Say --replace to give the bundle's image that name.",
                )
            self.names[uri] = wanted

    # Layers.

    def plan_layer(self, layer):
        name, number = layer["name"], layer["version"]
        key = key_of(layer)
        pages = self.service.pages("LayerVersions", *LAYERS, name, "versions")
        # Those that earlier ones of this plan will add count too.
        planned = [one["version"] for one in self.layers_to_publish if one["name"] == name]
        numbers = {one["Version"] for one in pages}
        if number in numbers and self.is_layer(layer, number):
            self.layers[key] = key
        elif number > max([0, *numbers, *planned]):
            self.layers[key] = None
            self.layers_to_publish.append(layer)
        elif same := next((other for other in sorted(numbers, reverse=True) if self.is_layer(layer, other)), None):
            self.layers[key] = f"{name}:{same}"
            self.notes.append(f"layer {key} of the bundle is {name}:{same} here")
        else:
            self.layers[key] = None
            self.layers_to_publish.append(layer)
            if self.replace:
                self.notes.append(f"layer {name} has other versions here: {key} of the bundle gets the next number")
            else:
                self.problem(
                    f"layer {key} can't have its number here: {name} has gone further here, with other content.",
                    "Say --replace to give it the next number; the functions of the bundle then use that.",
                )

    def is_layer(self, layer, number):
        """Whether this version of the layer here is the one of the bundle."""
        try:
            here = describe_layer(self.service, layer["name"], number)
        except Unfit:
            return False
        if here is None or layer_content(here) != layer_content(layer):
            return False
        if layer["permissions"] and not here["permissions"]:
            self.layers_to_permit.append(layer)
        return True

    # Functions.

    def expected(self, function):
        """The function as it is to be here."""
        function = copy.deepcopy(function)
        for version in versions_of(function):
            layers = version["configuration"].get("Layers")
            if layers:
                version["configuration"]["Layers"] = [self.layers[one] or f"{one} of the bundle" for one in layers]
            if "uri" in version["code"]:
                version["code"]["uri"] = self.image_uri(version["code"])
        return function

    def plan_function(self, function):
        name = function["name"]
        here = self.service.find(path(*FUNCTIONS, name))
        if here is None:
            self.functions.append((CREATE, function))
        elif UNFINISHED in here.get("Tags", {}):
            self.functions.append((REDO, function))
        elif not (differences := self.differences(function)):
            self.there.append(name)
        elif self.replace:
            self.functions.append((REPLACE, function))
        else:
            self.problem(
                f"function {name} is here already and is another one: {', '.join(differences)}.",
                "Say --replace to delete it and take the bundle's, or delete it yourself.",
            )

    def differences(self, function):
        """In what the function that is here differs."""
        try:
            here, _ = describe(self.service, function["name"])
        except Unfit as unfit:
            return [str(unfit)]
        expected = self.expected(function)
        return [f"its {member}" for member in expected if expected[member] != here[member]]

    # Limits of the target.

    def check_limits(self):
        most_memory = self.service.configuration["max_memory_mb"]
        for _, one in self.functions:
            memory = max(version["configuration"]["MemorySize"] for version in versions_of(one))
            if memory > most_memory:
                self.problem(
                    f"function {one['name']} has {memory} MB of memory, and {most_memory} MB are the most here.",
                    f"Set max_memory_mb = {memory} in the section [execution] of config.toml and restart the service.",
                )
        self.check_concurrency()
        webhook = self.service.configuration["webhook"]
        if any(WEBHOOK in str(one["event_invoke"]) for _, one in self.functions) and not webhook:
            self.problem(
                f"functions of the bundle have the destination {WEBHOOK}, and there is none here.",
                "Set webhook_url in the section [asynchronous] of config.toml and restart the service.",
            )

    def check_concurrency(self):
        """What functions here have provisioned without a reservation does not show: there the service may refuse."""
        wanted = sum(promised(one) for _, one in self.functions)
        if not wanted:
            return
        limit = self.service.call("GET", "/2016-08-19/account-settings")["AccountLimit"]
        most, unreserved = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
        taken = most - unreserved - self.freed() + wanted
        enough = most
        # A tenth stays for functions without a promise, as the service has it.
        while enough - taken < min(max(enough // 10, 1), 100):
            enough += 1
        if enough > most:
            self.problem(
                f"{most} concurrent executions are too few: the bundle's functions reserve {wanted}, in all {taken}.",
                f"Set max_concurrent_executions = {enough} in the section [execution] of config.toml and restart the"
                " service.",
            )

    def freed(self):
        """What the functions have reserved that are replaced."""
        going = [one["name"] for action, one in self.functions if action != CREATE]
        told = (self.service.find(path("2019-09-30", "functions", name, "concurrency")) or {} for name in going)
        return sum(one.get("ReservedConcurrentExecutions", 0) for one in told)

    # In words.

    def lines(self):
        loaded = self.images_to_load()
        if loaded:
            yield f"images to load: {len(loaded)}"
        for name, fingerprint in sorted(self.names.items()):
            yield f"name image {self.short(fingerprint)} {name}"
        for layer in self.layers_to_publish:
            yield f"publish layer {key_of(layer)}"
        for layer in self.layers_to_permit:
            yield f"give layer {self.layers[key_of(layer)]} its permissions"
        for action, function in self.functions:
            versions = ", ".join(version["version"] for version in function["versions"]) or "none"
            aliases = ", ".join(alias["Name"] for alias in function["aliases"]) or "none"
            yield f"{action} function {function['name']}: versions {versions}; aliases {aliases}"
        for name in self.there:
            yield f"nothing for function {name}: it is here already, and the same"
        yield from self.notes

    def short(self, fingerprint):
        told = next(image for image in self.manifest["images"] if image["fingerprint"] == fingerprint)
        return told["id"].split(":")[1][:12]


def promised(function):
    """The concurrency that a function has for itself: its reservation, which what is provisioned comes out of."""
    if function["reserved_concurrency"] is not None:
        return function["reserved_concurrency"]
    return sum(entry["executions"] for entry in function["provisioned"])


def key_of(layer):
    return f"{layer['name']}:{layer['version']}"


def locate(told):
    """The id of an image of the bundle on this Engine; None where it is not there."""
    for name in [told["id"], *told["names"]]:
        image = engine.find(name)
        if image and image.fingerprint == told["fingerprint"]:
            return image.id
    return None


def names_itself(uri):
    """Whether this is an image by its digest or id, and nothing that a name can be given to."""
    return "@" in uri or uri.startswith("sha256:")


def uris(manifest):
    """For each name that image functions ask for: the images that it has stood for, and what it stands for in the
    end: what it stood for at the export, else the last one."""
    found = {}
    for function in manifest["functions"]:
        for version in versions_of(function):
            if "uri" in version["code"]:
                known, _ = found.get(version["code"]["uri"], (set(), None))
                found[version["code"]["uri"]] = (known | {version["code"]["image"]}, version["code"]["image"])
    for uri, (known, _) in found.items():
        for image in manifest["images"]:
            if image["fingerprint"] in known and (uri in image["names"] or f"{uri}:latest" in image["names"]):
                found[uri] = (known, image["fingerprint"])
    return found
