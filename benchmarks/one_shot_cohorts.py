"""Cohorts of the one-shot benchmark: which tumours, which types are trained on and which stay unseen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.splits import read_labels
from molsig.encoders.alignment import align, fit_profile
from molsig.ingest.expression import read_expression
from molsig.ingest.genes import read_gene_map
from molsig.ingest.mirna import read_mirna

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.types import FeatureMatrix

MERGED = {
    "COAD": "COLO",
    "READ": "COLO",
    "KIRP": "KDNY",
    "KIRC": "KDNY",
    "KICH": "KDNY",
    "LUAD": "LUNG",
    "LUSC": "LUNG",
}
"""Types of one organ, as the paper joins them."""
RARE = ("CHOL", "DLBC", "UCS", "UVM", "MESO", "ACC", "KICH", "THYM", "TGCT", "PAAD")
"""The ten rarest types of the clinical table."""
MOST_OF_TYPE = 100
"""Tumours of an unseen type that episodes are drawn from: the paper's head takes every pair through a network."""


@dataclass(frozen=True)
class OneShotCohort:
    """Samples with types; training and unseen types share none.

    Attributes
    ----------
    types
        Type of each sample of the matrix, empty where it is not known.
    training, unseen
        Types.
    standing
        Rows that may stand for their type in a support set, and `asked` those that are queries: None for all.
    """

    name: str
    matrix: FeatureMatrix
    types: NDArray[np.str_]
    training: tuple[str, ...]
    unseen: tuple[str, ...]
    ways: tuple[int, ...]
    told: str
    asked: NDArray[np.int64] | None = None
    standing: NDArray[np.int64] | None = None

    def rows(self, types: Sequence[str]) -> NDArray[np.int64]:
        """Primary tumours of some types, or the rows of this cohort's questions among them."""
        primary = np.array([one.kind == "tumour" for one in self.matrix.samples])
        return np.flatnonzero(np.isin(self.types, types) & primary)


def at_most(rows: NDArray[np.int64], types: NDArray[np.str_]) -> NDArray[np.int64]:
    """Up to `MOST_OF_TYPE` rows of each type, always the same ones, in order; `types` are those of all rows."""
    random = np.random.default_rng(0)
    parts = [random.permutation(rows[types[rows] == one])[:MOST_OF_TYPE] for one in np.unique(types[rows])]
    return np.sort(np.concatenate(parts))


def _typed(matrix: FeatureMatrix, data: Path) -> NDArray[np.str_]:
    labels = read_labels(data / "tcga" / "clinical.tsv")
    return np.array([labels[one.patient].cancer_type if one.patient in labels else "" for one in matrix.samples])


def whole_mirna(data: Path) -> tuple[FeatureMatrix, NDArray[np.str_]]:
    """The precursors that were measured in every sample, which give no type away by their absence."""
    matrix = read_mirna(data / "tcga" / "mirna_counts.parquet")
    whole = ~np.isnan(matrix.values).any(axis=0)
    names = tuple(np.array(matrix.features)[whole].tolist())
    return replace(matrix, features=names, values=np.ascontiguousarray(matrix.values[:, whole])), _typed(matrix, data)


def _by_size(types: NDArray[np.str_], matrix: FeatureMatrix, least: int) -> list[str]:
    primary = [kind for kind, one in zip(types.tolist(), matrix.samples, strict=True) if one.kind == "tumour" and kind]
    return [name for name, n in Counter(primary).most_common() if n >= least]


def mirna_rare(data: Path, training: int = 19) -> OneShotCohort:
    """The ten rarest types unseen, the commonest of the others trained on."""
    matrix, types = whole_mirna(data)
    trained = tuple(one for one in _by_size(types, matrix, 30) if one not in RARE)[:training]
    name = "miRNA, rare types" if training == 19 else f"miRNA, rare types, {training} training types"
    return OneShotCohort(name, matrix, types, trained, RARE, (6, 8, 10), "the 10 rarest types unseen")


def mirna_common(data: Path) -> OneShotCohort:
    """Types 11 to 20 by size unseen."""
    matrix, types = whole_mirna(data)
    order = _by_size(types, matrix, 30)
    unseen = tuple(order[10:20])
    trained = tuple(one for one in order if one not in unseen)[:19]
    return OneShotCohort("miRNA, commoner types", matrix, types, trained, unseen, (6, 8, 10), "types 11 to 20 by size")


def mirna_merged(data: Path) -> OneShotCohort:
    """As in the paper: types of one organ are one type; the ten smallest are unseen."""
    matrix, types = whole_mirna(data)
    types = np.array([MERGED.get(one, one) for one in types.tolist()])
    order = [one for one in _by_size(types, matrix, 30) if one != "SKCM"]
    told = "organs merged as in the paper, the 10 smallest unseen"
    return OneShotCohort("miRNA, merged", matrix, types, ("SKCM", *order[:-10]), tuple(order[-10:]), (6, 8, 10), told)


