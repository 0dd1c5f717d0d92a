"""Functions as a Python compiled them, marshalled as Keras stores those of Lambda layers, and what they gave there.

    python old_bytecode.py            # dry run: prints what would be written
    python old_bytecode.py --write    # CPython 2.7, 3.6, 3.7, 3.8, 3.9

Writes testdata/old_bytecode/<version>.json: {"python", "functions": {name: {"code", "defaults", "closure", "argument",
"result"}}}; tuples are lists there.
"""

import base64
import json
import marshal
import os
import platform
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def with_import(x):
    """A text, which stands among the constants."""
    import os.path as places
    from os.path import join

    return places.basename(join(x, "b")), join(x, "c")


def with_inner(x, by=3):
    def shift(value, more=1):
        return value + by * more

    return shift(x), shift(x, more=2)


def with_loop(x):
    total = 0
    for value in x:
        if value > 2:
            total += value
    return total


def make_closed(scale):
    return lambda x: [scale * value for value in x]


def unpacked(x):
    first, second = x
    return second, first


FUNCTIONS = {
    "arithmetic": (lambda x: -(2 * x + 1) ** 2 % 7 - x // 2, 5),
    "divided": (lambda x: x / 2, 7),
    "indexed": (lambda x: (x[0], x[-1], x[::2]), [1, 2, 3, 4]),
    "sliced": (lambda x: (x[:], x[1:], x[:2], x[1:3]), [1, 2, 3, 4]),
    "keywords": (lambda x: sorted(x, key=abs, reverse=True), [1, -3, 2]),
    "method": (lambda x: x.replace("a", "b").upper(), "abc"),
    "branch": (lambda x: x if x > 2 else -x, 1),
    "either": (lambda x: x and x > 1 or 7, 0),
    "between": (lambda x: 1 < x < 5, 3),
    "comprehension": (lambda x: [value * 2 for value in x], [1, 2]),
    "unpacked": (unpacked, [1, 2]),
    "imported": (with_import, "a"),
    "inner": (with_inner, 4),
    "loop": (with_loop, [1, 3, 4]),
    "closed": (make_closed(3), [1, 2]),
}


def main(write):
    functions = {}
    for name, (function, argument) in sorted(FUNCTIONS.items()):
        functions[name] = {
            "code": base64.b64encode(marshal.dumps(function.__code__)).decode("ascii"),
            "defaults": list(function.__defaults__ or ()),
            "closure": [cell.cell_contents for cell in function.__closure__ or ()],
            "argument": argument,
            "result": function(argument),
        }
    text = json.dumps({"python": platform.python_version(), "functions": functions}, indent=1, sort_keys=True)
    path = os.path.join(HERE, "..", "old_bytecode", "%d.%d.json" % sys.version_info[:2])
    print("%s: %d functions" % (os.path.normpath(path), len(functions)))
    if write:
        with open(path, "w") as file:
            file.write("\n".join(line.rstrip() for line in text.split("\n")) + "\n")


if __name__ == "__main__":
    main("--write" in sys.argv[1:])
