"""The TF2 spelling of each removed name. No TensorFlow import: the code scanner reads this, too."""

from __future__ import annotations

from collections.abc import Mapping

# Names below tensorflow_hub.
HUB: Mapping[str, str] = {
    "Module": "migrate the module (migrate-model --source=M --dest=D), then hub.KerasLayer(D, trainable=...) "
    "or tf.saved_model.load(D)",
    "ModuleSpec": "the loaded object: tf.saved_model.load(hub.resolve(handle))",
    "ImageModuleInfo": "a static input shape in the tf.function's input_signature",
    "Module.export": "tf.saved_model.save(obj, path)",
    "ModuleSpec.export": "tf.train.Checkpoint(...).restore(checkpoint), then tf.saved_model.save(obj, path)",
    "create_module_spec": "a tf.Module whose __call__ is a tf.function, saved with tf.saved_model.save",
    "create_module_spec_from_saved_model": "migrate-model --source=SAVED_MODEL --dest=D, then tf.saved_model.load(D)",
    "add_signature": "tf.saved_model.save(obj, path, signatures={name: concrete_function})",
    "attach_message": "a file in assets.extra/ of the SavedModel, or an attribute of the saved tf.Module",
    "load_module_spec": "tf.saved_model.load(hub.resolve(handle)).signatures",
    "eval_function_for_module": "tf.saved_model.load(D): call the loaded object eagerly",
    "LatestModuleExporter": "tf.saved_model.save in the training loop, or tf.keras.callbacks.ModelCheckpoint",
    "register_module_for_export": "tf.saved_model.save of the sub-object",
    "text_embedding_column": "hub.KerasLayer(D, input_shape=[], dtype=tf.string)",
    "text_embedding_column_v2": "hub.KerasLayer(D, input_shape=[], dtype=tf.string)",
    "image_embedding_column": "hub.KerasLayer(D) over images of [batch, height, width, 3]",
    "sparse_text_embedding_column": "hub.KerasLayer(D) over tokens, combined with tf.nn.embedding_lookup_sparse",
    "attach_image_module_info": "a static input shape in the tf.function's input_signature",
    "get_expected_image_size": "the static input shape of the signature: "
    "tf.saved_model.load(D).signatures[...].structured_input_signature",
    "get_num_image_channels": "the static input shape of the signature: "
    "tf.saved_model.load(D).signatures[...].structured_input_signature",
}

# Names below tensorflow_hub that are no method and that it kept; the stand-in has them, too.
HUB_KEPT = frozenset({"KerasLayer", "__version__", "load", "resolve"})

# Modules below tensorflow_hub 0.15 that the stand-in has, too, and that are no names of the above.
HUB_SUBMODULES = frozenset(
    {
        "compressed_module_resolver",
        "config",
        "estimator",
        "feature_column",
        "feature_column_v2",
        "file_utils",
        "image_module_info_pb2",
        "image_util",
        "keras_layer",
        "module",
        "module_attachment_pb2",
        "module_def_pb2",
        "module_impl",
        "module_spec",
        "module_v2",
        "native_module",
        "registry",
        "resolver",
        "saved_model_lib",
        "saved_model_module",
        "tensor_info",
        "tf_utils",
        "uncompressed_module_resolver",
        "version",
    }
)

# Names elsewhere, fully qualified.
OTHER: Mapping[str, str] = {
    "tensorflow.contrib.predictor.from_saved_model": "tf.saved_model.load(export_dir).signatures[key]",
}
