"""LlamaIndex's chat store over a box."""

from llama_index.storage.chat_store.membox.base import MemboxChatStore

__all__ = ["MemboxChatStore"]
