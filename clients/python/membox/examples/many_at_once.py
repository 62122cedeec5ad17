"""Asks several questions at the same time."""

import asyncio

import membox


async def main() -> None:
    async with membox.AsyncClient() as client:
        animals = client.collection("example-animals")
        await animals.create()
        await animals.upsert([{"text": "Owls eat mice."}, {"text": "Bears sleep in winter."}, {"text": "Ants dig."}])
        questions = ["What do birds eat?", "Who sleeps for months?", "Who lives in the ground?"]
        answers = await asyncio.gather(*(animals.recall(question, k=1) for question in questions))
        for question, answer in zip(questions, answers, strict=True):
            print(question, answer["hits"][0]["text"])
        await animals.drop()


asyncio.run(main())
