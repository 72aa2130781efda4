"""GGUF version 3 files: a writer and a reader. Needs the standard library and NumPy only.

    writer = Writer()
    writer.add("general.architecture", "llama")
    writer.add("llama.block_count", 12)                  # ints are u32 unless a type is given
    writer.add_tensor("token_embd.weight", array, "Q6_K")  # [rows, cols]; quantized as asked
    writer.write("model.gguf")

    file = read("model.gguf")
    file.metadata["llama.block_count"], file.tensors["token_embd.weight"].dequantize()

Shapes here are NumPy's, the contiguous dimension last; in the file it comes first.
"""

import dataclasses
import os
import pathlib
import struct

import numpy as np

import quantize

MAGIC = b"GGUF"
VERSION = 3
ALIGNMENT = 32

# name -> (id, struct format)
_SCALARS = {"u8": (0, "<B"), "i8": (1, "<b"), "u16": (2, "<H"), "i16": (3, "<h"), "u32": (4, "<I"),
            "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?"), "u64": (10, "<Q"),
            "i64": (11, "<q"), "f64": (12, "<d")}
_STRING, _ARRAY = 8, 9
_BY_ID = {number: (name, form) for name, (number, form) in _SCALARS.items()}


class GgufError(ValueError):
    """A value that cannot be written, or a file that is damaged."""


def _text(value):
    data = value if isinstance(value, bytes) else value.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _scalar_type(value):
    if isinstance(value, (bool, np.bool_)):
        return "bool"
    if isinstance(value, (int, np.integer)):
        return "u32" if 0 <= value < 1 << 32 else "i32" if -(1 << 31) <= value < 0 else "i64"
    if isinstance(value, (float, np.floating)):
        return "f32"
    raise GgufError(f"{value!r} is no metadata value; expected str, bool, int, float or a list of one")


def _value(value, kind):
    """The type id and the bytes of a metadata value; `kind` is a scalar's or an element's type."""
    if isinstance(value, (str, bytes)):
        return struct.pack("<I", _STRING) + _text(value)
    if isinstance(value, (list, tuple, np.ndarray)):
        items = list(value)
        head = struct.pack("<I", _ARRAY)
        if kind == "str" or (items and isinstance(items[0], (str, bytes))):
            return head + struct.pack("<IQ", _STRING, len(items)) + b"".join(map(_text, items))
        if kind is None:
            kinds = {_scalar_type(item) for item in items}
            if kinds <= {"u32", "i32"} and len(kinds) == 2:
                kinds = {"i32"}
            if len(kinds) != 1:
                raise GgufError(f"a list of {sorted(kinds) or 'nothing'}: name its element type")
            kind = kinds.pop()
        number, form = _SCALARS[kind]
        packed = struct.pack(f"<{len(items)}{form[1]}", *items)
        return head + struct.pack("<IQ", number, len(items)) + packed
    number, form = _SCALARS[kind or _scalar_type(value)]
    return struct.pack("<I", number) + struct.pack(form, value)


