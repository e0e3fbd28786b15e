/** A byte range of a body: `start` to `end`, exclusive. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

const SINGLE = /^(?:(\d{1,16})-(\d{0,16})|-(\d{1,16}))$/
const MULTIPLE = /^[\d\s,-]+$/

/**
 * Reads a `Range` header (RFC 9110, 14.2) against a body's size; `undefined` means: answer with the whole.
 * Other units and lists of ranges are ignored, as the RFC allows; an end before its start, a start past the end, and anything
 * that is not a range at all are `unsatisfiable`, because a client that asked for a part can't use the whole.
 */
export function parseRange(header: string | undefined, size: number): ByteRange | 'unsatisfiable' | undefined {
  const [unit, ...rest] = (header ?? '').trim().split('=')
  if (unit?.trim().toLowerCase() !== 'bytes') return undefined
  const set = rest.join('=').trim()
  if (set.includes(',') && MULTIPLE.test(set)) return undefined
  const match = SINGLE.exec(set)
  if (match === null) return 'unsatisfiable'
  const [, first, last, suffix] = match
  if (suffix !== undefined) {
    const length = Math.min(Number(suffix), size)
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size }
  }
  const start = Number(first)
  const lastByte = last === '' ? size - 1 : Number(last)
  if (lastByte < start || start >= size) return 'unsatisfiable'
  return { start, end: Math.min(lastByte + 1, size) }
}

/** The `Content-Range` value of a 206, or of a 416 when there is no range. */
export function contentRange(range: ByteRange | undefined, size: number): string {
  return range === undefined ? `bytes */${size}` : `bytes ${range.start}-${range.end - 1}/${size}`
}
