import { Bitfield } from '../../protocols/bitfield.ts'
import { Digest } from '../../protocols/digest.ts'

/** A message's value as `vectors.json` has it: digests as text, bytes in hex, what is `undefined` left out. */
export function plain(value: unknown): unknown {
  if (value instanceof Digest) return value.toString()
  if (value instanceof Bitfield) return { pieces: value.length, hex: hexOf(value.toBytes()) }
  if (value instanceof Uint8Array) return hexOf(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, v]) => v !== undefined)
  return Object.fromEntries(entries.map(([key, v]) => [key, plain(v)]))
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
