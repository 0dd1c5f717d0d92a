"""Keras models in whatever file they lie: Keras rebuilds them, what it computes is traced into TF1-like variants.

hdf5                        what an HDF5 file holds, told without TensorFlow
configs, lambdas, custom    configs as data; code that a file holds; objects of the user's own
lambda_layer                Lambda layers with their functions
upgrade, merging            configs of Keras 1 and early Keras 2 -> today's
old_weights, old_layers     their weights, and layers that are gone or compute otherwise today
channels_first              layers with channels first, on devices whose kernels have them last
stored_weights, naming      HDF5 -> the layers of a model, every weight accounted for; names of variables
checkpoint_weights          values of a TensorFlow checkpoint -> the variables of a model
numbered_weights            Keras' *.weights.h5 -> the variables of a model
architecture                the model of weights that have none with them
safety                      what a config may not name
scanning                    all that is unsafe in a file, Keras not loaded
loading                     a source -> Keras model
models, tracing             how a model is called; Keras model -> GraphVariants and a checkpoint
reader                      Source -> LegacyModel
"""
