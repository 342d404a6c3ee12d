"""Vectors <-> disk: the DuckDB truth, the FAISS generations derived from it, search over both, and their verification.

Only the truth (`store`) has to survive; everything under ``index/`` can be deleted and is rebuilt from it.
"""
