"""Puts documents into a box, and finds those that answer a question."""

from langchain_core.documents import Document
from langchain_membox import MemboxRetriever, MemboxVectorStore

store = MemboxVectorStore("example-langchain")
store.add_documents(
    [
        Document("The spare key is under the blue pot by the shed.", metadata={"topic": "house"}),
        Document("Owls eat mice and beetles.", metadata={"topic": "animals"}),
    ]
)
retriever = MemboxRetriever(collection="example-langchain", k=1)
print(retriever.invoke("Where did we hide the key?")[0].page_content)
store.clients.blocking.collection("example-langchain").drop()
