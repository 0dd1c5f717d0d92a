"""Ops through which a graph reaches beyond its own tensors, and what each does there.

Every op of TensorFlow 2.21 and 1.15 (contrib included) was gone through; `tests/scan/test_ops.py` holds the table
against the ops that are registered, so that one that a later TensorFlow adds does not slip by. An op of an
--op_library is the user's own choice. Not listed: readers' methods and iterators, which do nothing without the op that
opens the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

READS, WRITES, CONNECTS, EXECUTES = "reads files", "writes files", "uses the network", "executes code"
STOPS = "stops the process"

_READING = (
    "ReadFile", "MatchingFiles", "WholeFileReader", "WholeFileReaderV2", "TextLineReader", "TextLineReaderV2",
    "TFRecordReader", "TFRecordReaderV2", "FixedLengthRecordReader", "FixedLengthRecordReaderV2", "LMDBReader",
    "RecordInput", "LoadAndRemapMatrix", "GenerateVocabRemapping", "ImmutableConst", "Skipgram",
    "TextLineDataset", "TFRecordDataset", "TFRecordDatasetV2", "FixedLengthRecordDataset", "FixedLengthRecordDatasetV2",
    "CSVDataset", "CSVDatasetV2", "ExperimentalCSVDataset", "SqlDataset", "ExperimentalSqlDataset", "LMDBDataset",
    "ExperimentalLMDBDataset", "MatchingFilesDataset", "ExperimentalMatchingFilesDataset", "SequenceFileDataset",
    "LoadDataset", "ListSnapshotChunksDataset", "SnapshotChunkDataset", "SnapshotDatasetReader",
    "SnapshotNestedDatasetReader", "DTensorRestoreV2", "InitializeTRTResource",
)  # fmt: skip
_WRITING = (
    "WriteFile", "DatasetToTFRecord", "ExperimentalDatasetToTFRecord", "SaveDataset", "SaveDatasetV2",
    "DistributedSave",
    "SnapshotDataset", "SnapshotDatasetV2", "CalibrationStatisticsSaver", "DumpTensor", "SummaryWriter",
    "CreateSummaryFileWriter", "CreateSummaryDbWriter", "WriteSummary", "WriteScalarSummary", "WriteHistogramSummary",
    "WriteImageSummary", "WriteAudioSummary", "WriteGraphSummary", "WriteRawProtoSummary", "ImportEvent",
    "FlushSummaryWriter", "CloseSummaryWriter", "StatsAggregatorSetSummaryWriter", "SerializeTRTResource",
    "DatasetToBigtable",
)  # fmt: skip
_CONNECTING = (
    "Rpc", "TryRpc", "RpcClient", "RpcServer", "RpcServerRegister", "RpcServerStart", "RpcCall", "RpcCheckStatus",
    "RpcGetValue", "DataServiceDataset", "DataServiceDatasetV2", "DataServiceDatasetV3", "DataServiceDatasetV4",
    "RegisterDataset", "RegisterDatasetV2", "RemoteCall", "RemoteFusedGraphExecute", "BigQueryReader",
    "GenerateBigQueryReaderPartitions", "BigtableClient", "BigtableTable", "BigtableLookupDataset",
    "BigtablePrefixKeyDataset", "BigtableRangeKeyDataset", "BigtableSampleKeyPairsDataset",
    "BigtableSampleKeysDataset", "BigtableScanDataset", "KafkaDataset", "KinesisDataset", "IgniteDataset",
    "GcsConfigureBlockCache", "GcsConfigureCredentials", "FileSystemSetConfiguration", "_Send", "_Recv", "_HostSend",
    "_HostRecv", "Send", "Recv",
)  # fmt: skip
_EXECUTING = (
    "PyFunc", "PyFuncStateless", "EagerPyFunc", "TRTEngineOp", "CreateTRTEngineCache", "CreateTRTResourceHandle",
    "PopulateTRTEngineCache", "DumpTRTEngineCache", "GetCalibrationDataOp", "XlaCallModule", "XlaCustomCall",
    "XlaCustomCallV2", "MlirPassthroughOp", "TPUCompile", "_TPUCompileMlir", "_XlaHostComputeMlir", "XlaHostCompute",
    "TPUExecute", "TPUExecuteAndUpdateVariables", "NeuronOp", "TfLiteSubgraphExecute", "DecodeAudio", "DecodeAudioV2",
    "EncodeAudio", "DecodeVideo",
    # A graph within a string, which no scan sees through.
    "DatasetFromGraph", "DeserializeIterator",
)  # fmt: skip
# Aborts the whole process, or tells a fleet of workers to.
_STOPPING = ("Abort", "WorkerHeartbeat")

# Ops of TF1's Saver, which may read and write the checkpoint that a loader names and nothing else (`file_names`).
RESTORE_OPS = frozenset({"Restore", "RestoreSlice", "RestoreV2"})
SAVE_OPS = frozenset({"Save", "SaveSlices", "SaveV2", "MergeV2Checkpoints"})
# What may read assets of its model and no other file (`file_names`): inputs of the names.
ASSET_OPS: Mapping[str, tuple[int, ...]] = {
    "InitializeTableFromTextFile": (1,),
    "InitializeTableFromTextFileV2": (1,),
    "ReadFile": (0,),
    "TextLineDataset": (0,),
    "TFRecordDataset": (0,),
    "TFRecordDatasetV2": (0,),
    "FixedLengthRecordDataset": (0,),
    "FixedLengthRecordDatasetV2": (0,),
    "CSVDataset": (0,),
    "CSVDatasetV2": (0,),
    "GenerateVocabRemapping": (0, 1),
}
# CacheDataset keeps its elements in the file of this input, in memory where it is "" (`file_names`).
CACHE_OPS = {"CacheDataset": 1, "CacheDatasetV2": 1}

UNSAFE_OPS: Mapping[str, str] = {
    **dict.fromkeys((op for op in _READING if op not in ASSET_OPS), READS),
    **dict.fromkeys(_WRITING, WRITES),
    **dict.fromkeys(_CONNECTING, CONNECTS),
    **dict.fromkeys(_EXECUTING, EXECUTES),
    **dict.fromkeys(_STOPPING, STOPS),
}

# Whatever stands in this table and is called as a function has no node whose inputs could be looked at.
_REACHING: Mapping[str, str] = {
    **UNSAFE_OPS,
    **dict.fromkeys((*RESTORE_OPS, *ASSET_OPS), READS),
    **dict.fromkeys((*SAVE_OPS, *CACHE_OPS), WRITES),
}

_LOCAL_DESCRIPTORS = (b"", b"local://")


def find_unsafe_use(node: Any) -> tuple[str, str]:
    """What a node does beyond its tensors by its op alone or by its attributes.

    Args:
      node: NodeDef.

    Returns:
      (what it does, the file or address that an attribute names); ("", "") where it does nothing of the kind.
    """
    kind = UNSAFE_OPS.get(node.op, "")
    if kind:
        return kind, _named_by_attributes(node)
    check = CONDITIONAL.get(node.op)
    return check(node) if check else ("", "")


def find_unsafe_call(name: str) -> str:
    """What an op does beyond its tensors, or may do, where it is called by its name as a function is; "" for nothing.

    TensorFlow runs an op of that name where the library has no such function (common_runtime/function.cc).
    """
    return _REACHING.get(name, "writes files, or reads them" if name in CONDITIONAL else "")


def _text(node: Any, name: str) -> bytes:
    return bytes(node.attr[name].s) if name in node.attr else b""


def _show(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _named_by_attributes(node: Any) -> str:
    for name in ("file_pattern", "filename", "memory_region_name", "log_dir_path", "output_file_path", "address"):
        if _text(node, name):
            return _show(_text(node, name))
    return ""


def _check_print(node: Any) -> tuple[str, str]:
    """PrintV2 appends to a file where output_stream is "file://..." (core/kernels/logging_ops.cc)."""
    stream = _text(node, "output_stream")
    return (WRITES, _show(stream)) if stream.startswith(b"file://") else ("", "")


def _check_debug(node: Any) -> tuple[str, str]:
    """tfdbg's ops write to file:// and send to grpc:// (core/debug/debug_io_utils.cc)."""
    urls = list(node.attr["debug_urls"].list.s) if "debug_urls" in node.attr else []
    return (WRITES, ", ".join(map(_show, urls))) if any(urls) else ("", "")


