import { encodePieceData } from '../../protocols/piece/codec.ts'
import { MAX_DATA_BYTES } from '../../protocols/piece/limits.ts'
import type { FramePool } from './frame-pool.ts'

/** One write to the channel. */
export interface Frame {
  readonly bytes: Uint8Array
  /** How many of them are the piece's. */
  readonly pieceBytes: number
}

/** Copies part of a piece into data frames, each one contiguous buffer with its header; `head` goes in front of the first. */
export function framesOf(pool: FramePool, id: number, head: Uint8Array | undefined, part: Uint8Array): Frame[] {
  const frames: Frame[] = []
  let front = head
  for (let at = 0; at < part.length || front !== undefined; ) {
    const frontBytes = front?.length ?? 0
    const pieceBytes = Math.min(part.length - at, MAX_DATA_BYTES - frontBytes)
    const header = pieceBytes === 0 ? undefined : encodePieceData(id, pieceBytes)
    const start = frontBytes + (header?.length ?? 0)
    const bytes = pool.take(start + pieceBytes)
    if (front !== undefined) bytes.set(front)
    if (header !== undefined) bytes.set(header, frontBytes)
    bytes.set(part.subarray(at, at + pieceBytes), start)
    frames.push({ bytes, pieceBytes })
    at += pieceBytes
    front = undefined
  }
  return frames
}