def mirna_metastases(data: Path) -> OneShotCohort:
    """Metastases against primary supports: melanoma and the types of all other metastases unseen."""
    matrix, types = whole_mirna(data)
    kind = np.array([one.kind for one in matrix.samples])
    order = _by_size(types, matrix, 30)
    with_metastases = Counter(types[(kind == "metastasis") & (types != "")].tolist())
    unseen = tuple(sorted(with_metastases))
    trained = tuple(one for one in order if one not in unseen)
    told = ", ".join(f"{n} {name}" for name, n in with_metastases.most_common())
    return OneShotCohort(
        "miRNA, metastases",
        matrix,
        types,
        trained,
        unseen,
        (6, 8, 10),
        f"queries are metastases ({told}), supports primary tumours; none of these types trained on",
        asked=np.flatnonzero((kind == "metastasis") & np.isin(types, unseen)),
        standing=np.flatnonzero((kind == "tumour") & np.isin(types, unseen)),
    )


def rna_90(data: Path) -> OneShotCohort:
    """90 genes, types with 100 tumours or more."""
    matrix = read_expression(data / "tcga" / "rna_90genes_log2.tsv.gz")
    types = _typed(matrix, data)
    order = _by_size(types, matrix, 100)
    unseen = tuple(order[1::2])
    trained = tuple(one for one in order if one not in unseen)
    return OneShotCohort(
        "RNA, 90 genes", matrix, types, trained, unseen, (6, 8, 10), "every second type by size unseen"
    )


def rna_3556(data: Path) -> OneShotCohort:
    """3,556 genes, 11 types."""
    matrix = read_expression(data / "tcga" / "rna_3556genes_log2_tumour_normal.parquet")
    types = _typed(matrix, data)
    order = _by_size(types, matrix, 20)
    unseen = tuple(order[1::2])
    trained = tuple(one for one in order if one not in unseen)
    return OneShotCohort("RNA, 3,556 genes", matrix, types, trained, unseen, (5,), "every second type by size unseen")


def _together(data: Path) -> tuple[FeatureMatrix, NDArray[np.str_], NDArray[np.str_]]:
    """Three files on their shared genes: 17 types; each sample quantile-mapped onto the first file's profile."""
    tcga = data / "tcga"
    genes = read_gene_map(data / "genes_ensembl105.tsv.gz")
    parts = [
        read_expression(tcga / "rna_3556genes_log2_tumour_normal.parquet", genes=genes),
        read_expression(tcga / "rna_20531genes_rsem.tsv.gz", genes=genes),
        read_expression(tcga / "rna_56537genes_counts.tsv.gz", genes=genes),
    ]
    shared = [name for name in parts[0].features if all(name in set(one.features) for one in parts[1:])]
    blocks, samples, files = [], [], []
    profile = None
    for number, part in enumerate(parts):
        place = {name: column for column, name in enumerate(part.features)}
        values = part.values[:, [place[name] for name in shared]].copy()
        profile = profile or fit_profile(values)
        blocks.append(align(values, profile, "quantile"))
        samples += part.samples
        files += [str(number)] * len(part.samples)
    values = np.concatenate(blocks)
    whole = ~np.isnan(values).any(axis=0)
    matrix = replace(
        parts[0],
        samples=tuple(samples),
        features=tuple(name for name, one in zip(shared, whole, strict=True) if one),
        values=np.ascontiguousarray(values[:, whole]),
    )
    return matrix, _typed(matrix, data), np.array(files)


def rna_together(data: Path) -> OneShotCohort:
    """17 types of three files; the five of the RSEM file and four of the first are unseen, each type from one file."""
    matrix, types, files = _together(data)
    home = dict.fromkeys(("ACC", "CHOL", "DLBC", "UCS", "UVM"), "1") | {"KICH": "2"}
    kept = np.array([home.get(kind, "0") == file for kind, file in zip(types.tolist(), files.tolist(), strict=True)])
    types = np.where(kept, types, "")
    unseen = ("ACC", "CHOL", "DLBC", "UCS", "UVM", "KICH", "STAD", "LUSC", "THCA", "LIHC")
    trained = tuple(sorted(set(types.tolist()) - {"", *unseen}))
    told = "17 types of three files on shared genes; files tell some of the types apart"
    return OneShotCohort("RNA, 17 types together", matrix, types, trained, unseen, (6, 8, 10), told)


def rna_across(data: Path) -> OneShotCohort:
    """Queries of the RSEM file, supports of the count file of another pipeline, other patients; 5 types of both."""
    matrix, types, files = _together(data)
    unseen = ("ACC", "CHOL", "DLBC", "UCS", "UVM")
    primary = np.array([one.kind == "tumour" for one in matrix.samples])
    asked, standing = (np.flatnonzero((files == one) & np.isin(types, unseen) & primary) for one in ("1", "2"))
    first = np.where(files == "0", types, "")
    types = np.where(np.isin(types, unseen), types, first)
    trained = tuple(sorted(set(first[primary].tolist()) - {""}))
    told = "queries in RSEM, supports in counts of another pipeline; trained on the 3,556-gene file"
    return OneShotCohort(
        "RNA, across pipelines", matrix, types, trained, unseen, (5,), told, asked=asked, standing=standing
    )


COHORTS: dict[str, Callable[[Path], OneShotCohort]] = {
    "mirna-rare": mirna_rare,
    "mirna-common": mirna_common,
    "mirna-merged": mirna_merged,
    "mirna-rare-14": lambda data: mirna_rare(data, 14),
    "mirna-rare-9": lambda data: mirna_rare(data, 9),
    "mirna-metastases": mirna_metastases,
    "rna-90": rna_90,
    "rna-3556": rna_3556,
    "rna-together": rna_together,
    "rna-across": rna_across,
}
