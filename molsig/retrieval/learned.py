"""What a reference has learned about fusing its modalities, on disk: ``fusion/<label>-<hash>.safetensors``.

One file, written under another name and renamed: arrays, and in the header a card as JSON with a SHA-256 of both. It is
derived, as an index is: one that does not match its hash, or that was learned on other encoders, is passed over with a
word and can be learned again.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import DamagedError
from molsig.index.whole_file import write_whole
from molsig.retrieval.calibration import Quantiles
from molsig.retrieval.evidence import EvidenceModel
from molsig.retrieval.familiarity import Familiarity
from molsig.retrieval.heads import Head, JointHead
from molsig.retrieval.numbers import NumberVote
from molsig.retrieval.stacking import Stack
from molsig.retrieval.weighted import Weighted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

FOLDER = "fusion"
FORMAT = 2
NO_LABEL = "weights"
"""File name of what was learned without labels."""

_REMEDY = "Learn it again: molsig learn"


@dataclass(frozen=True, eq=False)
class Learned:
    """Weights without labels, and the evidence for one label if there is one.

    Attributes
    ----------
    label
        Patient column; None where only weights were learned.
    groups
        Patient column whose values were kept whole between folds; None for single patients.
    spaces
        By modality, the space its vectors came from.
    rows
        By modality, how many vectors it had.
    numbers
        By numeric column, the errors of votes on it.
    """

    label: str | None
    groups: str | None
    spaces: Mapping[str, str]
    rows: Mapping[str, int]
    weighted: Weighted
    evidence: EvidenceModel | None
    numbers: Mapping[str, NumberVote]
    seed: int
    snapshot: int
    created: str

    def fits(self, spaces: Mapping[str, str]) -> bool:
        """Whether the spaces in use are those it was learned on."""
        return all(spaces.get(modality) == space for modality, space in self.spaces.items())


def too_good_for(name: str) -> str:
    """What is to be known of probabilities by evidence of a stored patient."""
    return (
        f"{name} may be one of the patients that the evidence was learned from: probabilities are too good for it then"
    )


def path_of(reference: Path, label: str | None) -> Path:
    """Where a label's file lies."""
    if label is None:
        return reference / FOLDER / f"{NO_LABEL}.safetensors"
    name = re.sub(r"[^A-Za-z0-9]+", "-", label)[:32].strip("-").lower()
    return reference / FOLDER / f"{name}-{hashlib.sha256(label.encode()).hexdigest()[:8]}.safetensors"


def save(learned: Learned, reference: Path) -> Path:
    """Write it into the reference's folder, in one step; `OSError` if it cannot be, and nothing has changed."""
    from safetensors.numpy import save as tensors_bytes

    arrays, card = _taken_apart(learned)
    text = json.dumps(card)
    # One entry, since several come in any order and the same content would not be the same file.
    data = tensors_bytes(arrays, metadata={"molsig": f"{_digest(arrays, text)} {text}"})
    path = path_of(reference, learned.label)
    write_whole(path, data, step="fusion")
    return path


def load(reference: Path, label: str | None) -> Learned | None:
    """Read what was learned for a label; None where nothing was.

    Raises
    ------
    DamagedError
        The file is not what was written.
    """
    path = path_of(reference, label)
    return _read(path) if path.exists() else None


def load_all(reference: Path) -> tuple[list[Learned], list[str]]:
    """Read everything that was learned, by label, and what is to be said of files that cannot be read."""
    found: list[Learned] = []
    damaged: list[str] = []
    for path in sorted((reference / FOLDER).glob("*.safetensors")):
        try:
            found.append(_read(path))
        except DamagedError as error:
            damaged.append(str(error))
    return sorted(found, key=lambda one: (one.label is None, one.label or "")), damaged


def _read(path: Path) -> Learned:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        digest, _, text = header["molsig"].partition(" ")
        if digest != _digest(arrays, text):
            raise DamagedError(f"{path} is not what was written: its SHA-256 differs. {_REMEDY}")
        card = json.loads(text)
        if card["format"] != FORMAT:
            raise DamagedError(f"{path} has format {card['format']}; this molsig reads {FORMAT}. {_REMEDY}")
        return _put_together(arrays, card)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read: {error}. {_REMEDY}") from None


