import { type ByteRange, parseRange } from '../../protocols/http-range.ts'

/** RFC 9110, 14.1.1: one or more `first-last`, `first-` or `-length`. */
const BYTES = /^\s*bytes\s*=\s*(?:\d+-\d*|-\d+)(?:\s*,\s*(?:\d+-\d*|-\d+))*\s*$/i

/**
 * What of a blob of `size` bytes a request wants: a range, all of it (`undefined`), or what it does not have.
 * As registries do: garbage and other units are ignored; so is a list of ranges (podman splits the 200 it gets by
 * itself); so is any range of the empty blob, which has nothing to be a part of.
 */
export function wantedRange(header: string | undefined, size: number): ByteRange | 'unsatisfiable' | undefined {
  if (header === undefined || size === 0 || !BYTES.test(header)) return undefined
  return parseRange(header.replace(/\d{16,}/g, '999999999999999'), size)
}

/** Where a single range starts, before the size is known; `undefined` for the whole, suffixes and lists. */
export function rangeStart(header: string | undefined): number | undefined {
  const match = /^\s*bytes\s*=\s*(\d{1,15})-\d*\s*$/i.exec(header ?? '')
  return match === null ? undefined : Number(match[1])
}