class Writer:
    def __init__(self):
        self._keys = {}
        self._tensors = {}

    def add(self, key, value, kind=None):
        """`kind` ("u32", "f32", "bool", "str", ...): the type of the value, or of a list's elements."""
        if key in self._keys:
            raise GgufError(f"key {key} is there already")
        self._keys[key] = _text(key) + _value(value, kind)

    def add_tensor(self, name, array, kind="F32", importance=None):
        """Quantizes `array` [..., cols] to `kind` now. `importance` [cols]: weights of the squared
        error a column (see quantize.py)."""
        if name in self._tensors:
            raise GgufError(f"tensor {name} is there already")
        array = np.asarray(array, dtype=np.float32)
        if not 1 <= array.ndim <= 4:
            raise GgufError(f"tensor {name} has {array.ndim} dimensions; expected 1 to 4")
        if not np.isfinite(array).all():
            raise GgufError(f"tensor {name} holds values that are not finite")
        data = quantize.quantize(array.reshape(-1, array.shape[-1]), kind, importance)
        self._tensors[name] = (array.shape, kind, data)

    def write(self, path):
        out = [MAGIC, struct.pack("<IQQ", VERSION, len(self._tensors), len(self._keys))]
        out += self._keys.values()
        offset = 0
        for name, (shape, kind, data) in self._tensors.items():
            out.append(_text(name) + struct.pack("<I", len(shape)))
            out.append(struct.pack(f"<{len(shape)}Q", *reversed(shape)))
            out.append(struct.pack("<IQ", quantize.TYPES[kind].id, offset))
            offset += -(-data.nbytes // ALIGNMENT) * ALIGNMENT
        head = b"".join(out)
        partial = pathlib.Path(f"{path}.part")  # nobody ever opens half a file
        with open(partial, "wb") as file:
            file.write(head + bytes(-len(head) % ALIGNMENT))
            for _, _, data in self._tensors.values():
                file.write(np.ascontiguousarray(data))
                file.write(bytes(-data.nbytes % ALIGNMENT))
        os.replace(partial, path)


@dataclasses.dataclass
class Tensor:
    shape: tuple
    kind: str
    data: np.ndarray  # uint8 [rows, bytes a row]

    def dequantize(self):
        return quantize.dequantize(self.data, self.kind).reshape(self.shape)


@dataclasses.dataclass
class File:
    metadata: dict
    tensors: dict


class _Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if n > len(self.data) - self.at:
            raise GgufError(f"the file ends at byte {len(self.data)}, inside a value that begins at "
                            f"{self.at}")
        self.at += n
        return self.data[self.at - n:self.at]

    def unpack(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def text(self):
        (n,) = self.unpack("<Q")
        return bytes(self.take(n)).decode("utf-8", errors="surrogateescape")

    def value(self):
        (number,) = self.unpack("<I")
        if number == _STRING:
            return self.text()
        if number == _ARRAY:
            element, count = self.unpack("<IQ")
            if element == _STRING:
                return [self.text() for _ in range(count)]
            if element not in _BY_ID:
                raise GgufError(f"arrays of type {element} are not supported")
            form = _BY_ID[element][1]
            return list(struct.unpack(f"<{count}{form[1]}", self.take(count * struct.calcsize(form))))
        if number not in _BY_ID:
            raise GgufError(f"metadata type {number} is unknown")
        return self.unpack(_BY_ID[number][1])[0]


def read(path):
    """Metadata and tensors of a file. Tensors are views of a mapping of it."""
    data = np.memmap(path, dtype=np.uint8, mode="r")
    cursor = _Cursor(memoryview(data))
    if bytes(cursor.take(4)) != MAGIC:
        raise GgufError(f"{path} is no GGUF file")
    version, n_tensors, n_keys = cursor.unpack("<IQQ")
    if version not in (2, 3):
        raise GgufError(f"{path} has GGUF version {version}; 2 and 3 are supported")
    metadata = {}
    for _ in range(n_keys):
        key = cursor.text()
        metadata[key] = cursor.value()
    entries = []
    for _ in range(n_tensors):
        name = cursor.text()
        (n_dims,) = cursor.unpack("<I")
        shape = tuple(reversed(cursor.unpack(f"<{n_dims}Q")))
        number, offset = cursor.unpack("<IQ")
        entries.append((name, shape, number, offset))
    alignment = metadata.get("general.alignment", ALIGNMENT)
    begin = -(-cursor.at // alignment) * alignment
    tensors = {}
    for name, shape, number, offset in entries:
        kind = quantize.BY_ID.get(number)
        if kind is None:
            raise GgufError(f"tensor {name} has the unknown type {number}")
        row = quantize.row_bytes(kind, shape[-1])
        rows = int(np.prod(shape[:-1], dtype=np.int64))
        if begin + offset + row * rows > data.size:
            raise GgufError(f"{path} ends inside tensor {name}")
        view = data[begin + offset:begin + offset + row * rows].reshape(rows, row)
        tensors[name] = Tensor(shape, kind, view)
    return File(metadata, tensors)
