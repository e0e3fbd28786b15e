import { createCipheriv, createHash } from 'node:crypto'

const CHUNK_BYTES = 1024 * 1024
const ZEROS = Buffer.alloc(CHUNK_BYTES)

/** Bytes that no compressor makes smaller, the same for the same name: a cipher's key stream. */
export function* content(name: string, bytes: number): Generator<Buffer> {
  const key = createHash('sha256').update(name).digest()
  const stream = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
  for (let left = bytes; left > 0; left -= CHUNK_BYTES) yield stream.update(ZEROS.subarray(0, Math.min(CHUNK_BYTES, left)))
}
