import { ShoalError } from '../../protocols/error.ts'

/** What was asked for; `end` is exclusive. */
export interface AskedRange {
  readonly start: number
  readonly end?: number | undefined
}

/** Where an answer's body lies in the blob. */
export interface BodyPlace {
  /** Of the whole blob, where the origin says. */
  readonly size: number | undefined
  readonly start: number
  /** Bytes that the body has to have; `undefined` when the origin does not say. */
  readonly length: number | undefined
}

const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i

/** The `Range` to send; `undefined` to ask for the whole. */
export function rangeHeader(asked: AskedRange): string | undefined {
  if (asked.start === 0 && asked.end === undefined) return undefined
  return `bytes=${asked.start}-${asked.end === undefined ? '' : asked.end - 1}`
}

/**
 * Checks the headers of a 200 or 206 against what was asked and against each other.
 * @throws ShoalError ORIGIN_PROTOCOL
 */
export function placeOf(
  answer: { readonly status: number; header(name: string): string | undefined },
  asked: AskedRange,
): BodyPlace {
  const encoding = answer.header('content-encoding')?.trim().toLowerCase() ?? ''
  if (encoding !== '' && encoding !== 'identity') throw wrong(`sends ${encoding.slice(0, 40)} though only identity was accepted`)
  const length = contentLength(answer.header('content-length'))
  if (answer.status === 200) return { size: length, start: 0, length }
  if (answer.status !== 206) throw wrong(`answers with status ${answer.status}`)
  if (rangeHeader(asked) === undefined) throw wrong('sends a part though the whole was asked for')

  const said = answer.header('content-range')
  const [, first = '', last = '', total = ''] = CONTENT_RANGE.exec(said?.trim() ?? '') ?? []
  const begin = Number(first)
  const end = Number(last) + 1
  const size = total === '*' ? undefined : Number(total)
  const wanted = Math.min(asked.end ?? Number.POSITIVE_INFINITY, size ?? Number.POSITIVE_INFINITY)
  const fits = first !== '' && begin === asked.start && end > begin && (size === undefined || end <= size)
  const complete = Number.isFinite(wanted) ? end === wanted : true
  if (!fits || !complete)
    throw wrong(`sends content-range "${said?.slice(0, 80) ?? ''}" for bytes ${asked.start}-${asked.end ?? ''}`)
  if (length !== undefined && length !== end - begin)
    throw wrong(`sends ${length} bytes for content-range "${said?.slice(0, 80)}"`)
  return { size, start: begin, length: end - begin }
}

function contentLength(header: string | undefined): number | undefined {
  if (header === undefined) return undefined
  if (!/^\d{1,15}$/.test(header)) throw wrong(`sends content-length "${header.slice(0, 40)}"`)
  return Number(header)
}

function wrong(what: string): ShoalError {
  return new ShoalError('ORIGIN_PROTOCOL', `the origin ${what}`)
}
