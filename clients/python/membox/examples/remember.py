"""Remembers a conversation, and asks for the messages of the next prompt."""

import membox

with membox.Client() as client:
    session = client.session("example-chat")
    session.append(
        [
            {"role": "user", "content": "I keep the spare key under the blue pot."},
            {"role": "assistant", "content": "Noted: under the blue pot."},
            {"role": "user", "content": "Where is my spare key?"},
        ],
        user="lena",
    )
    for message in session.context(strategy="recall", max_tokens=500)["messages"]:
        print(f"{message['role']}: {message['content']}")
    session.delete()
