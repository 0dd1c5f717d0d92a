"""Keras models in whatever file they lie: Keras rebuilds them, what it computes is traced into TF1-like variants.

hdf5       what an HDF5 file holds, told without TensorFlow
lambdas    Lambda layers: code that the file holds
custom     objects of the user's own
loading    a source -> Keras model, with the names that its file gives the weights
tracing    Keras model -> GraphVariants and a checkpoint
reader     Source -> LegacyModel
"""
