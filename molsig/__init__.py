"""molsig: find patients like this one, by vector retrieval over multimodal patient embeddings."""

__version__ = "0.1.0"
