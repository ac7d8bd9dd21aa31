"""A function as a whole, as the service's API tells it, in a form that means the same everywhere.

An export writes this form; an import makes it true, and tells by it whether a function is there already. So
nothing is in it that is the service's to choose (ARNs, revisions, times, URLs): references to functions of the same
service are `function:NAME`, layers are `NAME:VERSION`, images are their fingerprints. What this program does not
know is refused: a bundle that silently lacks something would be worse than none.
"""

import base64
import json
import re

import engine
from service import path

FUNCTIONS = ("2015-03-31", "functions")
LAYERS = ("2018-10-31", "layers")
LATEST = "$LATEST"
# The tag of a function whose import has begun and not ended. Nobody else gives it one.
UNFINISHED = "lambda-runtime-api-server:unfinished-import"

# The settings of a version that are sent as they were answered.
KEPT = (
    "Runtime",
    "Role",
    "Handler",
    "Description",
    "Timeout",
    "MemorySize",
    "TracingConfig",
    "EphemeralStorage",
    "LoggingConfig",
)
# What else a configuration has: said otherwise below, or the service's to choose.
OTHERWISE = {
    "FunctionName",
    "FunctionArn",
    "CodeSize",
    "CodeSha256",
    "Version",
    "LastModified",
    "RevisionId",
    "PackageType",
    "State",
    "StateReason",
    "StateReasonCode",
    "LastUpdateStatus",
    "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode",
    "SnapStart",
    "RuntimeVersionConfig",
    "Layers",
    "Architectures",
    "Environment",
    "DeadLetterConfig",
    "KMSKeyArn",
    "VpcConfig",
    "ImageConfigResponse",
}
# The conditions that AddPermission makes of its members.
CONDITIONS = {
    ("StringEquals", "AWS:SourceAccount"): "SourceAccount",
    ("StringEquals", "lambda:EventSourceToken"): "EventSourceToken",
    ("StringEquals", "lambda:FunctionUrlAuthType"): "FunctionUrlAuthType",
    ("StringEquals", "aws:PrincipalOrgID"): "PrincipalOrgID",
    ("ArnLike", "AWS:SourceArn"): "SourceArn",
    ("Bool", "lambda:InvokedViaFunctionUrl"): "InvokedViaFunctionUrl",
}

LAYER_CONDITIONS = {("StringEquals", "aws:PrincipalOrgID"): "OrganizationId"}


class Unfit(Exception):
    """Why a function can't be told as a whole, and what to do about it."""

    def __init__(self, message, advice="Export it when that is otherwise."):
        super().__init__(message)
        self.advice = advice


def qualifier_of(arn, name):
    """The version or the alias at the end of a function's ARN."""
    return arn.rsplit(f":function:{name}", 1)[1].lstrip(":") or LATEST


def describe(service, name):
    """The function, and the images that it has, by fingerprint. Raises `Unfit`."""
    return Description(service, name).whole()


