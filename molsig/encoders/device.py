"""Which processor the encoders run on: CUDA when torch sees it, and always said."""

from __future__ import annotations

from molsig.errors import UsageError

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str = "auto") -> str:
    """Turn a request into a device that is there; loads torch.

    Parameters
    ----------
    name
        ``auto`` takes CUDA when torch sees it and the CPU otherwise; ``cpu``, ``mps``, ``cuda`` or ``cuda:1`` name one.

    Returns
    -------
    str
        A name that `torch.device` takes.

    Raises
    ------
    UsageError
        The name is unknown, or torch does not see such a device.
    """
    import torch

    kind, _, number = name.partition(":")
    if kind not in DEVICES or (number and not (kind == "cuda" and number.isdecimal())):
        raise UsageError(f"{name!r} is no device: use {', '.join(DEVICES)} or cuda:N")
    if kind == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UsageError(f"torch sees no device {name!r} here; use auto or cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError("torch sees no device 'mps' here; use auto or cpu")
    return name
