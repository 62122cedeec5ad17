/** Uses the types that openapi-typescript has made, by openapi-fetch: `node use_typescript.js http://… NAME`. */

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };
const [, , baseUrl, collection] = process.argv as [string, string, string, string];
const client = createClient<paths>({ baseUrl });
const KEY = "The spare key is under the blue pot.";
const where = { params: { path: { collection } } };

function holds(well: boolean, what: unknown): asserts well {
  if (!well) throw new Error(JSON.stringify(what));
}

const made = await client.PUT("/v1/collections/{collection}", { ...where, body: {} });
holds(typeof made.data?.settings.model === "string", made);

const records: components["schemas"]["NewRecord"][] = [
  { id: "key", text: KEY, metadata: { topic: "house", pots: [1, { blue: true }] } },
  { id: "owls", text: "Owls eat mice." },
];
const written = await client.POST("/v1/collections/{collection}/records", { ...where, body: { records } });
holds(written.data?.records.length === 2, written);

const recalled = await client.POST("/v1/collections/{collection}/recall", {
  ...where,
  body: { query: "Where is the key?", k: 1, filter: { field: "metadata.topic", eq: "house" } },
});
const [hit] = recalled.data?.hits ?? [];
holds(hit?.text === KEY && (hit.relevance ?? 0) > 0, recalled);

const page = await client.GET("/v1/collections/{collection}/records", {
  params: { path: { collection }, query: { limit: 1, order: "oldest" } },
});
holds(page.data?.records[0]?.id === "key", page);

const embedded = await client.POST("/v1/embeddings", { body: { input: KEY, encoding_format: "base64" } });
const vector: string | number[] | undefined = embedded.data?.data[0]?.embedding;
holds(typeof vector === "string", embedded);

const refused = await client.POST("/v1/collections/{collection}/records", {
  ...where,
  body: { records: [{ text: "x", vector: [1] }] },
});
holds(refused.error?.errors?.[0]?.pointer === "/records/0/vector", refused);
// @ts-expect-error: there is no such mode
const impossible: components["schemas"]["RecallRequest"] = { query: "x", mode: "magic" };
holds(impossible.query === "x", impossible);

await client.DELETE("/v1/collections/{collection}", where);
console.log("openapi-typescript: well");
