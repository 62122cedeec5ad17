"""LlamaIndex's vector store over a box."""

from llama_index.vector_stores.membox.base import MemboxVectorStore

__all__ = ["MemboxVectorStore"]
