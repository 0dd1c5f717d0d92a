"""Checkpoints without TensorFlow: the index (`<prefix>.index`) and the data shards (`<prefix>.data-00000-of-00001`).

The index is a sorted table of LevelDB's format (`table`) from keys (`ordered_code`) to entries (`entries`): dtype,
shape, and where in which shard the bytes lie (`index`). `tensors` reads and checks those bytes.

Sources: tensorflow/core/util/tensor_bundle/tensor_bundle.cc, tensorflow/core/protobuf/tensor_bundle.proto,
tensorflow/core/lib/io/table_format.txt. What is written is byte-identical to what TF writes.
"""
