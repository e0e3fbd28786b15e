import type { Digest } from '../../protocols/digest.ts'
import type { OpenBlob } from '../download/download.ts'
import { type Refusal, refusalBody } from './oci-errors.ts'

/** A part of a blob as the body of an answer. */
export interface Slice {
  readonly digest: Digest
  readonly start: number
  /** Exclusive. */
  readonly end: number
  /** Send the headers before it is known whether the bytes can be had (cuts.ts says when and why). */
  readonly headersFirst: boolean
  open(): Promise<OpenBlob>
  /** Called before each piece goes out: whether this client may have it can change while a download runs. @throws ShoalError */
  mayGoOn(blob: OpenBlob): Promise<void>
}

export type AnswerHeaders = Readonly<Record<string, string | number>>

/** What will be sent: decided first, written by `send.ts`. To HEAD the body is left out and its length still told. */
export interface Answer {
  readonly status: number
  readonly headers: AnswerHeaders
  readonly body: Uint8Array | Slice | undefined
}

const EMPTY = Buffer.alloc(0)

export function bytesAnswer(status: number, bytes: Uint8Array, headers: AnswerHeaders): Answer {
  return { status, headers: { ...headers, 'content-length': bytes.length }, body: bytes }
}

/** 304 has no Content-Length of its own. */
export function notModified(headers: AnswerHeaders): Answer {
  return { status: 304, headers, body: undefined }
}

export function refusalAnswer(refusal: Refusal): Answer {
  return bytesAnswer(refusal.status, refusalBody(refusal), { ...refusal.headers, 'content-type': 'application/json' })
}

/** Headers of a body that is known without sending it. */
export function headAnswer(length: number, headers: AnswerHeaders): Answer {
  return { status: 200, headers: { ...headers, 'content-length': length }, body: EMPTY }
}
