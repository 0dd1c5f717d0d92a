"""What image modules say of their inputs: an attached ImageModuleInfo, else the shape in the signature."""

from __future__ import annotations

from typing import Any

from compat.hub import advice, create, protos

IMAGE_MODULE_INFO_KEY = "image_module_info"
ImageModuleInfo = protos.ImageModuleInfo
_DEFAULT_INPUT = "images"


def attach_image_module_info(image_module_info: Any) -> None:
    """Attaches an ImageModuleInfo to the module that is being defined."""
    advice.advise("attach_image_module_info")
    create.attach_bytes(IMAGE_MODULE_INFO_KEY, image_module_info.SerializeToString())


def get_image_module_info(module_or_spec: Any, required: bool = False) -> Any:
    """The attached ImageModuleInfo, or None.

    Raises:
      KeyError: `required`, and there is none.
    """
    return module_or_spec.get_attached_message(IMAGE_MODULE_INFO_KEY, ImageModuleInfo, required=required)


def get_expected_image_size(
    module_or_spec: Any, signature: str | None = None, input_name: str | None = None
) -> list[int]:
    """[height, width] in pixels that a module wants.

    Args:
      module_or_spec: Module or ModuleSpec.
      signature: None: "default".
      input_name: None: "images".

    Raises:
      ValueError: neither the attached message nor the signature tells.
    """
    advice.advise("get_expected_image_size")
    return find_image_size(module_or_spec, signature, input_name)


def find_image_size(module_or_spec: Any, signature: str | None = None, input_name: str | None = None) -> list[int]:
    """get_expected_image_size without advice, for feature columns."""
    info = get_image_module_info(module_or_spec)
    if info is not None and info.default_image_size.height and info.default_image_size.width:
        return [info.default_image_size.height, info.default_image_size.width]
    shape = _get_input_shape(module_or_spec, signature, input_name)
    # Items of a TensorShape are Dimensions where TF2 behaviour is disabled; those of as_list() never are.
    sizes: list[Any] = shape.as_list() if shape.rank == 4 else [None] * 4
    if not sizes[1] or not sizes[2]:
        raise ValueError(_describe(shape, "height and width"))
    return sizes[1:3]


def get_num_image_channels(module_or_spec: Any, signature: str | None = None, input_name: str | None = None) -> int:
    """Number of channels of a module's images, for those that are not RGB.

    Args:
      module_or_spec: Module or ModuleSpec.
      signature: None: "default".
      input_name: None: "images".

    Raises:
      ValueError: the signature does not tell.
    """
    advice.advise("get_num_image_channels")
    shape = _get_input_shape(module_or_spec, signature, input_name)
    channels = shape.as_list()[3] if shape.rank == 4 else None
    if channels is None:
        raise ValueError(_describe(shape, "num_channels"))
    return int(channels)


def _get_input_shape(module_or_spec: Any, signature: str | None, input_name: str | None) -> Any:
    key = input_name or _DEFAULT_INPUT
    infos = module_or_spec.get_input_info_dict(signature)
    if key not in infos:
        raise ValueError(f"Module is missing input '{key}' in signature '{signature or 'default'}'.")
    return infos[key].get_shape()


def _describe(shape: Any, wanted: str) -> str:
    return f"Shape of module input is {shape}, expected [batch_size, height, width, num_channels] with known {wanted}."
