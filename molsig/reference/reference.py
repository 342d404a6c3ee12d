"""`Reference`: everything a user does with a reference directory, from a notebook, the command line or a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molsig.errors import UsageError
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from molsig.encoders.choice import ModelChoice
    from molsig.evaluate.panel import Panel
    from molsig.evaluate.report import Evaluation
    from molsig.index.store import Store
    from molsig.index.verify import Check
    from molsig.ingest.cohort import Cohort
    from molsig.reference.annotation_report import AnnotationReport
    from molsig.reference.composing import ComposeReport
    from molsig.reference.ingestion import IngestReport
    from molsig.reference.landmark_report import LandmarkReport
    from molsig.reference.map_report import MapReport
    from molsig.reference.marking import MarkerReport
    from molsig.reference.metastases import MetastaticReport
    from molsig.reference.rebuilding import Rebuilt
    from molsig.reference.typing_support import Support, SupportShelf
    from molsig.retrieval.answer import Answer
    from molsig.retrieval.explanation import Explanation
    from molsig.retrieval.nearest import Nearest
    from molsig.retrieval.one_shot import Typist
    from molsig.retrieval.route import Query
    from molsig.retrieval.type_answer import Typing
    from molsig.types import Progress


STALE_TRIES = 5
"""So often a question is asked again whose rows were deleted or replaced while it was answered."""


class Reference:
    """A directory of patients that can be searched.

    Examples
    --------
    >>> import molsig
    >>> ref = molsig.Reference.create("tumours.molsig")               # doctest: +SKIP
    >>> ref.ingest(rna="rna.tsv.gz", patients="clinical.tsv")         # doctest: +SKIP
    >>> ref.query("TCGA-OR-A5J1", vote="cancer_type").to_pandas()     # doctest: +SKIP
    """

    def __init__(self, store: Store, *, device: str | None = None) -> None:
        from molsig.index.remembered import remembered
        from molsig.index.search import Searcher
        from molsig.reference.encoder_shelf import EncoderShelf
        from molsig.retrieval.memory import PatientMemory
        from molsig.retrieval.shelf import Shelf

        self._store = remembered(store)
        self._searcher = Searcher(self._store, device=device)
        self._shelf = Shelf(store.path)
        self._encoders = EncoderShelf()
        self._memory = PatientMemory(self._store, self._searcher)
        self._typist: Typist | None = None
        self._supports: SupportShelf | None = None

    @classmethod
    def create(cls, path: str | Path) -> Reference:
        """Make a new, empty reference. `UsageError` if something is there already."""
        from molsig.index.store import Store

        return cls(Store.create(Path(path)))

    @classmethod
    def open(cls, path: str | Path, *, device: str | None = None) -> Reference:
        """Open a reference. `UsageError` if there is none, `DamagedError` if it is not one or is too new.

        With a torch `device` (``cuda``) exact searches of many vectors run there; the answers are the same.
        """
        from molsig.index.store import Store

        place = Path(path)
        if not place.exists():
            raise UsageError(f"there is no reference at {place}; `molsig ingest {place} --rna FILE` makes one")
        return cls(Store.open(place), device=device)

    @classmethod
    def ingest_into(
        cls, path: str | Path, cohort: Cohort, *, progress: Progress = silent, **options: Any
    ) -> IngestReport:
        """Ingest into the reference at `path`; it is made, if it is not there, once the files have been found good."""
        from molsig.reference.ingestion import IngestOptions, ingest

        return ingest(Path(path), cohort, IngestOptions(**options), progress)

    @classmethod
    def query_once(cls, path: str | Path, patients: str | Sequence[str], **how: Any) -> list[Answer]:
        """Open the reference at `path` for one `query_many`: all that is read of the database is one opening of it."""
        from molsig.index.connection import kept_open
        from molsig.index.opened import load_ahead
        from molsig.index.schema import DATABASE

        load_ahead(Path(path) / "index")
        with kept_open(Path(path) / DATABASE):
            reference = cls.open(path)
            reference._look_ahead(_names(how.get("vote")) or (), how.get("fusion", "auto"), how.get("kind", "auto"))
            return reference.query_many(patients, **how)

    def _look_ahead(self, votes: Sequence[str], fusion: str, kind: str) -> None:
        """Read the spaces that a fused query reads in any case, so that its patients can be looked up in them."""
        from molsig.reference.learning import learned_for

        learned, _ = learned_for(self._store, self._shelf, votes, fusion)
        if learned is not None and kind not in ("any", "normal"):
            for space in learned.spaces.values():
                self._searcher.view(space)

    @property
    def path(self) -> Path:
        """The directory."""
        return self._store.path

    def ingest(
        self,
        cohort: str | Path | Cohort | None = None,
        *,
        dry_run: bool = False,
        replace: bool = False,
        allow_missing: bool = False,
        include_silent: bool = False,
        seed: int = 0,
        epochs: int | None = None,
        device: str = "auto",
        choice: ModelChoice | None = None,
        new_encoders: str | Iterable[str] = (),
        learn: bool = True,
        label: str | None = None,
        progress: Progress = silent,
        **files: Any,
    ) -> IngestReport:
        """Bring a cohort into the reference.

        Parameters
        ----------
        cohort
            A `Cohort` or the path of a ``cohort.toml``; or name the files as keywords instead.
        dry_run
            Read and report what was understood; write nothing.
        replace
            Replace samples that are stored with other values instead of reporting them as conflicts.
        allow_missing
            Encode samples that lack more than 20 % of an encoder's features.
        include_silent
            Encode silent mutations too.
        seed, epochs, device
            Training of encoders that the reference does not have yet.
        choice
            Which network or given weights encode what.
        new_encoders
            Modalities whose encoder is to be made anew from these files. All samples are embedded into a new space,
            which takes the place of the old one in one transaction once it holds every stored sample.
        learn
            Learn how to fuse the modalities (see `learn`) where patients have a ``cancer_type`` and nothing was learned
            of the vectors as they are.
        label
            Patient column with the types that the networks ``whitened``, ``contrastive`` and ``siamese`` learn from,
            ``cancer_type`` by default. Where it is given, a matrix whose network is not named gets ``whitened``.
        files
            ``rna``, ``mutations``, ``mirna``, ``matrices``, ``vectors``, ``patients``, ``genes``, ``sample_table``: see
            `Cohort.of`.

        Raises
        ------
        InputError
            A file is wrong; nothing has been written.
        LockedError
            Another process is ingesting; the message says which.
        """
        from molsig.encoders.choice import ModelChoice

        return self.ingest_into(
            self.path,
            _cohort(cohort, files),
            dry_run=dry_run,
            replace=replace,
            allow_missing=allow_missing,
            include_silent=include_silent,
            seed=seed,
            epochs=epochs,
            device=device,
            choice=choice or ModelChoice(),
            new_encoders=_names(new_encoders) or (),
            learn=learn,
            label=label,
            progress=progress,
        )

    def query(self, patient: str, **how: Any) -> Answer:
        """Patients like a stored one; options as in `query_many`."""
        return self.query_many([patient], **how)[0]

    def query_many(
        self,
        patients: str | Sequence[str],
        *,
        k: int = 10,
        where: str | None = None,
        vote: str | Iterable[str] = (),
        modality: str | Iterable[str] | None = None,
        fusion: str = "auto",
        kind: str = "auto",
        method: str = "auto",
        error: float = 0.1,
    ) -> list[Answer]:
        """Patients like each of some stored ones, who are themselves left out of their answer.

        Parameters
        ----------
        patients
            Ids of stored patients.
        k
            Neighbours per query.
        where
            SQL condition over patient columns, e.g. ``"sex = 'female' AND age > 60"``.
        vote
            Patient columns that the neighbours vote on.
        modality
            Use only these modalities of the query.
        fusion
            ``evidence`` ranks by what was learned of a label (see `learn`), ``weighted`` by weights learned without
            one, ``sum`` searches the summed aggregates, ``single`` one modality in its own space. ``auto`` takes the
            first of these that there is; ``single`` for a query of one modality and ``sum`` otherwise where nothing
            was learned.
        kind
            Samples to search: ``auto`` (normal for a normal query, all others otherwise), ``tumour``, ``normal``,
            ``metastasis``, ``recurrence``, ``other`` or ``any``.
        method
            ``auto``, ``exact`` or ``index``.
        error
            Error rate of the conformal set of a call.

        Raises
        ------
        NotFoundError
            A patient is not stored, or has no vector of the modalities asked for.
        UsageError
            The condition is not one, or names an unknown column.
        """
        from molsig.reference.querying import stored_queries

        queries = stored_queries(self._store, _names(patients) or (), _names(modality), kind, self._searcher)
        return self._find(
            queries, k=k, where=where, votes=_names(vote) or (), fusion=fusion, kind=kind, method=method, error=error
        )

    def query_files(
        self,
        cohort: str | Path | Cohort | None = None,
        *,
        k: int = 10,
        where: str | None = None,
        vote: str | Iterable[str] = (),
        modality: str | Iterable[str] | None = None,
        fusion: str = "auto",
        kind: str = "auto",
        method: str = "auto",
        error: float = 0.1,
        exclude_self: bool = False,
        allow_missing: bool = False,
        device: str = "auto",
        choice: ModelChoice | None = None,
        progress: Progress = silent,
        **files: Any,
    ) -> list[Answer]:
        """Stored patients like each new one in some files; nothing of the new ones is stored.

        Options as in `query_many` and `ingest`; `exclude_self` leaves out a stored patient of the same id.

        Raises
        ------
        CoverageError
            A sample lacks too many of an encoder's features.
        """
        from molsig.encoders.choice import ModelChoice
        from molsig.reference.querying import file_queries

        queries = file_queries(
            self._store,
            _cohort(cohort, files),
            _names(modality),
            allow_missing=allow_missing,
            exclude_self=exclude_self,
            device=device,
            choice=choice or ModelChoice(),
            progress=progress,
            shelf=self._encoders,
        )
        return self._find(
            queries, k=k, where=where, votes=_names(vote) or (), fusion=fusion, kind=kind, method=method, error=error
        )

    def query_vectors(
        self,
        vectors: Mapping[str, NDArray[np.float32]],
        *,
        name: str = "new",
        k: int = 10,
        where: str | None = None,
        vote: str | Iterable[str] = (),
        fusion: str = "auto",
        kind: str = "auto",
        method: str = "auto",
        error: float = 0.1,
    ) -> Answer:
        """Stored patients like a new one whose vectors are known already; options as in `query_many`.

        Parameters
        ----------
        vectors
            By modality: float32 (768,) or (n, 768), made by the encoder of this reference that is in use for it.
        name
            What the answer is headed with.

        Raises
        ------
        UsageError
            A modality is not stored.
        InputError
            A vector is not finite or not 768 long.
        """
        from molsig.reference.querying import vector_query

        query = vector_query(self._store, name, vectors)
        return self._find(
            [query], k=k, where=where, votes=_names(vote) or (), fusion=fusion, kind=kind, method=method, error=error
        )[0]

    def nearest(
        self,
        modality: str,
        vectors: NDArray[np.float32],
        *,
        k: int = 10,
        where: str | None = None,
        kind: str = "auto",
        method: str = "auto",
        columns: Sequence[str] | None = None,
        top: int = 1,
    ) -> Nearest:
        """Stored patients nearest to each of many vectors of one modality, all in one table.

        Nothing is voted on or fused; made for thousands of queries at a time, which `query_vectors` answers one by one.

        Parameters
        ----------
        modality
            Whose space in use is searched.
        vectors
            float32 (q, 768), a query each, made by the encoder of this reference that is in use for the modality.
        k, where, kind, method
            As in `query_many`; a query's tissue is not known, so ``auto`` searches all kinds but normal.
        columns
            Patient columns to give back; all by default.
        top
            A patient with several vectors (tiles, sentences) counts with the mean of so many of the best.

        Returns
        -------
        Nearest
            ``table`` (query, rank, patient, sample, item, score, patient columns), ``plan`` and ``notes``.

        Raises
        ------
        UsageError
            The modality or a column is not stored.
        InputError
            A vector is not finite, is zero, or not 768 long.
        NotFoundError
            `where` leaves no patient.
        """
        from molsig.retrieval.nearest import nearest

        return nearest(
            self._store,
            self._searcher,
            modality,
            vectors,
            k=k,
            where=where,
            kind=kind,
            method=method,
            columns=columns,
            top=top,
        )

    def type_samples(
        self,
        support: Support,
        patients: str | Sequence[str] | None = None,
        *,
        cohort: str | Path | Cohort | None = None,
        vectors: Mapping[str, NDArray[np.float32]] | None = None,
        name: str = "new",
        shots: int | None = None,
        seed: int = 0,
        where: str | None = None,
        label: str | None = None,
        modality: str | Iterable[str] | None = None,
        fusion: str = "auto",
        kind: str = "auto",
        error: float = 0.05,
        allow_missing: bool = False,
        device: str = "auto",
        choice: ModelChoice | None = None,
        progress: Progress = silent,
        **files: Any,
    ) -> list[Typing]:
        """Tell the type of samples from examples: one, a few or all of each type; nothing is trained.

        Parameters
        ----------
        support
            The examples: a patient column (everybody with a value in it), a file with the columns ``patient`` (or
            ``sample``) and ``type``, or a mapping of patient to type. They are stored patients.
        patients, cohort, vectors, files
            What is to be typed: stored patients, the samples in some files as in `query_files`, or vectors of one new
            patient (headed `name`) as in `query_vectors`. Whose sample it is, they are no example of themselves.
        shots, seed
            Draw at most so many examples of each type.
        where
            SQL condition on the patients of a column.
        label
            Patient column whose values calibrate probabilities; by default the column of `support`, else the one that
            was learned, else ``cancer_type``.
        modality, fusion
            As in `query_many`; examples are compared in the modalities that the query has.
        kind
            Kind of the samples that stand for a patient: ``auto`` for all but normal ones, or ``tumour`` ...
        error
            Share of samples of known types that may be told to be none of them.
        allow_missing, device, choice
            As in `query_files`.

        Returns
        -------
        list of Typing
            One a query: probability of each type, the example behind it, the spread over the choice of examples, and
            whether it fits any type.

        Raises
        ------
        UsageError
            The support set is not to be had or has one type only, or options contradict each other.
        InputError
            The support file is wrong or names somebody who is not stored.
        NotFoundError
            A patient is not stored, or a type has no example in any of the query's modalities.
        """
        from molsig.encoders.choice import ModelChoice
        from molsig.reference.querying import file_queries, stored_queries, vector_query
        from molsig.reference.typing_samples import type_queries
        from molsig.reference.typing_support import SupportShelf
        from molsig.retrieval.one_shot import Typist

        new = cohort is not None or bool(files)
        if (patients is not None) + new + (vectors is not None) != 1:
            raise UsageError("name what is to be typed: stored patients, or files of new samples, or vectors")
        if self._typist is None or self._supports is None:
            self._typist = Typist(self._store, self._searcher)
            self._supports = SupportShelf(self._store, self._searcher)
        examples = self._supports.get(support, where=where)
        if patients is not None:
            queries = stored_queries(self._store, _names(patients) or (), _names(modality), "auto", self._searcher)
        elif vectors is not None:
            wanted = _names(modality)
            given = {one: block for one, block in vectors.items() if wanted is None or one in wanted}
            queries = [vector_query(self._store, name, given)]
        else:
            queries = file_queries(
                self._store,
                _cohort(cohort, files),
                _names(modality),
                allow_missing=allow_missing,
                exclude_self=True,
                device=device,
                choice=choice or ModelChoice(),
                progress=progress,
                shelf=self._encoders,
            )
        return type_queries(
            self._store,
            self._typist,
            self._shelf,
            self._encoders,
            queries,
            support,
            examples,
            label=label,
            fusion=fusion,
            kind=kind,
            shots=shots,
            error=error,
            seed=seed,
            device=device,
        )

    def warm(self, vote: str | Iterable[str] = ()) -> bool:
        """Read what queries need now rather than by the first ones: for a server, or before many queries.

        The indexes of all spaces in use are loaded and every row of theirs is compared with its checksum (some seconds
        for a million vectors), and what stored patients say for fused queries is worked out.

        Returns
        -------
        bool
            Whether something has been learned and what patients say of it is held; False where it does not fit.
        """
        from molsig.reference.learning import learned_for
        from molsig.types import SUM_SPACE

        learned, _ = learned_for(self._store, self._shelf, _names(vote) or (), "auto")
        held = learned is not None and self._memory.warm(learned)
        # Afterwards: rows whose vectors were just read have been compared with their checksums.
        for info in self._store.spaces():
            if info.active or info.space == SUM_SPACE:
                self._searcher.warm(info.space)
        return held

    def _find(self, queries: Sequence[Query], *, votes: Sequence[str], fusion: str, **how: Any) -> list[Answer]:
        from molsig.index.vectors import StaleViewError

        for _ in range(STALE_TRIES):
            try:
                return self._found(queries, votes=votes, fusion=fusion, **how)
            except StaleViewError:
                # Rows went while they were read: the truth has moved on, and is looked at again.
                self._searcher.let_go()
        return self._found(queries, votes=votes, fusion=fusion, **how)

    def _found(self, queries: Sequence[Query], *, votes: Sequence[str], fusion: str, **how: Any) -> list[Answer]:
        from molsig.index.stamp import one_look
        from molsig.reference.learning import learned_for
        from molsig.reference.querying import said_of_taught
        from molsig.retrieval.find import find
        from molsig.retrieval.taught import taught_encoders

        with one_look():
            learned, notes = learned_for(self._store, self._shelf, votes, fusion)
            answers = find(
                self._store,
                self._searcher,
                queries,
                votes=votes,
                fusion=fusion,
                learned=learned,
                memory=self._memory,
                **how,
            )
            taught = taught_encoders(self._store)
        if not notes and not taught:
            return answers
        told = [said_of_taught(query, one, taught) for query, one in zip(queries, answers, strict=True)]
        return [replace(one, notes=(*one.notes, *more, *notes)) for one, more in zip(answers, told, strict=True)]

    def explain(
        self,
        hit: str,
        patient: str | None = None,
        *,
        cohort: str | Path | Cohort | None = None,
        hit_cohort: str | Path | Cohort | None = None,
        modality: str | Iterable[str] | None = None,
        fusion: str = "auto",
        top: int = 10,
        seed: int = 0,
        allow_missing: bool = False,
        device: str = "auto",
        choice: ModelChoice | None = None,
        progress: Progress = silent,
        **files: Any,
    ) -> Explanation:
        """Say why a stored patient is the neighbour of another, or of a new one.

        A reference keeps vectors, not measurements: which genes, mutations, miRNAs, sentences and tiles it rests on is
        told of the modalities whose file is given.

        Parameters
        ----------
        hit
            The stored patient who was found.
        patient
            The patient asked about: stored, or one in the files; may be left out where these hold one patient beside
            the hit.
        cohort, files
            Where the measurements of both are, or of either: as in `ingest`.
        hit_cohort
            Where those of the hit are, if not in the same files.
        modality
            Use only these modalities of the query.
        fusion, allow_missing, choice
            As in `query_many` and `query_files`.
        top
            Features that are told for the similarity in each modality, and half as many against it.
        seed
            Draws the patients that the pair is compared with.

        Raises
        ------
        NotFoundError
            A patient is not stored, or the two have no modality in common.
        InputError
            A file holds neither of the two, or is wrong.
        UsageError
            The query and the hit are one patient, or it is not clear who is asked about.
        """
        from molsig.encoders.choice import ModelChoice
        from molsig.reference.explaining import Asked, explain
        from molsig.reference.learning import learned_for

        learned, _ = learned_for(self._store, self._shelf, (), fusion)
        label = None if learned is None or learned.evidence is None else learned.label
        votes = () if label is None else (label,)
        return explain(
            self._store,
            self._searcher,
            Asked(
                hit,
                patient,
                _cohort(cohort, files),
                None if hit_cohort is None else _cohort(hit_cohort, {}),
                _names(modality),
                top,
                seed,
                allow_missing,
                device,
                choice or ModelChoice(),
            ),
            lambda query: self._find([query], votes=votes, fusion=fusion, k=1, among=(hit,))[0],
            learned,
            shelf=self._encoders,
            progress=progress,
        )

    def learn(
        self,
        label: str | None = None,
        *,
        groups: str | None = None,
        labelled: bool = True,
        seed: int = 0,
        progress: Progress = silent,
    ) -> dict[str, Any]:
        """Learn how to fuse the modalities, and use it in queries from then on.

        Parameters
        ----------
        label
            Patient column whose evidence is learned; ``cancer_type`` by default, if there is such a column.
        groups
            Patient column whose values stay whole between folds; ``site`` by default, if there is such a column.
        labelled
            False learns weights only, without a label.

        Returns
        -------
        dict
            Weights, what each modality says, out-of-fold scores, and by modality the classes that its encoder has
            learned from labels: the scores are too good for these.

        Raises
        ------
        UsageError
            No such column.
        InputError
            Too few patients have a label.
        """
        from molsig.reference.learning import GROUPS, LABEL, learn, told
        from molsig.retrieval.taught import taught_encoders

        columns = self._store.columns()
        label = label or (LABEL if LABEL in columns else None)
        groups = groups or (GROUPS if GROUPS in columns else None)
        chosen = label if labelled else None
        learned = learn(self._store, label=chosen, groups=groups, seed=seed, progress=progress)
        classes = () if learned.evidence is None else learned.evidence.classes
        known = {one.modality: one.known(classes) for one in taught_encoders(self._store)}
        return told(learned) | {"taught": {modality: list(types) for modality, types in known.items() if types}}

    def evaluate(
        self,
        label: str,
        *,
        group: str | None = None,
        fusion: str | Iterable[str] | None = None,
        folds: int = 5,
        seed: int = 0,
        progress: Progress = silent,
        **how: Any,
    ) -> Evaluation:
        """Measure how well `label` is told, on the stored patients themselves; see `molsig.evaluate`.

        Encoders fitted by this reference have seen the held-out patients' data, though not their labels.

        Parameters
        ----------
        label
            Categorical patient column.
        group
            Column whose values are held out whole, beside random folds; ``site`` by default, if it is stored.
        fusion
            Fusions, or modalities on their own; all by default.
        folds, seed
            Folds of each scheme; same seed, same figures.
        how
            ``meters``, ``missing``, ``depth``, ``left_out``, ``draws``, ``workers``: see
            `molsig.evaluate.stored.evaluate_stored`.

        Raises
        ------
        UsageError
            A column is not stored or not categorical, or the folds cannot be filled.
        """
        from molsig.evaluate.stored import evaluate_stored

        return evaluate_stored(
            self._store, label, group=group, fusion=_names(fusion), folds=folds, seed=seed, progress=progress, **how
        )

    def compose(
        self,
        vectors: NDArray[np.float32] | str | Path | None = None,
        *,
        patients: str | Sequence[str] = (),
        refit: bool = False,
        seed: int = 0,
        per_count: int = 4000,
        progress: Progress = silent,
    ) -> ComposeReport:
        """Say what summed vectors were made of: which modalities, how many vectors of each, and if that is all.

        A recogniser is fitted to the reference's own vectors the first time (about a minute) and kept in its folder; it
        is fitted anew once the spaces have changed or grown by a fifth.

        Parameters
        ----------
        vectors
            (768,) or (n, 768), or a file of them: .npy, or text with 768 numbers each.
        patients
            Stored patients whose own sums are taken apart instead.
        refit
            Fit anew in any case.
        per_count
            Sums of each count that a fit learns from.

        Raises
        ------
        UsageError
            No modality has enough patients to learn from.
        DamagedError
            The kept recogniser is not what was written.
        """
        from molsig.ingest.summed_vector import read_summed_vectors
        from molsig.reference.composing import compose

        given = read_summed_vectors(Path(vectors)) if isinstance(vectors, str | Path) else vectors
        return compose(
            self._store,
            given,
            _names(patients) or (),
            refit=refit,
            seed=seed,
            per_count=per_count,
            progress=progress,
        )

    def markers(
        self,
        label: str,
        cohort: str | Path | Cohort | None = None,
        *,
        modality: str | None = None,
        encoder: str | None = None,
        pairs: int = 3000,
        method: str = "guided",
        seed: int = 0,
        device: str = "auto",
        progress: Progress = silent,
        **files: Any,
    ) -> MarkerReport:
        """Rank the features of an encoder by what they do for pairs of tumours of one type.

        Parameters
        ----------
        label
            Patient column of the reference that tells the type.
        cohort, files
            Where the measurements are, which a reference does not keep: one matrix, as in `ingest`.
        modality
            Which of several matrices.
        encoder
            Name of its space; the one in use for the modality by default.
        pairs
            Most matched pairs of a type.
        method
            ``guided`` backpropagation or plain ``gradient``.

        Raises
        ------
        UsageError
            No such column or encoder, or not one matrix.
        InputError
            The patients of the file have no label, or too few of each.
        MissingExtraError
            captum is not installed.
        """
        from molsig.reference.marking import find_markers

        return find_markers(
            self._store,
            _cohort(cohort, files),
            label,
            modality=modality,
            space=encoder,
            pairs=pairs,
            method=method,
            seed=seed,
            device=device,
            progress=progress,
            shelf=self._encoders,
        )

    def marker_panel(
        self,
        label: str,
        cohort: str | Path | Cohort | None = None,
        *,
        most: int = 100,
        by: str = "forward",
        modality: str | None = None,
        encoder: str | None = None,
        seed: int = 0,
        device: str = "auto",
        progress: Progress = silent,
        **files: Any,
    ) -> Panel:
        """Choose the features that keep one-shot typing, each beside those before it, and judge them on other types.

        Judge is the nearest neighbour by cosine in one-shot episodes of types that were held out of the choosing; of
        patients who were, where there are fewer than nine types with six patients.

        Parameters
        ----------
        label, cohort, files, modality, encoder, device
            As in `markers`; the encoder tells which features there are and how they are scaled.
        most
            Features that are chosen.
        by
            ``forward``: the one with which the nearest neighbour does best; ``discrimination``: the one that tells most
            of the types beyond those before it, which is faster.
        seed
            Of parts and episodes.

        Raises
        ------
        UsageError
            No such column, encoder or way of choosing, or not one matrix.
        InputError
            Fewer than three types have tumours of six patients.
        """
        from molsig.evaluate.panel_choice import choose_panel
        from molsig.reference.measured import encoder_inputs, matrix_encoder, read_measured

        measured = read_measured(self._store, _cohort(cohort, files), label, modality=modality, progress=progress)
        chosen = matrix_encoder(self._store, measured.matrix.modality, encoder, device, self._encoders)
        return choose_panel(encoder_inputs(measured, chosen), most=most, by=by, seed=seed, progress=progress)

    def metastatic_markers(
        self,
        label: str,
        cohort: str | Path | Cohort | None = None,
        *,
        modality: str | None = None,
        seed: int = 0,
        progress: Progress = silent,
        **files: Any,
    ) -> MetastaticReport:
        """Rank features by how metastases differ from primary tumours of the same types.

        A linear model x ~ type + metastasis of each feature, over the types with at least three samples of both. What a
        sample is, is read from TCGA barcodes (06, 07: metastasis) or from ``sample_table``.

        Parameters
        ----------
        label, cohort, files, modality
            As in `markers`; no encoder is asked.
        seed
            Of the folds that say how well the first features tell metastases of other patients.

        Raises
        ------
        UsageError
            No such column, or not one matrix.
        InputError
            No type has enough of both.
        """
        from molsig.reference.metastases import find_metastatic

        return find_metastatic(
            self._store, _cohort(cohort, files), label, modality=modality, seed=seed, progress=progress
        )

    def landmarks(
        self,
        cohort: str | Path | Cohort | None = None,
        *,
        n: int = 943,
        method: str | None = None,
        compare: bool = False,
        inference: str = "ridge",
        resamples: int = 0,
        group: str | None = None,
        modality: str | None = None,
        epochs: int | None = None,
        seed: int = 0,
        device: str = "auto",
        progress: Progress = silent,
        **files: Any,
    ) -> LandmarkReport:
        """Rank the genes of a file by how well the others can be told from them, and measure that.

        Ranking and inference are fitted on four fifths of the patients and judged on the others: whole groups of them,
        where the reference knows any, and single ones. The list that is given back is ranked on all samples.

        Parameters
        ----------
        cohort, files
            Where the measurements are, which a reference does not keep: one matrix, as in `ingest`. Only samples of
            stored patients count.
        n
            How many landmarks.
        method
            One of `molsig.encoders.landmarks.METHODS`, or ``auto``: the one that does best on patients held back from
            the training ones. By default the one that did best on real data.
        compare
            Measure the other methods, too.
        inference
            What tells the other genes: ``ridge`` regression or ``dgex``, a deep network.
        resamples
            Draws of patients to tell from how much the choice depends on who is in the cohort; none by default.
        group
            Column whose values are held out whole; ``site`` by default, if it is stored.
        modality
            Which of several matrices.
        epochs
            Of the autoencoder; 100 by default, as in the paper.
        seed
            Of parts, draws, networks and clusters.
        device
            That ``dgex`` is trained on.

        Raises
        ------
        UsageError
            No such method or column, not one matrix, or too few genes for n landmarks, or for choosing a method.
        InputError
            The reference knows too few of the patients.
        MissingExtraError
            Method ``autoencoder`` without captum.
        """
        from molsig.encoders.landmarks import DEFAULT
        from molsig.reference.landmarking import LandmarkOptions, find_landmarks

        how = LandmarkOptions(
            n=n,
            method=method or DEFAULT,
            compare=compare,
            inference=inference,
            resamples=resamples,
            group=group,
            modality=modality,
            epochs=epochs,
            seed=seed,
            device=device,
        )
        return find_landmarks(self._store, _cohort(cohort, files), how, progress)

    def rebuild(
        self,
        path: str | Path,
        landmarks: LandmarkReport,
        cohort: str | Path | Cohort | None = None,
        *,
        label: str | None = None,
        epochs: int | None = None,
        seed: int = 0,
        device: str = "auto",
        progress: Progress = silent,
        **files: Any,
    ) -> Rebuilt:
        """Make a new reference whose encoder of one modality is fitted to landmark genes alone; the rest is as here.

        Parameters
        ----------
        path
            The reference to make.
        landmarks
            What `landmarks` gave.
        cohort, files
            The file it was asked about, once more, with every stored sample of the modality.
        label
            Patient column that a network which needs one learns from; ``cancer_type`` by default.
        seed, epochs, device
            Of the encoder.

        Returns
        -------
        Rebuilt
            What both references take: bytes by part, seconds to read and encode.

        Raises
        ------
        UsageError
            There is something at `path`.
        InputError
            Stored samples are not in the file.
        """
        from molsig.reference.measured import read_matrix
        from molsig.reference.rebuilding import rebuild

        matrix = read_matrix(
            self._store, _cohort(cohort, files), "landmarks", modality=landmarks.modality, progress=progress
        )
        return rebuild(
            self._store,
            Path(path),
            matrix,
            landmarks.genes,
            landmarks.landmarks,
            label=label,
            seed=seed,
            epochs=epochs,
            device=device,
            shelf=self._encoders,
            progress=progress,
        )

    def annotate(
        self,
        field: str,
        cohort: str | Path | Cohort | None = None,
        *,
        method: str | None = None,
        cuts: Iterable[float] = (),
        modality: str | Iterable[str] | None = None,
        patients: str | Sequence[str] = (),
        recorded: bool = False,
        group: str | None = None,
        error: float = 0.1,
        seed: int = 0,
        device: str = "auto",
        write: bool = False,
        explain: bool = False,
        progress: Progress = silent,
        **files: Any,
    ) -> AnnotationReport:
        """Predict a patient column for those who have no value in it, and measure how well such predictions do.

        Every method is measured on the patients who have a value, whole groups held out and at random, beside the
        commonest value and the commonest of the patient's cancer type; the same folds calibrate it.

        Parameters
        ----------
        field
            Column of labels or numbers.
        cohort, files
            One matrix of measurements, as in `ingest`; without it the stored vectors are used.
        method
            ``neighbours`` (stored vectors only, the default without a file), ``forest`` (the default with one),
            ``network``, or ``auto``: all that can be, of which that with the least loss on held-out groups predicts.
        cuts
            Predict intervals of a number instead: where they end, as in `molsig.retrieval.intervals.AGE_CUTS`.
        modality
            Which stored vectors, or which of several files.
        patients
            Predict for these alone.
        recorded
            Also say what is predicted of patients who have a value, by models that have not seen them.
        group
            Column whose values are held out whole; ``site`` by default, if it is stored.
        error
            Share of sets and intervals that may miss the value. A set with more than one label: it cannot be told.
        write
            Store the predictions beside the recorded values (`predictions`); these never change.
        explain
            Also say which measurements the calls of the network rest on (`AnnotationReport.explanation`): of labels or
            intervals, with ``method="network"`` and a file. Of the `patients` that are named, one by one as well.

        Raises
        ------
        UsageError
            No such column or method, or a column of dates; or `explain` of what cannot be explained.
        InputError
            Too few patients have a value.
        NotFoundError
            A patient is not known.
        MolsigError
            The parts of an explanation do not add up to what is explained.
        MissingExtraError
            An explanation needs captum, which is not installed.
        """
        from molsig.reference.annotating import annotate
        from molsig.reference.annotation_data import AnnotationOptions

        how = AnnotationOptions(
            field=field,
            method=method,
            cuts=tuple(cuts),
            modalities=_names(modality),
            patients=_names(patients) or (),
            recorded=recorded,
            group=group,
            error=error,
            seed=seed,
            device=device,
            write=write,
            explain=explain,
        )
        return annotate(self._store, _cohort(cohort, files), how, progress)

    def predictions(self, field: str | None = None) -> pa.Table:
        """Predictions that `annotate` has stored, of one column or all: `molsig.index.predictions.COLUMNS`."""
        from molsig.reference.annotating import column_name

        return self._store.predictions(None if field is None else column_name(self._store.columns(), field))

    def drop_predictions(self, field: str) -> int:
        """Delete the stored predictions of a column; how many there were. Recorded values are not touched."""
        from molsig.reference.annotating import column_name

        field = column_name(self._store.columns(), field)
        with self._store.writer("annotate") as writer:
            return writer.drop_predictions(field)

    def map(
        self,
        label: str,
        cohort: str | Path | Cohort | None = None,
        *,
        modality: str | None = None,
        query: Cohort | None = None,
        network: str = "map",
        epochs: int | None = None,
        seed: int = 0,
        refit: bool = False,
        device: str = "auto",
        progress: Progress = silent,
        **files: Any,
    ) -> MapReport:
        """Lay the samples of a modality out on the lattice of a Deep Neural Map, and land others on it.

        Where the encoder in use for the modality is a map, it is that one. Else one is fitted to the measurements of
        the file, which a reference does not keep, or without a file to the stored vectors, and kept under ``maps``.

        Parameters
        ----------
        label
            Patient column whose values are told apart on the map. The fit does not see it.
        cohort, files
            Where the measurements are: one matrix, as in `ingest`. Only samples of stored patients are mapped.
        modality
            Which of several matrices, or whose stored vectors.
        query
            Samples to land on the map: a cohort with one file of the modality.
        network
            ``map``, or ``map-paper`` for as many epochs as in the paper.
        epochs
            Most epochs of each stage.
        refit
            Fit anew although there is a map.

        Raises
        ------
        UsageError
            No such column or modality, or no matrix.
        InputError
            Too few samples.
        DamagedError
            The kept map is not what was written.
        """
        from molsig.reference.mapping import draw_map

        return draw_map(
            self._store,
            _cohort(cohort, files),
            label,
            modality=modality,
            query=query,
            network=network,
            epochs=epochs,
            seed=seed,
            refit=refit,
            device=device,
            progress=progress,
            shelf=self._encoders,
        )

    def info(self) -> dict[str, Any]:
        """What the reference holds: patients, vectors per modality, encoders, indexes, bytes."""
        encoders = []
        for row in self._store.encoders():
            training = row.card.get("training", {})
            encoders.append(
                {
                    "space": row.space,
                    "modality": row.modality,
                    "name": row.name,
                    "features": row.card.get("n_features"),
                    "samples": row.card.get("n_samples"),
                    "epochs": training.get("epochs"),
                    "device": row.card.get("device"),
                    "created": row.card.get("created"),
                }
            )
        return self._store.info() | {"encoders": encoders}

    def encoders(self) -> list[dict[str, Any]]:
        """The card of each encoder, with its space and whether that is the one in use for its modality."""
        active = {space.space for space in self._store.spaces() if space.active}
        return [
            {"space": row.space, "modality": row.modality, "active": row.space in active, "card": dict(row.card)}
            for row in self._store.encoders()
        ]

    def verify(self) -> list[Check]:
        """Check what is on disk against what was written."""
        from molsig.index.verify import verify
        from molsig.reference.composing import check_recognisers
        from molsig.reference.learning import check_learned
        from molsig.reference.map_shelf import check_maps

        return [
            *verify(self._store),
            *check_learned(self._store),
            *check_recognisers(self._store),
            *check_maps(self._store),
        ]

    def forget(
        self, patients: str | Sequence[str], *, compact: bool = False, progress: Progress = silent
    ) -> dict[str, Any]:
        """Remove patients; with `compact` the database is rewritten so that freed blocks hold nothing of them.

        Kept maps (`map`) go too: they were fitted to these patients, and are fitted anew when they are next asked for.
        """
        from molsig.reference.map_shelf import drop_maps

        with self._store.writer("forget", progress=progress) as writer:
            result = writer.forget(_names(patients) or (), compact=compact, first_of_all=lambda: drop_maps(self._store))
        return {"patients": result.patients, "vectors": result.embeddings, "compacted": result.compacted}

    def build_indexes(
        self, *, method: str | None = None, force: bool = False, progress: Progress = silent
    ) -> list[dict[str, Any]]:
        """Build the search indexes that are missing, damaged or outgrown (all with `force`); say which were built."""
        with self._store.writer("index", progress=progress) as writer:
            return [info.summary() for info in writer.build_indexes(method=method, force=force, progress=progress)]

    def export(self, output: str | Path, *, space: str = "sum", where: str | None = None) -> dict[str, Any]:
        """Write the vectors of a space with provenance and patient columns: .parquet, .csv or .h5ad by the ending."""
        from molsig.reference.export import export

        return export(self._store, Path(output), space=space, where=where)

    def __repr__(self) -> str:
        facts = self.info()
        held = ", ".join(f"{m['rows']:,} {name}" for name, m in facts["modalities"].items()) or "empty"
        return f"<Reference {self.path}: {facts['patients']:,} patients; {held}>"


def _names(given: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    return (given,) if isinstance(given, str) else tuple(given)


def _cohort(cohort: str | Path | Cohort | None, files: dict[str, Any]) -> Cohort:
    from molsig.ingest.cohort import Cohort, read_cohort

    if cohort is None:
        return Cohort.of(**files)
    if files:
        raise UsageError(f"give a cohort or single files, not both: {', '.join(files)}")
    return cohort if isinstance(cohort, Cohort) else read_cohort(Path(cohort))
