"""How many rows a verification feeds."""

import pytest

from migrate.model import Signature, SignatureTensor
from migrate.options import BATCH_SIZES
from migrate.verify.planning import choose_batch_sizes


@pytest.mark.parametrize(
    ("shapes", "sizes"),
    [
        ([(None, 299, 299, 3)], (3, 0)),
        ([(None, 8), (None, 300, 300, None)], (3, 0)),
        ([(None, 32, 32, 3)], BATCH_SIZES),
        ([()], BATCH_SIZES),
        ([None], BATCH_SIZES),
        ([], BATCH_SIZES),
    ],
)
def test_large_rows_come_in_small_batches(shapes, sizes):
    inputs = {str(i): SignatureTensor(name=f"x{i}:0", dtype="float32", shape=shape) for i, shape in enumerate(shapes)}
    assert choose_batch_sizes(Signature(key="s", method="", inputs=inputs, outputs={})) == sizes
