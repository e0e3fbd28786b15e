import { hash } from 'node:crypto'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { create as createMultihash } from 'multiformats/hashes/digest'
import { ShoalError } from './error.ts'

export type DigestAlgorithm = 'sha256' | 'sha512'

/** Bytes of each supported algorithm, and its multihash code (multiformats table). */
export const DIGEST_ALGORITHMS = {
  sha256: { bytes: 32, multihash: 0x12 },
  sha512: { bytes: 64, multihash: 0x13 },
} as const

/** The same table by multihash code, which is how the wire names an algorithm. */
export const DIGEST_CODES: ReadonlyMap<number, { readonly algorithm: DigestAlgorithm; readonly bytes: number }> = new Map(
  (Object.keys(DIGEST_ALGORITHMS) as DigestAlgorithm[]).map((algorithm) => {
    const { multihash, bytes } = DIGEST_ALGORITHMS[algorithm]
    return [multihash, { algorithm, bytes }]
  }),
)

/** The name of a blob: `sha256:<64 hex>` or `sha512:<128 hex>`, lower case (OCI image spec, "Digests"). */
export class Digest {
  readonly algorithm: DigestAlgorithm
  readonly hex: string
  readonly #text: string

  /** Use `parseDigest`, `digestFromBytes` or `digestOf`: they check. */
  constructor(algorithm: DigestAlgorithm, hex: string) {
    this.algorithm = algorithm
    this.hex = hex
    this.#text = `${algorithm}:${hex}`
  }

  get bytes(): Uint8Array {
    return Buffer.from(this.hex, 'hex')
  }

  equals(other: Digest): boolean {
    return this.#text === other.#text
  }

  /** `algorithm:hex`; the key to use in maps. */
  toString(): string {
    return this.#text
  }

  toJSON(): string {
    return this.#text
  }
}

const PATTERN = /^(sha256):([0-9a-f]{64})$|^(sha512):([0-9a-f]{128})$/

/** @throws ShoalError DIGEST_INVALID */
export function parseDigest(text: string): Digest {
  const match = typeof text === 'string' ? PATTERN.exec(text) : null
  if (match === null) {
    const shown = String(text).slice(0, 100)
    throw new ShoalError(
      'DIGEST_INVALID',
      `not a digest: "${shown}"; expected sha256:<64 lower-case hex> or sha512:<128 lower-case hex>`,
    )
  }
  return match[1] === 'sha256' ? new Digest('sha256', match[2] as string) : new Digest('sha512', match[4] as string)
}

/** @throws ShoalError DIGEST_INVALID when the length does not fit the algorithm */
export function digestFromBytes(algorithm: DigestAlgorithm, bytes: Uint8Array): Digest {
  if (bytes.length !== DIGEST_ALGORITHMS[algorithm].bytes) {
    throw new ShoalError(
      'DIGEST_INVALID',
      `a ${algorithm} digest has ${DIGEST_ALGORITHMS[algorithm].bytes} bytes, not ${bytes.length}`,
    )
  }
  return new Digest(algorithm, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex'))
}

/** Hashes on the calling thread: for small content only. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return new Digest(algorithm, hash(algorithm, bytes, 'hex'))
}

/** The blob's DHT key: CIDv1, raw codec, of the same multihash (design 1). */
export function cidOf(digest: Digest): CID {
  return CID.createV1(raw.code, createMultihash(DIGEST_ALGORITHMS[digest.algorithm].multihash, digest.bytes))
}
