import type { Digest } from '../digest.ts'

/**
 * A signed statement about some pieces of a blob. `complete`: its author verified the whole blob against its digest.
 * `import`: its author brought these pieces in from an origin or another zone and says only that.
 * Covers the contiguous pieces `first … first + hashes.length - 1`, at most MAX_CLAIM_HASHES of them.
 * The signature (author's Ed25519 identity key) covers everything else, behind a domain separator.
 */
export interface Claim {
  readonly kind: 'complete' | 'import'
  readonly digest: Digest
  readonly size: number
  readonly first: number
  /** SHA-256 of each piece, 32 bytes each. */
  readonly hashes: readonly Uint8Array[]
  /** The author's peer id, in its base58 text form. */
  readonly author: string
  readonly signature: Uint8Array
}
