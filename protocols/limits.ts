/** Bounds on fields that more than one protocol has. What a single protocol bounds is in its own `limits.ts`. */
export const FIELD_LIMITS = Object.freeze({
  /** RFC 6838 gives a type and a subtype 127 characters each; with parameters, this still fits a one-byte length. */
  mediaTypeBytes: 255,
  /** A peer id is a multihash: 38 bytes for an Ed25519 key, 34 for a hashed one; room for a 512-bit hash is not needed. */
  peerIdBytes: 64,
})
