"""The engines by name; the module of one is imported only in the process that measures it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers.engine import Engine

ENGINES = {
    "exact": "benchmarks.peers.with_numpy:Exact",
    "molsig": "benchmarks.peers.with_molsig:Molsig",
    "molsig-answers": "benchmarks.peers.with_molsig:MolsigAnswers",
    "faiss-flat": "benchmarks.peers.with_faiss:Flat",
    "faiss-hnsw-fp16": "benchmarks.peers.with_faiss:Hnsw",
    "faiss-rabitq": "benchmarks.peers.with_faiss:FlatRabitq",
    "faiss-ivf-rabitq": "benchmarks.peers.with_faiss:IvfRabitq",
    "hnswlib": "benchmarks.peers.with_hnswlib:Hnswlib",
    "usearch": "benchmarks.peers.with_usearch:Usearch",
    "scalable-vs": "benchmarks.peers.with_svs:Vamana",
    "lancedb": "benchmarks.peers.with_lancedb:Lance",
    "chroma": "benchmarks.peers.with_chroma:Chroma",
    "qdrant-edge": "benchmarks.peers.with_qdrant:QdrantEdge",
    "pgvector": "benchmarks.peers.with_pgvector:Pgvector",
    "milvus-lite": "benchmarks.peers.with_milvus:MilvusLite",
}
"""Name -> module and class; molsig twice, once with all answers in one table and once as the objects of `query`."""

QUICK = ("molsig", "faiss-flat", "faiss-ivf-rabitq", "faiss-hnsw-fp16", "hnswlib", "usearch", "lancedb")
"""Measured at sizes where the others would take their whole budget to build."""


def make(name: str) -> Engine:
    """An engine that has done nothing yet, by its name or as ``module:Class``.

    Raises
    ------
    ImportError
        A module that it needs is not here.
    """
    module, _, kind = ENGINES.get(name, name).partition(":")
    made: Engine = getattr(import_module(module), kind)()
    for needed in made.needs:
        import_module(needed)
    return made
