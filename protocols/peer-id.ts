import { base58btc } from 'multiformats/bases/base58'
import { ShoalError } from './error.ts'

/** Bounds the base58 work that a peer's name can cost; an Ed25519 peer id has 38 bytes, a hashed one 34. */
export const MAX_PEER_ID_BYTES = 64
/** No more text than so many bytes can have. */
const MAX_PEER_ID_CHARACTERS = 90

/**
 * A peer id as people write it: base58 text, the last part of a multiaddr (`12D3KooW…`, `Qm…`).
 * @throws ShoalError PEER_ID_INVALID
 */
export function parsePeerId(text: string): string {
  const bytes = text.length <= MAX_PEER_ID_CHARACTERS ? decode(text) : undefined
  if (bytes === undefined || !isPeerId(bytes) || base58btc.baseEncode(bytes) !== text) {
    throw new ShoalError(
      'PEER_ID_INVALID',
      `not a peer id: "${text.slice(0, 100)}"; for example 12D3KooW…, as "shoal peers" shows`,
    )
  }
  return text
}

/** A peer id is the identity (0x00) or SHA-256 (0x12) multihash of a public key: code, length, value (libp2p peer ids spec). */
export function isPeerId(bytes: Uint8Array): boolean {
  return (
    bytes.length <= MAX_PEER_ID_BYTES &&
    bytes.length > 2 &&
    (bytes[0] === 0 || bytes[0] === 0x12) &&
    bytes[1] === bytes.length - 2
  )
}

function decode(text: string): Uint8Array | undefined {
  try {
    return base58btc.baseDecode(text)
  } catch {
    return undefined
  }
}
