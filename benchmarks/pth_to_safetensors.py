"""torch's checkpoint becomes safetensors: ``python -m benchmarks.pth_to_safetensors IN.pth OUT.safetensors``.

Nothing in the file is executed. `pickletools.genops` only lists the opcodes of a pickle; a stack machine of a few of
them builds dicts, lists and numbers, keeps every named global as a word, and knows two calls: an ordered dict, and a
tensor over a storage. Any other opcode, global or call is refused. Both layouts are read: the one of torch before 1.6
(pickles, then raw storages) and the zip archive.

With ``--timm MODEL`` the tensors get the names of that timm model, matched one by one in their order: every shape has
to agree, and so has the kind of each (weight, bias, running mean ...).
"""

from __future__ import annotations

import argparse
import io
import pickletools
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

_DTYPES: dict[str, str] = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "|u1",
}

_MARK = object()


@dataclass(frozen=True)
class Name:
    """A global that the pickle names, ``collections OrderedDict``; never looked up."""

    dotted: str


@dataclass(frozen=True)
class Storage:
    """A run of numbers that lies elsewhere in the file."""

    dtype: str
    key: str
    numel: int


@dataclass(frozen=True)
class TensorOver:
    """A strided view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_pickle(file: BinaryIO) -> Any:
    """Build what one pickle describes, without running anything.

    Raises
    ------
    ValueError
        An opcode, a global or a call beside those of a plain state dict.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def above_mark() -> list[Any]:
        place = max(i for i, one in enumerate(stack) if one is _MARK)
        taken = stack[place + 1 :]
        del stack[place:]
        return taken

    for opcode, argument, position in pickletools.genops(file):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                stack.append(_MARK)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "SHORT_BINSTRING" | "BINSTRING":
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(above_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                taken = tuple(stack[-count:])
                del stack[-count:]
                stack.append(taken)
            case "APPEND":
                value = stack.pop()
                stack[-1].append(value)
            case "APPENDS":
                values = above_mark()
                stack[-1].extend(values)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                stack[-1][key] = value
            case "SETITEMS":
                pairs = above_mark()
                stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                memo[int(argument or 0)] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[int(argument or 0)])
            case "GLOBAL":
                stack.append(Name(str(argument).replace(" ", ".")))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments, callee = stack.pop(), stack.pop()
                stack.append(_call(callee, arguments))
            case "BUILD":
                # The attributes of an ordered dict (torch keeps `_metadata` there) are of no use here.
                stack.pop()
            case other:
                raise ValueError(f"opcode {other} at byte {position} has no place in a state dict")
    raise ValueError("the pickle ends without STOP")


def _storage(identity: Any) -> Storage:
    if not (isinstance(identity, tuple) and identity[0] == "storage" and isinstance(identity[1], Name)):
        raise ValueError(f"{identity!r} is no storage")
    kind = identity[1].dotted.removeprefix("torch.")
    if kind not in _DTYPES:
        raise ValueError(f"storages of {kind} are not read")
    return Storage(_DTYPES[kind], str(identity[2]), int(identity[4]))


def _call(callee: Any, arguments: Any) -> Any:
    match callee:
        case Name("collections.OrderedDict") if not arguments:
            return {}
        case Name("torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor"):
            storage, offset, shape, strides, *_ = arguments
            return TensorOver(storage, int(offset), tuple(shape), tuple(strides))
        case Name("torch._utils._rebuild_parameter"):
            return arguments[0]
    raise ValueError(f"the file wants to call {callee}, which is not done")


def read_checkpoint(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a state dict, in its order.

    Raises
    ------
    ValueError
        Not a checkpoint of torch, or one that holds more than a state dict.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickle = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            root = pickle.removesuffix("data.pkl")
            described = read_pickle(io.BytesIO(archive.read(pickle)))
            return _tensors(described, lambda key: archive.read(f"{root}data/{key}"))
    with path.open("rb") as file:
        if read_pickle(file) != LEGACY_MAGIC:
            raise ValueError(f"{path} is no checkpoint of torch")
        read_pickle(file)
        if not read_pickle(file).get("little_endian", True):
            raise ValueError(f"{path} was written on a big-endian machine")
        described = read_pickle(file)
        storages: dict[str, bytes] = {}
        sizes = {one.storage.key: np.dtype(one.storage.dtype).itemsize for one in _views(described).values()}
        for key in read_pickle(file):
            (numel,) = struct.unpack("<q", file.read(8))
            storages[str(key)] = file.read(numel * sizes[str(key)])
        return _tensors(described, storages.__getitem__)


def _views(described: Any) -> Mapping[str, TensorOver]:
    if not isinstance(described, dict):
        raise TypeError(f"a state dict is needed, the file holds a {type(described).__name__}")
    if isinstance(described.get("state_dict"), dict):
        described = described["state_dict"]
    return {str(name): one for name, one in described.items() if isinstance(one, TensorOver)}


def _tensors(described: Any, bytes_of: Callable[[str], bytes]) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for name, one in _views(described).items():
        whole = np.frombuffer(bytes_of(one.storage.key), dtype=one.storage.dtype)
        if len(whole) != one.storage.numel:
            raise ValueError(f"the storage of {name} is cut short")
        last = one.offset + sum((n - 1) * step for n, step in zip(one.shape, one.strides, strict=True))
        if one.offset < 0 or min(one.strides, default=0) < 0 or (0 not in one.shape and last >= len(whole)):
            raise ValueError(f"{name} leads out of its storage")
        strides = tuple(step * whole.itemsize for step in one.strides)
        view = np.lib.stride_tricks.as_strided(whole[one.offset :], one.shape, strides, writeable=False)
        found[name] = np.ascontiguousarray(view).reshape(one.shape)
    return found


def rename_for_timm(tensors: Mapping[str, NDArray[Any]], model: str) -> dict[str, NDArray[Any]]:
    """Give tensors the names of a timm model: the same number of them, in the same order, of the same shapes and kinds.

    Raises
    ------
    ValueError
        The first tensor that does not agree.
    """
    from molsig.encoders.timm_model import create

    wanted = {
        name: tuple(one.shape)
        for name, one in create(model, {}, with_classifier=True).state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    given = {name: one for name, one in tensors.items() if not name.endswith("num_batches_tracked")}
    if len(wanted) != len(given):
        raise ValueError(f"{len(given)} tensors, and {model} has {len(wanted)}")
    renamed = {}
    for (new, shape), (old, one) in zip(wanted.items(), given.items(), strict=True):
        if shape != one.shape or new.rpartition(".")[2] != old.rpartition(".")[2]:
            raise ValueError(f"{old} {one.shape} cannot be {new} {shape}")
        renamed[new] = one
    return renamed


def main() -> None:
    """Convert one file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--timm", help="name of the timm model whose tensor names are wanted")
    options = parser.parse_args()
    tensors = read_checkpoint(options.source)
    if options.timm:
        tensors = rename_for_timm(tensors, options.timm)
    save_file(tensors, options.target)
    print(f"{len(tensors)} tensors, {sum(one.size for one in tensors.values()):,} numbers: {options.target}")


if __name__ == "__main__":
    main()
