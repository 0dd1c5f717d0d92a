"""What belongs to a model beside its graph is judged by content, and a difference is named."""

import numpy as np
import pytest

from migrate.verify.judging import belongings
from migrate.verify.results import Results

LOSSES = "regularization_losses"


def results(**fields):
    return Results(**fields)


def lines(*words):
    found = np.empty(len(words), object)
    found[:] = words
    return found


def told(diffs):
    return [(d.where, d.output, d.message) for d in diffs if not d.equal]


# --- files -----------------------------------------------------------------------------------------------


def test_one_misspelt_line_of_a_thousand_is_named():
    words = [b"w%d" % i for i in range(1000)]
    old = results(files={"asset v.txt": lines(*words)})
    new = results(files={"asset v.txt": lines(*words[:700], b"w7OO", *words[701:])})
    ((where, name, message),) = told(belongings.compare_files(old, new))
    assert (where, name) == ("files", "asset v.txt")
    assert "line 701" in message and "w700" in message and "w7OO" in message


def test_an_asset_under_another_name_is_the_same_file():
    old = results(files={"asset v.txt": lines(b"a", b"b")})
    new = results(files={"asset v_1.txt": lines(b"a", b"b")})
    assert not told(belongings.compare_files(old, new))


def test_one_file_may_serve_two_assets_but_not_two_attachments():
    old = results(files={name: lines(b"a") for name in ("asset x", "asset y", "attachment p", "attachment q")})
    new = results(files={"asset x": lines(b"a"), "attachment p": lines(b"a")})
    assert told(belongings.compare_files(old, new)) == [("files", "attachment q", "the candidate lacks it")]


def test_equal_files_are_the_same_to_the_bit():
    old = results(files={"asset v.txt": lines(b"a", b"b")})
    assert [diff.bit_identical for diff in belongings.compare_files(old, old)] == [True]
    new = results(files={"asset v.txt": lines(b"a", b"c")})
    assert [diff.bit_identical for diff in belongings.compare_files(old, new)] == [False]


def test_a_file_that_lost_its_end_says_so():
    old = results(files={"assets.extra notes": lines(b"a", b"b", b"c")})
    new = results(files={"assets.extra notes": lines(b"a", b"b")})
    ((_, _, message),) = told(belongings.compare_files(old, new))
    assert "cut off" in message and "3 lines became 2" in message


# --- tables ----------------------------------------------------------------------------------------------


def table(**entries):
    return lines(*(key.encode() for key in entries)), np.array(list(entries.values()), np.int64)


@pytest.mark.parametrize(
    "new, words",
    [
        (table(a=0, b=2), ("maps 1 keys otherwise", "b'b'", "1 became 2")),
        (table(a=0, c=1), ("lost 1 keys", "b'b'", "has 1 new keys", "b'c'")),
    ],
)
def test_tables_are_compared_key_by_key(new, words):
    ((where, _, message),) = told(belongings.compare_tables(results(tables=[table(a=0, b=1)]), results(tables=[new])))
    assert where == "tables" and all(word in message for word in words), message


def test_a_table_that_two_variants_have_may_be_one():
    old = results(tables=[table(a=0), table(a=0), table(b=1)])
    assert not told(belongings.compare_tables(old, results(tables=[table(b=1), table(a=0)])))
    lost = told(belongings.compare_tables(old, results(tables=[table(a=0)])))
    assert [message for _, _, message in lost] == ["the candidate lacks this table"]


# --- pieces ----------------------------------------------------------------------------------------------


def original(variables=("w", "v"), losses=(("w",), ("other",), ("v", "w"))):
    return results(
        trainable=["w"],
        pieces=[
            {
                "tags": [],
                "signature": "named",
                "variables": list(variables),
                "updated": ["moved"],
                "losses": [list(used) for used in losses],
                "loss_names": [f"loss_{i}:0" for i in range(len(losses))],
            }
        ],
    )


def migrated(variables=("w", "v"), trainable=("w",), losses=(0, 2), attribute="named"):
    return results(
        pieces=[
            {
                "signature": "named",
                "attribute": attribute,
                "modes": [{"tags": [], "training": False}],
                "has_training": False,
                "variables": list(variables),
                "trainable": list(trainable),
                "losses": list(losses),
            }
        ]
    )


def judge_piece(candidate):
    return told(belongings.compare_pieces(original(), candidate, trainable=True))


def test_a_piece_as_its_graph_says_passes():
    assert not judge_piece(migrated())


@pytest.mark.parametrize(
    "losses, message",
    [
        ((0,), "lacks loss_2:0"),
        ((), "lacks loss_0:0, loss_2:0"),
        ((0, 1, 2), "holds loss_1:0, which its variables have no part in"),
        ((0, 2, -1), "holds a loss that the root has not, which its variables have no part in"),
        ((2, 0), "holds them in another order"),
        ((0, 2, 2), "holds one of them twice"),
    ],
)
def test_losses_of_a_piece_are_judged(losses, message):
    assert judge_piece(migrated(losses=losses)) == [("piece named", LOSSES, message)]


def test_variables_of_a_piece_are_judged():
    assert judge_piece(migrated(variables=("w",))) == [("piece named", "variables", "lacks v")]
    assert judge_piece(migrated(trainable=("w", "v"))) == [
        ("piece named", "trainable_variables", "holds v, which its graph does not use")
    ]


def test_the_root_lists_what_any_signature_uses():
    root = migrated(variables=("w", "v"), attribute="")
    assert told(belongings.compare_root(original(), root)) == [("the root", "variables", "lacks moved")]