class Description:
    def __init__(self, service, name):
        self.service = service
        self.name = name
        self.images = {}

    def get(self, version, *parts, **query):
        return self.service.find(path(version, "functions", self.name, *parts, **query))

    def pages(self, member, version, *parts, **query):
        return self.service.pages(member, version, "functions", self.name, *parts, **query)

    def whole(self):
        latest = self.get("2015-03-31")
        if latest is None:
            raise Unfit(
                f"there is no function {self.name} in {self.service.region}",
                "aws lambda list-functions tells what there is.",
            )
        numbers = [
            one["Version"] for one in self.pages("Versions", "2015-03-31", "versions") if one["Version"] != LATEST
        ]
        answers = [self.get("2015-03-31", Qualifier=number) for number in sorted(numbers, key=int)]
        if None in answers:
            raise Unfit(f"function {self.name} lost a version while it was read", "Try again.")
        versions = [self.version(answer) for answer in answers]
        record = {
            "name": self.name,
            "type": latest["Configuration"]["PackageType"],
            "versions": versions,
            "latest": self.version(latest),
            "tags": latest.get("Tags", {}),
        }
        record["latest_is_published"] = bool(versions) and is_published(latest, answers[-1], record)
        aliases = list(self.pages("Aliases", "2015-03-31", "aliases"))
        record["aliases"] = [self.alias(alias) for alias in aliases]
        record.update(self.settings(versions, aliases))
        return record, self.images

    def version(self, answer):
        told = answer["Configuration"]
        where = f"function {self.name} version {told['Version']}"
        if told.get("State") != "Active" or told.get("LastUpdateStatus", "Successful") != "Successful":
            reason = told.get("StateReason") or told.get("LastUpdateStatusReason") or ""
            raise Unfit(f"{where} is not ready: {told.get('State')}, {told.get('LastUpdateStatus')}. {reason}".rstrip())
        unknown = sorted(told.keys() - OTHERWISE - set(KEPT))
        if told["SnapStart"].get("ApplyOn") != "None":
            unknown.append("SnapStart")
        if unknown:
            raise Unfit(f"{where} has {', '.join(unknown)}, which bundles don't carry")
        # Members that are absent are sent all the same: an update leaves what it does not name.
        configuration = {member: told[member] for member in KEPT if member in told}
        configuration["Environment"] = told.get("Environment", {})
        target = self.service.reference(told.get("DeadLetterConfig", {}).get("TargetArn"))
        configuration["DeadLetterConfig"] = {"TargetArn": target} if target else {}
        configuration["KMSKeyArn"] = told.get("KMSKeyArn", "")
        if "VpcConfig" in told:
            configuration["VpcConfig"] = {k: v for k, v in told["VpcConfig"].items() if k != "VpcId"}
        if told["PackageType"] == "Image":
            configuration["ImageConfig"] = told.get("ImageConfigResponse", {}).get("ImageConfig", {})
        else:
            configuration["Layers"] = [layer["Arn"].split(":layer:")[1] for layer in told.get("Layers", [])]
        return {
            "version": told["Version"],
            "architecture": told["Architectures"][0],
            "configuration": configuration,
            "code": self.code(answer, where),
        }

    def code(self, answer, where):
        code, sha = answer["Code"], answer["Configuration"]["CodeSha256"]
        if answer["Configuration"]["PackageType"] == "Image":
            image = engine.find(f"sha256:{sha}")
            if image is None:
                raise Unfit(f"the image of {where} is no longer on this machine's Engine (sha256:{sha[:12]})")
            self.images[image.fingerprint] = image
            return {"image": image.fingerprint, "uri": code["ImageUri"]}
        location = re.fullmatch(r"http://[^/]+/packages/([0-9a-f]{64})", code.get("Location", ""))
        if not location:
            raise Unfit(
                f"the code of {where} is no stored package", "A directory of the host (hot reload) can't be carried."
            )
        return {"package": location[1]}

    def alias(self, told):
        alias = {member: told[member] for member in ("Name", "FunctionVersion", "Description")}
        weights = (told.get("RoutingConfig") or {}).get("AdditionalVersionWeights")
        return {**alias, "RoutingConfig": {"AdditionalVersionWeights": weights}} if weights else alias

    def settings(self, versions, aliases):
        numbers = [version["version"] for version in versions]
        names = [alias["Name"] for alias in aliases]
        reserved = self.get("2019-09-30", "concurrency") or {}
        recursion = self.get("2024-08-31", "recursion-config") or {}
        provisioned = self.pages("ProvisionedConcurrencyConfigs", "2019-09-30", "provisioned-concurrency", List="ALL")
        return {
            "reserved_concurrency": reserved.get("ReservedConcurrentExecutions"),
            "recursion": recursion.get("RecursiveLoop", "Terminate"),
            "policies": [policy for one in [None, *numbers, *names] if (policy := self.policy(one))],
            "event_invoke": [
                self.event_invoke(told)
                for told in self.pages("FunctionEventInvokeConfigs", "2019-09-25", "event-invoke-config", "list")
            ],
            "urls": [self.url(told) for told in self.pages("FunctionUrlConfigs", "2021-10-31", "urls")],
            "provisioned": [
                {
                    "qualifier": qualifier_of(told["FunctionArn"], self.name),
                    "executions": told["RequestedProvisionedConcurrentExecutions"],
                }
                for told in provisioned
            ],
            "runtime_management": [one for number in [LATEST, *numbers] if (one := self.runtime_management(number))],
        }

    def policy(self, qualifier):
        told = self.get("2015-03-31", "policy", Qualifier=qualifier)
        if told is None:
            return None
        statements = json.loads(told["Policy"])["Statement"]
        return {"qualifier": qualifier, "statements": [permission(self.service, one, CONDITIONS) for one in statements]}

    def event_invoke(self, told):
        members = {m: told[m] for m in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds") if m in told}
        destinations = {
            outcome: {"Destination": self.service.reference(to["Destination"])} if to.get("Destination") else {}
            for outcome, to in (told.get("DestinationConfig") or {}).items()
        }
        qualifier = qualifier_of(told["FunctionArn"], self.name)
        return {"qualifier": qualifier, **members, "DestinationConfig": destinations}

    def url(self, told):
        members = {member: told[member] for member in ("AuthType", "Cors", "InvokeMode") if member in told}
        return {"qualifier": qualifier_of(told["FunctionArn"], self.name), **members}

    def runtime_management(self, qualifier):
        told = self.get("2021-07-20", "runtime-management-config", Qualifier=qualifier) or {}
        if told.get("UpdateRuntimeOn", "Auto") == "Auto":
            return None
        members = {m: told[m] for m in ("UpdateRuntimeOn", "RuntimeVersionArn") if m in told}
        return {"qualifier": qualifier, **members}


def is_published(latest, last, record):
    """Whether PublishVersion would make no new version. A version takes over the time of the last change; its
    description can be its own."""
    if latest["Configuration"]["LastModified"] != last["Configuration"]["LastModified"]:
        return False
    return content(record["latest"]) == content(record["versions"][-1])


def content(version):
    configuration = {k: v for k, v in version["configuration"].items() if k != "Description"}
    return configuration, version["code"], version["architecture"]


def permission(service, statement, conditions):
    """The members of the request that has made this statement."""
    principal = statement["Principal"]
    members = {
        "StatementId": statement["Sid"],
        "Action": statement["Action"],
        "Principal": principal if isinstance(principal, str) else next(iter(principal.values())),
    }
    for operator, condition in statement.get("Condition", {}).items():
        for key, value in condition.items():
            member = conditions.get((operator, key))
            if member is None:
                raise Unfit(f"permission {statement['Sid']} has the condition {key}, which bundles don't carry")
            members[member] = value == "true" if operator == "Bool" else service.reference(value)
    return members


def describe_layer(service, name, number):
    """A version of a layer; None where there is none."""
    where = (*LAYERS, name, "versions", number)
    told = service.find(path(*where))
    if told is None:
        return None
    policy = service.find(path(*where, "policy"))
    statements = json.loads(policy["Policy"])["Statement"] if policy else []
    members = ("Description", "LicenseInfo", "CompatibleRuntimes", "CompatibleArchitectures")
    return {
        "name": name,
        "version": told["Version"],
        "package": base64.b64decode(told["Content"]["CodeSha256"]).hex(),
        **{member: told[member] for member in members if member in told},
        "permissions": [permission(service, one, LAYER_CONDITIONS) for one in statements],
    }


def layer_content(layer):
    """What makes two versions of a layer the same: what can't be changed of it, but its number."""
    return {member: value for member, value in layer.items() if member not in ("version", "permissions")}


def versions_of(record):
    """Every version of a function in the order in which they were made, and what it is now at the end."""
    return [*record["versions"], record["latest"]]
