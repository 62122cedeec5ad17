/** LangGraph's own suite for checkpointers, as it is, against a box of its own at MEMBOX_URL: it lists all threads. */

import { deltaChannelHistoryTests, validate } from "@langchain/langgraph-checkpoint-validation";
import { MemboxSaver } from "@membox/langgraph-checkpoint";

const initializer = {
  checkpointerName: "@membox/langgraph-checkpoint",
  async createCheckpointer() {
    const saver = new MemboxSaver({ url: process.env.MEMBOX_URL });
    for await (const { thread } of saver.client.threads()) await saver.deleteThread(thread);
    return saver;
  },
};

validate(initializer);
deltaChannelHistoryTests(initializer);
