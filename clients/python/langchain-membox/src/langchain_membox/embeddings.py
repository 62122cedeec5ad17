"""The box's model as embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings

from membox import Clients, describe

if TYPE_CHECKING:
    from membox import AsyncClient, Client


class MemboxEmbeddings(Embeddings):
    """Vectors of the box's model."""

    def __init__(
        self,
        model: str | None = None,
        *,
        dimensions: int | None = None,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        self.model = model
        self.dimensions = dimensions
        self.clients = Clients(url, key=key, client=client, async_client=async_client)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of texts."""
        return self.clients.run(describe.client.embed(texts, model=self.model, dimensions=self.dimensions))

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of texts."""
        return await self.clients.arun(describe.client.embed(texts, model=self.model, dimensions=self.dimensions))

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        return self.embed_documents([text])[0]

    async def aembed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        return (await self.aembed_documents([text]))[0]
