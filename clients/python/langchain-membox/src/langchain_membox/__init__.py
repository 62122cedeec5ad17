"""LangChain over membox."""

from langchain_membox.cache import MemboxCache
from langchain_membox.chat_history import MemboxChatMessageHistory
from langchain_membox.embeddings import MemboxEmbeddings
from langchain_membox.retrievers import MemboxRetriever
from langchain_membox.stores import MemboxByteStore
from langchain_membox.vectorstores import MemboxVectorStore

__all__ = [
    "MemboxByteStore",
    "MemboxCache",
    "MemboxChatMessageHistory",
    "MemboxEmbeddings",
    "MemboxRetriever",
    "MemboxVectorStore",
]
