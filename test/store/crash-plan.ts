import { type Content, content } from '../conformance/store.ts'

const KiB = 1024

/** What the crash test's writer writes in each round, all at once: one blob of each kind. */
export interface Kind {
  readonly name: string
  readonly size: number
  readonly algorithm: 'sha256' | 'sha512'
  readonly way: 'pieces' | 'ingest' | 'delete'
}

export const KINDS: readonly Kind[] = [
  { name: 'big', size: 4096 * KiB + 1, algorithm: 'sha256', way: 'pieces' },
  { name: 'two', size: 300 * KiB, algorithm: 'sha512', way: 'pieces' },
  { name: 'one', size: 200 * KiB, algorithm: 'sha256', way: 'pieces' },
  { name: 'small', size: 10 * KiB, algorithm: 'sha256', way: 'pieces' },
  { name: 'stream', size: 900 * KiB, algorithm: 'sha256', way: 'ingest' },
  { name: 'gone', size: 700 * KiB, algorithm: 'sha256', way: 'delete' },
]

export function blobOf(kind: Kind, round: number): Content {
  return content(kind.size, 1000 * (round + 1) + KINDS.indexOf(kind), kind.algorithm)
}

/** 0 … length-1 in some order. */
export function shuffled(length: number, random: () => number): number[] {
  const order = Array.from({ length }, (_, i) => i)
  for (let i = length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[order[i], order[j]] = [order[j] as number, order[i] as number]
  }
  return order
}
