"""import-bundle: makes the functions of a bundle true at a running service.

First everything is checked (the archive, then the target) and said; then images, layers and functions are made, in
this order, each step told. It can be run again at any time: what is there and the same is left as it is, and what
an interrupted run has left unfinished is known by a tag and made anew.
"""

import argparse
import sys

import archive
import engine
import manifest
from deploy import Deployment
from plan import Plan
from service import Service, default_endpoint
from tell import BAD_TARGET, Stop, Told, note, run, size, step


def arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/import-bundle.sh",
        description="Takes the functions of a bundle into a running service. Nothing is changed before the whole "
        "bundle and the target are checked.",
        epilog="Exit codes: 0 the functions are there (or would be, or the bundle is whole); 1 something failed, and "
        "the message says what was done; 2 the command line; 3 the bundle is damaged or not for this program; 4 this "
        "target can't take it as it is. With 2, 3 and 4 nothing was changed.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="what export-bundle.sh has written")
    parser.add_argument("--verify", action="store_true", help="check the bundle alone; needs no service and no Engine")
    parser.add_argument(
        "--dry-run", action="store_true", help="check bundle and target, say what would be done, change nothing"
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="delete functions of the same names that are others, and move names of images",
    )
    parser.add_argument(
        "--target-runtimes",
        action="store_true",
        help="run zip functions on the images that the target has for their runtimes",
    )
    parser.add_argument("--endpoint", default=default_endpoint(), help="where the service is (default %(default)s)")
    parser.add_argument("--region", help="region to put the functions into (default: the one that they come from)")
    return parser.parse_args()


class Import:
    def __init__(self, options):
        self.options = options
        # What was done, for the case that something fails.
        self.done = []

    def run(self):
        step(f"Checking {self.options.bundle}")
        bundle = archive.Bundle(self.options.bundle)
        bundle.verify()
        manifest.check(bundle)
        content = bundle.manifest
        note(f"bundle {bundle.digest}, made {content['made']} by version {content['made_by']}")
        note(
            f"whole; functions: {len(content['functions'])}, layer versions: {len(content['layers'])}, "
            f"images: {len(content['images'])}, of {content['region']} on {content['architecture']}"
        )
        if self.options.verify:
            return
        service = Service(self.options.endpoint, self.options.region or content["region"])
        step(f"Checking the target {service.endpoint}, region {service.region}, account {service.account}")
        if service.region != service.own_region:
            note(f"its own region is {service.own_region}: callers have to name {service.region} in their signature")
        engine.check()
        with Told("comparing with what is there"):
            plan = Plan(bundle, service, self.options.replace, self.options.target_runtimes)
        for lines in plan.problems:
            note(f"- {lines[0]}")
            for line in lines[1:]:
                note(f"  {line}")
        if plan.problems:
            raise Stop(
                BAD_TARGET,
                f"this target can't take the bundle as it is ({len(plan.problems)} above); nothing was changed",
            )
        for line in plan.lines():
            note(line)
        if self.options.dry_run:
            step("A dry run: nothing was changed")
            return
        self.apply(bundle, service, plan)

    def apply(self, bundle, service, plan):
        try:
            self.load_images(bundle, plan)
            deployment = Deployment(bundle, service, plan, self.done)
            deployment.run()
        except (Stop, OSError, KeyboardInterrupt, KeyError, TypeError, ValueError, AttributeError) as error:
            raise self.broken(error) from error
        step(f"Done; imported: {len(plan.functions)}, there already: {len(plan.there)}")
        for line in deployment.told:
            note(line)

    def broken(self, error):
        message = getattr(error, "message", "interrupted" if isinstance(error, KeyboardInterrupt) else repr(error))
        advice = [*getattr(error, "advice", ()), "Done until then: " + ("; ".join(self.done) or "nothing")]
        advice.append("Run the same command again when the cause is gone: what was done stays, and the rest follows.")
        return Stop(1, message, *advice)

    def load_images(self, bundle, plan):
        missing = plan.images_to_load()
        if missing:
            step("Loading images")
            source, length = bundle.open(archive.IMAGES)
            with Told("the Engine loads images", length) as told:
                loaded = engine.load(source, told)
            for image in loaded:
                if not plan.ids.get(image.fingerprint):
                    plan.ids[image.fingerprint] = image.id
                    # The archive has all images of the bundle, and this target may need fewer.
                    if image.fingerprint not in plan.images_used():
                        engine.remove(image.id)
            still = [image for image in missing if not plan.ids[image["fingerprint"]]]
            if still:
                raise Stop(
                    1, f"the Engine has loaded {archive.IMAGES} and does not have image {still[0]['id']} all the same"
                )
            self.done.append(f"images loaded: {len(missing)} ({size(length)})")
            note(self.done[-1])


if __name__ == "__main__":
    OPTIONS = arguments()
    sys.exit(run(lambda: Import(OPTIONS).run()))
