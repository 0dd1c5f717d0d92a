"""The table of unsafe ops against the ops that this TensorFlow has."""

import re

from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session

from migrate.graph.index import is_registered
from migrate.scan import ops

_TELLING = re.compile(
    r"file|path|prefix$|^address$|_uri$|_urls?$|^server|logdir|directory|^pattern$|^protocol$|^module$"
)
# Ops with such a name among their inputs or attributes, and why they reach for nothing.
_HARMLESS = {
    "DeviceIndex": "names of devices",
    "RegexFullMatch": "a pattern of text",
    "RegexReplace": "a pattern of text",
    "StaticRegexFullMatch": "a pattern of text",
    "StaticRegexReplace": "a pattern of text",
    "ExperimentalSetStatsAggregatorDataset": "a prefix of counters",
    "SetStatsAggregatorDataset": "a prefix of counters",
    "CTCBeamSearchDecoder": "paths of a search",
    "TensorSliceDataset": "a mark that its elements are names of files",
    "ShardedFilename": "makes a name",
    "ShardedFilespec": "makes a name",
    "_TPUReplicate": "no kernel outside of TPUs",
    "XlaHostCompute": "no kernel outside of TPUs",
}


def _list_op_defs():
    listed = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return listed.op


def test_ops_that_name_files_or_hosts_are_known():
    known = {*ops.UNSAFE_OPS, *ops.RESTORE_OPS, *ops.SAVE_OPS, *ops.ASSET_OPS, *ops.CACHE_OPS, *ops.CONDITIONAL}
    suspects = {
        op.name for op in _list_op_defs() if any(_TELLING.search(item.name) for item in (*op.input_arg, *op.attr))
    }
    assert len(suspects) > 40
    assert suspects - known - set(_HARMLESS) == set()


def test_most_of_the_table_is_registered():
    """A misspelled name would let the op pass; those that only older TensorFlows or other builds have are few."""
    gone = {op for op in ops.UNSAFE_OPS if not is_registered(op)}
    assert len(gone) < len(ops.UNSAFE_OPS) / 3
    assert {
        op for op in (*ops.RESTORE_OPS, *ops.SAVE_OPS, *ops.ASSET_OPS, *ops.CACHE_OPS) if not is_registered(op)
    } == set()
