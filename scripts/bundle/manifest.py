"""The manifest of a bundle: its form, and what it refers to.

The form is checked as a whole before anything of it is used. Whether the settings of a function are valid is the
service's to say; here is only what this program itself relies on.
"""

import re

from archive import IMAGES, bad, package_name
from functions import LATEST, versions_of

NAME = re.compile(r"[a-zA-Z0-9_-]{1,140}")
NUMBER = re.compile(r"[1-9][0-9]{0,17}")
HEX = re.compile(r"[0-9a-f]{64}")
ID = re.compile(r"sha256:[0-9a-f]{64}")
QUALIFIER = re.compile(r"\$LATEST|[a-zA-Z0-9_-]{1,128}")
LAYER = re.compile(r"[a-zA-Z0-9_-]{1,140}:[1-9][0-9]{0,17}")
# As an argument of the docker client: never an option.
IMAGE_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,1023}")
WORD = re.compile(r"[a-zA-Z0-9._-]{1,64}")

# A key with a question mark may be absent; a list has entries of its one form; a tuple is a choice.
CODE = ({"package": HEX}, {"image": HEX, "uri": IMAGE_NAME})
VERSION = {
    "version": (NUMBER, re.compile(re.escape(LATEST))),
    "architecture": WORD,
    "configuration": dict,
    "code": CODE,
}
FUNCTION = {
    "name": NAME,
    "type": re.compile("Zip|Image"),
    "versions": [VERSION],
    "latest": VERSION,
    "latest_is_published": bool,
    "tags": dict,
    "aliases": [{"Name": NAME, "FunctionVersion": str, "Description": str, "RoutingConfig?": dict}],
    "reserved_concurrency": (int, type(None)),
    "recursion": str,
    "policies": [{"qualifier": (QUALIFIER, type(None)), "statements": [dict]}],
    "event_invoke": [dict],
    "urls": [dict],
    "provisioned": [{"qualifier": QUALIFIER, "executions": int}],
    "runtime_management": [dict],
}
LAYER_VERSION = {
    "name": NAME,
    "version": int,
    "package": HEX,
    "permissions": [dict],
    "Description?": str,
    "LicenseInfo?": str,
    "CompatibleRuntimes?": [str],
    "CompatibleArchitectures?": [str],
}
RUNTIME = {"runtime": WORD, "name": IMAGE_NAME, "image": HEX, "own_base": bool}
IMAGE = {"fingerprint": HEX, "id": ID, "architecture": WORD, "size": int, "names": [IMAGE_NAME]}
MANIFEST = {
    "format": str,
    "version": int,
    "made": re.compile(r"[0-9TZ:-]{1,32}"),
    "made_by": WORD,
    "region": WORD,
    "account": WORD,
    "architecture": WORD,
    "functions": [FUNCTION],
    "layers": [LAYER_VERSION],
    "runtimes": [RUNTIME],
    "images": [IMAGE],
}


def check(bundle):
    """Checks the manifest, and that the archive has what it refers to and nothing else."""
    manifest = bundle.manifest
    check_form(manifest, MANIFEST, "manifest")
    functions = manifest["functions"]
    for function in functions:
        check_function(function)
    unique([function["name"] for function in functions], "functions of the manifest")
    layers = unique([f"{layer['name']}:{layer['version']}" for layer in manifest["layers"]], "layers of the manifest")
    differ(layers, layers_of(functions), "layers of the manifest")
    runtimes = unique([one["runtime"] for one in manifest["runtimes"]], "runtimes of the manifest")
    differ(runtimes, runtimes_of(functions), "runtimes of the manifest")
    images = unique([image["fingerprint"] for image in manifest["images"]], "images of the manifest")
    differ(images, images_of(functions) | {one["image"] for one in manifest["runtimes"]}, "images of the manifest")
    packages = {name for name in bundle.members if name.startswith("packages/")}
    wanted = {package_name(sha256) for sha256 in packages_of(functions, manifest["layers"])}
    differ(packages, wanted, "packages of the archive")
    if images:
        saved = bundle.image_fingerprints() if IMAGES in bundle.members else set()
        differ(saved, images, f"images in {IMAGES}")
    elif IMAGES in bundle.members:
        raise bad(f"the archive has {IMAGES} without an image in the manifest")


