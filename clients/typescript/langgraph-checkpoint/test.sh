#!/usr/bin/env bash
# Installs the package from its file in a clean folder, beside the LangGraph of a lock, and runs LangGraph's suite for
# checkpointers, its own tests, its README and its examples there against a box that nobody else uses:
#   clients/typescript/langgraph-checkpoint/test.sh http://127.0.0.1:8420 FOLDER      FOLDER is what build.sh has filled
set -euo pipefail
here=$(realpath "$(dirname "$0")") built=$(realpath "$2")
user=$built/langgraph-checkpoint
export MEMBOX_URL=$1 NO_COLOR=1
export npm_config_ignore_scripts=true npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false

rm -rf "$user"
cp -r "$here/tests" "$user"
cp -r "$here/examples" "$user"
cd "$user"
npm ci --silent
npm install --silent --no-save "$built"/membox-[0-9]*.tgz "$built"/membox-langgraph-checkpoint-*.tgz
# One file after another: the suite empties the box between its tests.
npx vitest run --globals --no-file-parallelism --reporter=default --reporter=json --outputFile.json=report.json
sed -n '/^```js$/,/^```$/{/^```/!p}' "$here/README.md" | sed "s#http://127.0.0.1:8420#$MEMBOX_URL#" >readme.mjs
node readme.mjs
for example in examples/*.mjs; do node "$example"; done
# LangGraph takes it by its types.
cat >typed.ts <<'END'
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { MemboxSaver } from "@membox/langgraph-checkpoint";
const graph = new StateGraph(Annotation.Root({ count: Annotation<number> }))
  .addNode("add", ({ count }) => ({ count: count + 1 }))
  .addEdge(START, "add")
  .compile({ checkpointer: new MemboxSaver({ url: "http://127.0.0.1:8420", ttlS: 60 }) });
export const count: Promise<number> = graph.invoke({ count: 1 }).then((state) => state.count);
END
echo '{"compilerOptions": {"strict": true, "target": "ES2022", "module": "NodeNext", "noEmit": true,
  "skipLibCheck": true, "lib": ["ES2022", "DOM"]}, "files": ["typed.ts"]}' >tsconfig.json
npx tsc
node -e 'const { numPassedTests, numTotalTests } = JSON.parse(require("fs").readFileSync("report.json"));
console.log(`# pass ${numPassedTests}\n# tests ${numTotalTests}`)'
