/** Checkpoints of LangGraph.js in a box. */

export { MemboxSaver, type MemboxSaverOptions } from "./saver.js";
