"""The reference: what a user searches, tied together from the rooms below."""

from molsig.reference.reference import Reference

__all__ = ["Reference"]
