"""Puts nodes into a box, and finds the nearest to a vector."""

from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.vector_stores.membox import MemboxVectorStore

store = MemboxVectorStore("example-llamaindex")
store.add([TextNode(text="up", embedding=[0.0, 1.0]), TextNode(text="right", embedding=[1.0, 0.0])])
found = store.query(VectorStoreQuery(query_embedding=[0.1, 0.9], similarity_top_k=1))
print(found.nodes[0].get_content() if found.nodes else "nothing")
store.clear()