def _digest(arrays: Mapping[str, NDArray[Any]], card: str) -> str:
    digest = hashlib.sha256(card.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _taken_apart(learned: Learned) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    arrays: dict[str, NDArray[Any]] = {f"centre.{m}": c for m, c in learned.weighted.centres.items()}
    card: dict[str, Any] = {
        "format": FORMAT,
        "label": learned.label,
        "groups": learned.groups,
        "spaces": dict(learned.spaces),
        "rows": dict(learned.rows),
        "weights": dict(learned.weighted.weights),
        "seed": learned.seed,
        "snapshot": learned.snapshot,
        "created": learned.created,
        "numbers": {},
    }
    for place, (name, number) in enumerate(learned.numbers.items()):
        arrays[f"residuals.{place}"] = number.residuals.values
        card["numbers"][name] = {
            "typical": number.typical,
            "n": number.residuals.n,
            "error": number.error,
            "plain_error": number.plain_error,
        }
    model = learned.evidence
    if model is None:
        return arrays, card
    for modality, head in model.heads.items():
        arrays[f"linear.{modality}"] = head.linear.astype(np.float32)
        arrays[f"gaussian.{modality}"] = head.gaussian.astype(np.float32)
        arrays[f"mean.{modality}"] = head.mean
        arrays[f"prior.{modality}"] = head.log_prior
    known = model.familiarity
    arrays |= {f"unfamiliar.{m}": one.values for m, one in known.unfamiliar.items()}
    arrays |= {f"far.{code}": one.values for code, one in known.far.items()}
    arrays |= {f"strange.{code}": one.values for code, one in known.strange.items()}
    arrays["signs"] = known.weights
    if model.joint is not None:
        arrays |= {"joint": model.joint.linear.astype(np.float32), "prior-joint": model.joint.log_prior}
    arrays |= {f"stack.{code}": weights for code, weights in model.stack.weights.items()}
    arrays |= {"needs": model.stack.needs, "prior": model.log_prior, "information": model.information}
    for code in model.nonconformity:
        arrays[f"nonconformity.{code}"] = model.nonconformity[code].values
    card["evidence"] = {
        "classes": list(model.classes),
        "heads": {m: {"unit": h.unit, "scale": h.scale} for m, h in model.heads.items()},
        "unfamiliar": {m: one.n for m, one in known.unfamiliar.items()},
        "far": {str(code): one.n for code, one in known.far.items()},
        "strange": {str(code): one.n for code, one in known.strange.items()},
        "joint": None if model.joint is None else list(model.joint.modalities),
        "calibrated": {str(code): one.n for code, one in model.nonconformity.items()},
        "scores": dict(model.scores),
    }
    return {name: np.ascontiguousarray(one) for name, one in arrays.items()}, card


def _put_together(arrays: Mapping[str, NDArray[Any]], card: Mapping[str, Any]) -> Learned:
    weights = {str(m): float(w) for m, w in card["weights"].items()}
    weighted = Weighted({m: arrays[f"centre.{m}"] for m in weights}, weights)
    evidence = None
    if told := card.get("evidence"):
        heads = {
            m: Head(
                bool(one["unit"]),
                arrays[f"mean.{m}"],
                float(one["scale"]),
                arrays[f"linear.{m}"].astype(np.float64),
                arrays[f"gaussian.{m}"].astype(np.float64),
                arrays[f"prior.{m}"],
            )
            for m, one in told["heads"].items()
        }
        joint = None
        if told["joint"] is not None:
            one, other = told["joint"]
            joint = JointHead((one, other), arrays["joint"].astype(np.float64), arrays["prior-joint"])
        codes = {int(code): int(n) for code, n in told["calibrated"].items()}
        evidence = EvidenceModel(
            tuple(told["classes"]),
            heads,
            joint,
            Stack(arrays["needs"], {code: arrays[f"stack.{code}"] for code in range(1, 1 << len(heads))}),
            arrays["prior"],
            arrays["information"],
            {code: Quantiles(n, arrays[f"nonconformity.{code}"]) for code, n in codes.items()},
            Familiarity(
                {m: Quantiles(int(n), arrays[f"unfamiliar.{m}"]) for m, n in told["unfamiliar"].items()},
                {int(code): Quantiles(int(n), arrays[f"far.{code}"]) for code, n in told["far"].items()},
                arrays["signs"],
                {int(code): Quantiles(int(n), arrays[f"strange.{code}"]) for code, n in told["strange"].items()},
            ),
            told["scores"],
        )
    numbers = {
        name: NumberVote(
            float(one["typical"]),
            Quantiles(int(one["n"]), arrays[f"residuals.{place}"]),
            float(one["error"]),
            float(one["plain_error"]),
        )
        for place, (name, one) in enumerate(card["numbers"].items())
    }
    return Learned(
        card["label"],
        card["groups"],
        dict(card["spaces"]),
        dict(card["rows"]),
        weighted,
        evidence,
        numbers,
        int(card["seed"]),
        int(card["snapshot"]),
        str(card["created"]),
    )
