"""Calls SavedModels through TensorFlow's C API alone, as the bindings for Java, Go and Rust do.

    python c_api.py LIBRARY FOLDER < REQUESTS

LIBRARY is libtensorflow_cc; TensorFlow's Python is not loaded. Each line of standard input is JSON: {"name", "path",
"tags": [tag], "session": name, "feeds": {tensor name: .npy file in FOLDER}, "fetches": [tensor name]}; strings are
arrays of bytes. Requests of one session find the state that the earlier ones left. Prints a line for each: {"name",
"outputs": {tensor name: .npy file}} or {"name", "error"}; bfloat16 comes as float32. The calls are those of
tensorflow/c/c_api.h, in the order in which org.tensorflow.SavedModelBundle makes them.
"""

import ctypes
import json
import os
import sys

import numpy as np

# tensorflow/c/tf_datatype.h
_DTYPES = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "complex64": 8, "int64": 9, "bool": 10,
    "uint16": 17, "complex128": 18, "float16": 19, "uint32": 22, "uint64": 23,
}  # fmt: skip
_STRING, _BFLOAT16 = 7, 14
_NUMPY = {number: name for name, number in _DTYPES.items()}
_TSTRING_BYTES = 24  # sizeof(TF_TString), tensorflow/core/platform/ctstring_internal.h

_Pointer = ctypes.c_void_p


class _Output(ctypes.Structure):
    """TF_Output."""

    _fields_ = (("operation", _Pointer), ("index", ctypes.c_int))


class _Library:
    """The functions of the C API with their types."""

    def __init__(self, path):
        self._library = ctypes.CDLL(path)
        names = ctypes.POINTER(ctypes.c_char_p)
        outputs, tensors = ctypes.POINTER(_Output), ctypes.POINTER(_Pointer)
        count, size = ctypes.c_int, ctypes.c_size_t
        self.new_status = self._find("TF_NewStatus", _Pointer)
        self.code = self._find("TF_GetCode", ctypes.c_int, _Pointer)
        self.message = self._find("TF_Message", ctypes.c_char_p, _Pointer)
        self.new_graph = self._find("TF_NewGraph", _Pointer)
        self.new_options = self._find("TF_NewSessionOptions", _Pointer)
        self.load = self._find(
            "TF_LoadSessionFromSavedModel", _Pointer,
            _Pointer, _Pointer, ctypes.c_char_p, names, count, _Pointer, _Pointer, _Pointer,
        )  # fmt: skip
        self.find_operation = self._find("TF_GraphOperationByName", _Pointer, _Pointer, ctypes.c_char_p)
        self.run = self._find(
            "TF_SessionRun", None,
            _Pointer, _Pointer, outputs, tensors, count, outputs, tensors, count, _Pointer, count, _Pointer, _Pointer,
        )  # fmt: skip
        self.close = self._find("TF_CloseSession", None, _Pointer, _Pointer)
        self.new_tensor = self._find(
            "TF_AllocateTensor", _Pointer, ctypes.c_int, ctypes.POINTER(ctypes.c_int64), count, size
        )
        self.data = self._find("TF_TensorData", _Pointer, _Pointer)
        self.byte_size = self._find("TF_TensorByteSize", size, _Pointer)
        self.type = self._find("TF_TensorType", ctypes.c_int, _Pointer)
        self.rank = self._find("TF_NumDims", count, _Pointer)
        self.dim = self._find("TF_Dim", ctypes.c_int64, _Pointer, count)
        self.init_string = self._find("TF_StringInit", None, _Pointer)
        self.copy_string = self._find("TF_StringCopy", None, _Pointer, ctypes.c_char_p, size)
        self.string_data = self._find("TF_StringGetDataPointer", _Pointer, _Pointer)
        self.string_size = self._find("TF_StringGetSize", size, _Pointer)

    def _find(self, name, result, *arguments):
        function = getattr(self._library, name)
        function.restype, function.argtypes = result, arguments
        return function

    def check(self, status):
        if self.code(status):
            raise RuntimeError(self.message(status).decode())

    def to_tensor(self, array):
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        if array.dtype.kind in "OS":
            tensor = self.new_tensor(_STRING, dims, array.ndim, array.size * _TSTRING_BYTES)
            for position, text in enumerate(array.reshape(-1).tolist()):
                place = self.data(tensor) + position * _TSTRING_BYTES
                self.init_string(place)
                self.copy_string(place, text, len(text))
            return tensor
        array = array.copy(order="C")  # np.ascontiguousarray would give a scalar the rank 1, past the end of `dims`
        tensor = self.new_tensor(_DTYPES[array.dtype.name], dims, array.ndim, array.nbytes)
        ctypes.memmove(self.data(tensor), array.ctypes.data, array.nbytes)
        return tensor

    def to_array(self, tensor):
        shape = [self.dim(tensor, axis) for axis in range(self.rank(tensor))]
        kind = self.type(tensor)
        if kind == _STRING:
            found = np.empty(int(np.prod(shape, dtype=int)), dtype=object)
            for position in range(found.size):
                place = self.data(tensor) + position * _TSTRING_BYTES
                found[position] = ctypes.string_at(self.string_data(place), self.string_size(place))
            return found.reshape(shape)
        data = ctypes.string_at(self.data(tensor), self.byte_size(tensor))
        if kind == _BFLOAT16:  # NumPy has none: the upper halves of float32
            return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
        return np.frombuffer(data, dtype=_NUMPY[kind]).reshape(shape)


def load_model(library, request):
    """(session, graph) of a model."""
    status, graph = library.new_status(), library.new_graph()
    tags = (ctypes.c_char_p * len(request["tags"]))(*(tag.encode() for tag in request["tags"]))
    path = os.fsencode(request["path"])
    session = library.load(library.new_options(), None, path, tags, len(tags), graph, None, status)
    library.check(status)
    return session, graph


def call_model(library, session, graph, request, folder):
    """Runs a model once; files of the outputs by tensor name."""
    status = library.new_status()

    def find(name):
        operation, _, index = name.partition(":")
        found = library.find_operation(graph, operation.encode())
        if not found:
            raise RuntimeError(f"the graph has no operation {operation}")
        return _Output(found, int(index or 0))

    feeds = {name: np.load(os.path.join(folder, file), allow_pickle=True) for name, file in request["feeds"].items()}
    inputs = (_Output * len(feeds))(*(find(name) for name in feeds))
    given = (_Pointer * len(feeds))(*(library.to_tensor(array) for array in feeds.values()))
    fetches = request["fetches"]
    outputs, taken = (_Output * len(fetches))(*(find(name) for name in fetches)), (_Pointer * len(fetches))()
    library.run(session, None, inputs, given, len(feeds), outputs, taken, len(fetches), None, 0, None, status)
    library.check(status)
    files = {}
    for position, name in enumerate(fetches):
        files[name] = f"{request['name']}-{position}.npy"
        np.save(os.path.join(folder, files[name]), library.to_array(taken[position]), allow_pickle=True)
    return files


def main():
    library, sessions = _Library(sys.argv[1]), {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["session"] not in sessions:
                sessions[request["session"]] = load_model(library, request)
            answer = {"outputs": call_model(library, *sessions[request["session"]], request, sys.argv[2])}
        except RuntimeError as error:
            answer = {"error": str(error)}
        print(json.dumps({"name": request["name"], **answer}), flush=True)
    for session, _ in sessions.values():
        library.close(session, library.new_status())


if __name__ == "__main__":
    main()
