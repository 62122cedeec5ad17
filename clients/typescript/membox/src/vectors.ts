/** Vectors as base64 of little-endian float32, which is a quarter of their JSON. */

const FLOAT_BYTES = 4;
const PIECE = 0x2000;

/** Numbers, or their base64. */
export type Vector = ArrayLike<number> | string;

/** A vector as base64. A text is taken as it is. */
export function encode(vector: Vector): string {
  if (typeof vector === "string") return vector;
  const view = new DataView(new ArrayBuffer(vector.length * FLOAT_BYTES));
  for (let place = 0; place < vector.length; place++) view.setFloat32(place * FLOAT_BYTES, vector[place]!, true);
  const bytes = new Uint8Array(view.buffer);
  let text = "";
  for (let start = 0; start < bytes.length; start += PIECE) {
    text += String.fromCharCode(...bytes.subarray(start, start + PIECE));
  }
  return btoa(text);
}

/** The numbers of a vector that is base64. */
export function decode(text: string): Float32Array {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / FLOAT_BYTES }, (_, place) =>
    view.getFloat32(place * FLOAT_BYTES, true),
  );
}
