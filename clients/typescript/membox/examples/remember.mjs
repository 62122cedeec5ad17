/** Remembers a conversation, and asks for the messages of the next prompt. */

import { Client } from "membox";

const client = new Client({ url: process.env.MEMBOX_URL });
const session = client.session("example-chat-js");
await session.append([
  { role: "user", content: "I keep the spare key under the blue pot." },
  { role: "user", content: "Where is my spare key?" },
]);
const { messages } = await session.context({ strategy: "recall", max_tokens: 500 });
for (const { role, content } of messages) console.log(`${role}: ${content}`);
await session.delete();
