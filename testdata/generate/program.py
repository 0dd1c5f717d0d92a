"""The command line shared by all generators, and the recipe that they fill in.

    python hub_dense.py                     prints what would be written
    python hub_dense.py --write             writes testdata/zoo/<slug>/ for every model of the theme
    python hub_dense.py --write --only=SLUG [--zoo=DIR]
"""

import argparse
import collections
import json
import os
import platform
import shutil
import sys
import tempfile

# Tracebacks, and so nothing that lands in a graph, name this machine: work in a fresh relative place.
HERE = os.path.dirname(os.path.abspath(__file__))

_FIELDS = ["slug", "format", "build", "covers", "tags", "cases", "random_outputs",
           "stateful_signatures", "skipped_signatures", "notes", "model_dir", "tensors", "stated", "options", "left_behind", "phase"]


class Recipe(collections.namedtuple("Recipe", _FIELDS)):
    """How one model is made and what is recorded of it.

    slug: folder below the zoo.         format: tf1_hub_module | tf1_saved_model | estimator_export.
    build: function(path) that writes the model into `path`, which does not exist yet.
    covers: words for what the model exercises.     tags: tag sets, each a tuple of strings.
    cases: {signature: [{input key: array | codec.Sparse | codec.Ragged}, ...]}.
    random_outputs: "<tags>|<signature>|<output key>" whose value no recording can pin down.
    stateful_signatures: recorded as successive calls in one session.
    skipped_signatures: in the model, but not runnable (the notes say why).
    notes: free text for origin.json.   model_dir: where `build` puts the model below model/.
    tensors: names of tensors to fetch where there is no signature: recorded under signature "".
    stated: (inputs, outputs), each {key: tensor name}: the signature serving_default of a graph that has none.
    phase: placeholder that no signature feeds: recorded with 0 under the model's tags, with 1 under these and "train".
    left_behind: variables of training (optimizer slots, global step) that no migrated model has.
    options: what the reader is told when the model is migrated, as fields of migrate.ReadOptions.

    Where `build` makes a folder `original` beside model/, the truth is recorded from it, and it is then deleted.
    """

    def __new__(cls, slug, format, build, covers, cases, tags=((),), random_outputs=(),
                stateful_signatures=(), skipped_signatures=(), notes="", model_dir="", tensors=(), stated=None,
                options=None, left_behind=(), phase=""):
        return super(Recipe, cls).__new__(
            cls, slug, format, build, tuple(covers), tuple(tags), cases, tuple(random_outputs),
            tuple(stateful_signatures), tuple(skipped_signatures), notes, model_dir, tuple(tensors), stated,
            options or {}, tuple(left_behind), phase)


def run_program(recipes):
    """Parses the command line and writes, or only names, the models of `recipes`."""
    parser = argparse.ArgumentParser(description="Generates models of the legacy test zoo.")
    parser.add_argument("--write", action="store_true", help="really write (default: dry run)")
    parser.add_argument("--only", default="", help="slug of the one model to treat")
    parser.add_argument("--zoo", default=os.path.join(HERE, "..", "zoo"), help="folder to write below")
    arguments = parser.parse_args()
    chosen = [r for r in recipes if arguments.only in ("", r.slug)]
    if not chosen:
        parser.error("no model named %r here; there are: %s" % (
            arguments.only, ", ".join(r.slug for r in recipes)))
    zoo = os.path.abspath(arguments.zoo)
    for recipe in chosen:
        if not arguments.write:
            print("would write %s (%s): %s" % (recipe.slug, recipe.format, ", ".join(recipe.covers)))
            continue
        _write(recipe, os.path.join(zoo, recipe.slug))


def _write(recipe, destination):
    import recorder  # Loads TensorFlow: not for a dry run.

    work = tempfile.mkdtemp()
    previous = os.getcwd()
    os.chdir(work)  # Asset paths that a graph keeps are relative to here.
    try:
        os.makedirs(recipe.slug)
        model = os.path.join(recipe.slug, "model", recipe.model_dir).rstrip("/")
        recipe.build(model)
        original = os.path.join(recipe.slug, "original")
        recording = recorder.Recording(recipe, original if os.path.exists(original) else model).record()
        shutil.rmtree(original, ignore_errors=True)
        for name, arrays in recording.arrays.items():
            recorder.save_npz(os.path.join(recipe.slug, name + ".npz"), arrays)
        with open(os.path.join(recipe.slug, "origin.json"), "w") as stream:
            json.dump(_describe(recipe, recording), stream, indent=1, sort_keys=True)
            stream.write("\n")
        shutil.rmtree(destination, ignore_errors=True)
        shutil.move(recipe.slug, destination)
    finally:
        os.chdir(previous)
        shutil.rmtree(work)
    counts = {name: len(arrays) for name, arrays in sorted(recording.arrays.items())}
    print("wrote %s: %s %s" % (recipe.slug, counts, recording.origin["gradient_errors"] or ""))


def _describe(recipe, recording):
    import tensorflow
    import tensorflow_hub

    origin = {
        "slug": recipe.slug, "format": recipe.format, "generator": os.path.basename(sys.argv[0]),
        "python": platform.python_version(), "tensorflow": tensorflow.__version__,
        "tensorflow_hub": tensorflow_hub.__version__, "covers": list(recipe.covers),
        "tags": [list(tags) for tags in recipe.tags], "random_outputs": list(recipe.random_outputs),
        "stateful": bool(recipe.stateful_signatures),
        "stateful_signatures": list(recipe.stateful_signatures),
        "skipped_signatures": list(recipe.skipped_signatures), "notes": recipe.notes,
    }
    for name in ("options", "left_behind", "phase"):
        if getattr(recipe, name):
            origin[name] = getattr(recipe, name)
    origin.update(recording.origin)
    return origin
