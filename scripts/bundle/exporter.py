"""export-bundle: writes functions with everything that they need elsewhere into one archive.

The service and the Engine are only read. What is written is checked on the way: packages by their SHA-256, and the
functions once more at the end, so that a bundle never has half of a change in it.
"""

import argparse
import functools
import json
import os
import sys
import time

import archive
import engine
import manifest
from functions import FUNCTIONS, UNFINISHED, Unfit, describe, describe_layer
from service import Service, default_endpoint
from tell import FAILED, Stop, Told, note, run, size, step


def arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/export-bundle.sh",
        description="Writes functions with their versions, aliases, settings, packages, layers and images into one "
        "archive, for import-bundle.sh in a place without a network.",
        epilog="The archive holds the functions' environment variables in the clear. "
        "Exit codes: 0 written; 1 it could not be; 2 the command line.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="the archive to write, such as functions.bundle.tar")
    parser.add_argument("names", metavar="FUNCTION", nargs="*", help="names of functions")
    parser.add_argument("--all", action="store_true", help="every function of the region")
    parser.add_argument("--endpoint", default=default_endpoint(), help="where the service is (default %(default)s)")
    parser.add_argument("--region", help="region of the functions (default: the service's own)")
    options = parser.parse_args()
    if options.all == bool(options.names):
        parser.error("name the functions, or say --all")
    return options


class Export:
    def __init__(self, options):
        self.options = options
        self.service = Service(options.endpoint, options.region)
        engine.check()
        self.images = {}

    def write(self):
        target = self.options.bundle
        if os.path.exists(target):
            raise Stop(FAILED, f"{target} is there already", "Remove it, or name another file.")
        step(f"Reading the functions of {self.service.region} at {self.service.endpoint}")
        names = sorted(set(self.options.names)) or self.all_names()
        if not names:
            raise Stop(FAILED, f"there is no function in region {self.service.region}")
        functions = [self.read(name) for name in names]
        layers = [self.layer(layer) for layer in sorted(manifest.layers_of(functions))]
        layers.sort(key=lambda layer: (layer["name"], layer["version"]))
        runtimes = [self.runtime(runtime) for runtime in sorted(manifest.runtimes_of(functions))]
        for function in functions:
            note(summary(function))
        text = self.manifest(functions, layers, runtimes)

        step(f"Writing {target}")
        writer = archive.Writer(target)
        try:
            writer.add(archive.MANIFEST, lambda sink: sink.write(text))
            self.add_packages(writer, sorted(manifest.packages_of(functions, layers)))
            self.add_images(writer)
            if [self.read(name) for name in names] != functions:
                raise Stop(
                    FAILED, "a function was changed while it was exported; nothing was written", "Run this again."
                )
            with Told("bringing it to the disk"):
                digest = writer.close()
            # What no import would take is found out here, where something can be done about it.
            manifest.check(archive.Bundle(writer.part))
            writer.finish()
        except BaseException:
            writer.abandon()
            raise
        step(f"Done: {target} ({size(os.path.getsize(target))})")
        note(f"bundle {digest}")
        note(f"That is the SHA-256 of its {archive.SUMS}; the import shows it too.")
        note(
            f"Carry it over with this folder of scripts, and there: scripts/import-bundle.sh {os.path.basename(target)}"
        )

    def all_names(self):
        return [function["FunctionName"] for function in self.service.pages("Functions", *FUNCTIONS)]

    def read(self, name):
        with Told(f"reading function {name}"):
            try:
                function, images = describe(self.service, name)
                if UNFINISHED in function["tags"]:
                    raise Unfit(
                        f"the import of function {name} was broken off", "Import its bundle again, or delete it."
                    )
            except Unfit as unfit:
                raise Stop(FAILED, str(unfit), unfit.advice) from None
        self.images.update(images)
        return function

    def layer(self, used):
        name, number = used.split(":")
        try:
            layer = describe_layer(self.service, name, number)
        except Unfit as unfit:
            raise Stop(FAILED, f"layer {used}: {unfit}", unfit.advice) from None
        if layer is None:
            raise Stop(
                FAILED,
                f"version {number} of layer {name} was deleted: functions go on with it, but it can't be had any more",
                "Give the functions that use it another version of it, and delete their versions with that one.",
            )
        return layer

    def runtime(self, runtime):
        name = self.service.configuration["runtimes"].get(runtime)
        image = engine.find(name) if name else None
        if image is None:
            raise Stop(
                FAILED,
                f"the image of runtime {runtime} is not on this machine's Engine: {name or 'none is configured'}",
                "Functions elsewhere could not run without it: docker pull it, or make it with",
                f"scripts/build-runtime-image.sh {runtime}.",
            )
        self.images[image.fingerprint] = image
        own_base = name == self.service.configuration["base_image"]
        return {"runtime": runtime, "name": tagged(name, image), "image": image.fingerprint, "own_base": own_base}

    def manifest(self, functions, layers, runtimes):
        content = {
            "format": archive.FORMAT,
            "version": archive.VERSION,
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "made_by": self.service.version,
            "region": self.service.region,
            "account": self.service.account,
            "architecture": self.service.architecture,
            "functions": functions,
            "layers": layers,
            "runtimes": runtimes,
            "images": [
                {
                    "fingerprint": fingerprint,
                    "id": image.id,
                    "architecture": image.architecture,
                    "size": image.size,
                    "names": image.names,
                }
                for fingerprint, image in sorted(self.images.items())
            ],
        }
        # What the import would refuse is not written.
        manifest.check_form(content, manifest.MANIFEST, "manifest")
        return json.dumps(content, indent=1).encode()

    def add_packages(self, writer, packages):
        for sha256 in packages:
            with Told(f"package {sha256[:12]}") as told:
                download = functools.partial(self.service.download, sha256, told=told)
                writer.add(archive.package_name(sha256), download)
        note(f"packages of code and layers: {len(packages)}")

    def add_images(self, writer):
        if not self.images:
            return
        images = sorted(self.images.values(), key=lambda image: image.id)
        with Told("saving images", sum(image.size for image in images)) as told:
            writer.add(archive.IMAGES, lambda sink: engine.save([image.id for image in images], sink, told))
            note(f"images: {len(images)} ({size(told.done)})")


def tagged(name, image):
    """The name that an image can be given elsewhere: one by digest can't be given."""
    if "@" not in name:
        return name
    return image.names[0] if image.names else f"{name.split('@')[0]}:{image.id.split(':')[1][:12]}"


def summary(function):
    parts = [f"{function['name']} ({function['type']})"]
    for list_, one in (("versions", "version"), ("aliases", "Name")):
        if function[list_]:
            parts.append(f"{list_} {', '.join(entry[one] for entry in function[list_])}")
    return "; ".join(parts)


if __name__ == "__main__":
    OPTIONS = arguments()
    sys.exit(run(lambda: Export(OPTIONS).write()))
