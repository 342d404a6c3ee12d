"""What differs in metastases of the types of a reference, on a file of measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.encoders.metric import LEAST
from molsig.errors import InputError
from molsig.reference.measured import read_measured
from molsig.retrieval.metastatic import FOLDS, metastatic

if TYPE_CHECKING:
    from molsig.index.store import Store
    from molsig.ingest.cohort import Cohort
    from molsig.retrieval.metastatic import Metastatic
    from molsig.types import Progress

Q = 0.05
"""False discovery rate up to which a difference is counted."""
_MOSTLY = 0.8
"""Share of the metastases from which on a list is said to be of one type."""


@dataclass(frozen=True, slots=True)
class MetastaticReport:
    """Features ranked by what differs in metastases; `scale` is that of the differences."""

    modality: str
    label: str
    file: str
    scale: str
    found: Metastatic
    notes: tuple[str, ...]

    @property
    def significant(self) -> int:
        """Features with q below `Q`."""
        return int((self.found.whole.q < Q).sum())

    def rows(self, top: int) -> list[dict[str, Any]]:
        """The first features by |t|: rank, name, difference, t, q, and in how many types the sign is that one."""
        whole = self.found.whole
        return [
            {
                "rank": rank,
                "feature": self.found.features[place],
                "difference": float(whole.difference[place]),
                "t": float(whole.t[place]),
                "q": float(whole.q[place]),
                "same_sign_in": sum(
                    bool(np.sign(of[place]) == np.sign(whole.t[place])) for of in self.found.by_type.values()
                ),
                "by_type": {name: float(of[place]) for name, of in self.found.by_type.items()},
            }
            for rank, place in enumerate(whole.ranking()[:top].tolist(), 1)
        ]

    def to_dict(self, top: int) -> dict[str, Any]:
        """Stable keys for `--json`."""
        return {
            "modality": self.modality,
            "label": self.label,
            "file": self.file,
            "scale": self.scale,
            "features": len(self.found.features),
            "left_out": self.found.left_out,
            "types": {name: {"metastases": a, "primary": b} for name, (a, b) in self.found.whole.types.items()},
            "q": Q,
            "significant": self.significant,
            "markers": self.rows(top),
            "told": [
                {"features": one.features, "auc": one.auc, "low": one.low, "high": one.high}
                for one in self.found.telling
            ],
            "notes": list(self.notes),
        }

    def said(self) -> str:
        """How well the first features tell metastases, as one line."""
        if not self.found.telling:
            return "too few patients to measure on others how well the first features tell metastases"
        parts = [f"{one.auc:.3f} by {one.features}" for one in self.found.telling]
        low, high = min(one.low for one in self.found.telling), max(one.high for one in self.found.telling)
        return (
            f"told on other patients, ranked anew in each of {FOLDS} folds, AUROC: {', '.join(parts)} features "
            f"(folds {low:.2f} to {high:.2f})"
        )


def find_metastatic(
    store: Store, cohort: Cohort, label: str, *, modality: str | None, seed: int, progress: Progress
) -> MetastaticReport:
    """Compare metastases with primary tumours of the same types; see `Reference.metastatic_markers`."""
    measured = read_measured(store, cohort, label, modality=modality, progress=progress)
    matrix, rows = measured.matrix, measured.rows
    try:
        found = metastatic(
            matrix.values[rows],
            matrix.features,
            [matrix.samples[row] for row in rows],
            [str(measured.labels[row]) for row in rows.tolist()],
            least=LEAST if matrix.scale == "log2" else 0.0,
            seed=seed,
        )
    except InputError as error:
        raise InputError(error.problem, file=matrix.report.file, hint=error.hint) from None
    notes = list(measured.notes)
    if found.left_out:
        notes.append(
            f"{found.left_out:,} of {found.left_out + len(found.features):,} features were left out: not measured in "
            "all compared samples, or hardly ever above noise"
        )
    sizes = found.whole.types
    metastases = sum(n for n, _ in sizes.values())
    most = max(sizes, key=lambda name: sizes[name][0])
    if len(sizes) > 1 and sizes[most][0] > _MOSTLY * metastases:
        notes.append(
            f"{sizes[most][0]:,} of {metastases:,} metastases are {most}: what differs is of this type first of all"
        )
    if found.averaged:
        notes.append(
            f"{found.averaged:,} further samples of patients with several of one kind were averaged with the first: "
            "patients are compared"
        )
    if found.twice:
        notes.append(f"{found.twice:,} patients have both; they were compared as if they were different patients")
    notes.append(
        "the tissue around a metastasis is another than that around the primary tumour, and differs for that reason too"
    )
    return MetastaticReport(
        matrix.modality, label, measured.file, "log2" if matrix.scale == "log2" else "as measured", found, tuple(notes)
    )