def _check_copy(node: Any) -> tuple[str, str]:
    """tfdbg's copies name the debug ops behind them: "DebugIdentity;file:///path;0" (core/kernels/debug_ops.h)."""
    specs = list(node.attr["debug_ops_spec"].list.s) if "debug_ops_spec" in node.attr else []
    return (WRITES, ", ".join(map(_show, specs))) if any(b"://" in spec for spec in specs) else ("", "")


def _check_descriptor(node: Any) -> tuple[str, str]:
    """DecodeProtoV2, EncodeProto: descriptors come from a file unless they are built in or given as bytes."""
    source = _text(node, "descriptor_source")
    inside = source in _LOCAL_DESCRIPTORS or source.startswith(b"bytes://")
    return ("", "") if inside else (READS, _show(source))


def _check_vocabulary(node: Any) -> tuple[str, str]:
    path = _text(node, "vocab_file")
    return (READS, _show(path)) if path else ("", "")


CONDITIONAL = {
    "Copy": _check_copy,
    "CopyHost": _check_copy,
    "PrintV2": _check_print,
    "DebugIdentity": _check_debug,
    "DebugIdentityV2": _check_debug,
    "DebugIdentityV3": _check_debug,
    "DebugNanCount": _check_debug,
    "DebugNumericSummary": _check_debug,
    "DebugNumericSummaryV2": _check_debug,
    "DecodeProtoV2": _check_descriptor,
    "EncodeProto": _check_descriptor,
    "FixedUnigramCandidateSampler": _check_vocabulary,
}
