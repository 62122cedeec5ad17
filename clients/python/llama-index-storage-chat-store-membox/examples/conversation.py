"""Keeps a conversation."""

from llama_index.core.llms import ChatMessage
from llama_index.storage.chat_store.membox import MemboxChatStore

store = MemboxChatStore(prefix="example-")
store.add_message("chat", ChatMessage(role="user", content="Where is the key?"))
store.add_message("chat", ChatMessage(role="assistant", content="Under the blue pot."))
for message in store.get_messages("chat"):
    print(message)
store.delete_messages("chat")