def unique(names, what):
    if len(names) != len(set(names)):
        raise bad(f"the {what} have one twice")
    return set(names)


def differ(found, wanted, what):
    if found - wanted:
        raise bad(f"the {what} have {min(found - wanted)}, which nothing refers to")
    if wanted - found:
        raise bad(f"the {what} lack {min(wanted - found)}")


def check_function(function):
    where = f"function {function['name']} of the manifest"
    for version in versions_of(function):
        configuration = version["configuration"]
        is_zip = function["type"] == "Zip"
        if ("package" in version["code"]) != is_zip:
            raise bad(f"{where} has code of another package type")
        check_form(configuration.get("Layers", []), [LAYER], f"{where}, Layers")
        check_form(configuration.get("MemorySize"), int, f"{where}, MemorySize")
        check_form(configuration.get("DeadLetterConfig"), dict, f"{where}, DeadLetterConfig")
        if is_zip:
            check_form(configuration.get("Runtime"), WORD, f"{where}, Runtime")
    if function["latest"]["version"] != LATEST or LATEST in (version["version"] for version in function["versions"]):
        raise bad(f"{where} has other versions than it may")
    numbers = [int(version["version"]) for version in function["versions"]]
    if numbers != sorted(set(numbers)) or function["latest_is_published"] and not numbers:
        raise bad(f"the versions of {where} are in no order")
    for list_ in ("event_invoke", "urls", "runtime_management"):
        for entry in function[list_]:
            check_form(entry.get("qualifier"), QUALIFIER, f"{where}, {list_}")
    for entry in function["event_invoke"]:
        check_form(
            entry.get("DestinationConfig"), {"OnSuccess?": dict, "OnFailure?": dict}, f"{where}, DestinationConfig"
        )


def check_form(value, form, where):
    if isinstance(form, tuple):
        for choice in form[:-1]:
            if fits(value, choice):
                return
        form = form[-1]
    if isinstance(form, dict):
        check_form(value, dict, where)
        known = {key.rstrip("?"): key for key in form}
        for key in value.keys() - known.keys():
            raise bad(f"{where} has {key!r:.100}, which this version of the format has not")
        for name, key in known.items():
            if name in value:
                check_form(value[name], form[key], f"{where}, {name}")
            elif not key.endswith("?"):
                raise bad(f"{where} lacks {name}")
    elif isinstance(form, list):
        check_form(value, list, where)
        for index, entry in enumerate(value):
            check_form(entry, form[0], f"{where} {index + 1}")
    elif isinstance(form, re.Pattern):
        if not isinstance(value, str) or not form.fullmatch(value):
            raise bad(f"{where} can't be {value!r:.100}")
    # True is an int to Python.
    elif not isinstance(value, form) or form is int and isinstance(value, bool):
        raise bad(f"{where} can't be {value!r:.100}")


def fits(value, form):
    try:
        check_form(value, form, "")
    except type(bad("")):
        return False
    return True


def layers_of(functions):
    return {
        layer
        for one in functions
        for version in versions_of(one)
        for layer in version["configuration"].get("Layers", [])
    }


def runtimes_of(functions):
    zips = (one for one in functions if one["type"] == "Zip")
    return {version["configuration"]["Runtime"] for one in zips for version in versions_of(one)}


def packages_of(functions, layers):
    codes = (version["code"].get("package") for one in functions for version in versions_of(one))
    return {sha256 for sha256 in codes if sha256} | {layer["package"] for layer in layers}


def images_of(functions):
    codes = (version["code"].get("image") for one in functions for version in versions_of(one))
    return {image for image in codes if image}
