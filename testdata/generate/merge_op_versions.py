"""Writes migrate/write/op_versions.json from what `list_ops.py` printed in several TensorFlows.

    python merge_op_versions.py 2.4.json 2.6.json ... > migrate/write/op_versions.json

The file holds what is newer than the oldest of them: {"versions": [...], "ops": {op: version}, "attributes": {op: {name:
version}}}. A version is the first of those looked at that has it; the one that introduced it may lie just before.
"""

import json
import sys


def order(version):
    return [int(part) for part in version.split(".")]


def merge(listings):
    listings = sorted(listings, key=lambda listing: order(listing["tensorflow"]))
    known = {op: set(attributes) for op, attributes in listings[0]["ops"].items()}
    ops, attributes = {}, {}
    for listing in listings[1:]:
        version = listing["tensorflow"]
        for op, names in sorted(listing["ops"].items()):
            if op not in known:
                ops[op] = version
                known[op] = set(names)
            for name in names:
                if name not in known[op]:
                    attributes.setdefault(op, {})[name] = version
                    known[op].add(name)
    return {
        "versions": [listing["tensorflow"] for listing in listings],
        "ops": dict(sorted(ops.items())),
        "attributes": dict(sorted(attributes.items())),
    }


if __name__ == "__main__":
    listings = []
    for path in sys.argv[1:]:
        with open(path) as file:
            listings.append(json.loads(file.read().splitlines()[-1]))
    print(json.dumps(merge(listings), indent=1))
