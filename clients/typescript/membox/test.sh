#!/usr/bin/env bash
# Installs the package from its file in a clean folder, and runs its tests, its README and its examples there against
# a box:
#   clients/typescript/membox/test.sh http://127.0.0.1:8420 FOLDER      FOLDER is what build.sh has filled
set -euo pipefail
here=$(realpath "$(dirname "$0")") built=$(realpath "$2")
tools=$built/build/node_modules/.bin user=$built/membox
export MEMBOX_URL=$1
export npm_config_ignore_scripts=true npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false

rm -rf "$user"
mkdir "$user"
cd "$user"
"$tools/openapi-typescript" "$MEMBOX_URL/openapi.json" -o schema.ts >/dev/null
cmp schema.ts "$here/src/schema.ts" || { echo "src/schema.ts is not that of the box: clients/generate.sh"; exit 1; }
echo '{"private": true, "type": "module"}' >package.json
npm install --silent "$built"/membox-[0-9]*.tgz
[ "$(ls node_modules)" = membox ] || { echo "it brought others: $(ls node_modules)"; exit 1; }
cp -r "$here/tests" "$here/examples" .
node --test tests/*.test.mjs
sed -n '/^```js$/,/^```$/{/^```/!p}' "$here/README.md" | sed "s#http://127.0.0.1:8420#$MEMBOX_URL#" >readme.mjs
node readme.mjs
for example in examples/*.mjs; do node "$example"; done
# What it says of its types holds for those who use them.
cat >typed.ts <<'END'
import { Client, NotFound, type Schemas } from "membox";
const client = new Client();
const answer: Schemas["RecallAnswer"] = await client.collection("c").recall("x", { k: 1, mode: "text" });
const texts: (string | undefined)[] = answer.hits.map((hit) => hit.text);
// @ts-expect-error: there is no such mode
await client.collection("c").recall("x", { mode: "magic" });
try {
  for await (const record of client.collection("c").records()) texts.push(record.id);
} catch (error) {
  if (error instanceof NotFound) texts.push(error.pointer);
}
END
echo '{"compilerOptions": {"strict": true, "target": "ES2022", "module": "NodeNext", "types": [], "noEmit": true,
  "lib": ["ES2022", "DOM"]}, "files": ["typed.ts"]}' >tsconfig.json
"$tools/tsc"
