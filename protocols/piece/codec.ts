import type { Digest } from '../digest.ts'

/**
 * `/shoal/piece/1`, the data stream: pipelined requests one way, answers the other. One stream carries many blobs.
 * Requests are bounded by `maxBytes`: the answerer never sends more than was asked for.
 */
export type PieceRequest =
  | {
      readonly type: 'request'
      /** Chosen by the requester, unique among its open requests on this stream. */
      readonly id: number
      readonly digest: Digest
      readonly index: number
      /** The most piece bytes the requester is ready to take. */
      readonly maxBytes: number
    }
  | { readonly type: 'cancel'; readonly id: number }

/** An answer is one `head`; with status `ok` it is followed by `data` frames of exactly `length` bytes in all, or a `fail`. */
export type PieceAnswer =
  | {
      readonly type: 'head'
      readonly id: number
      /** `too-large`: the piece is over `maxBytes`; `size` is told so that the requester can ask rightly. */
      readonly status: 'ok' | 'lacks' | 'busy' | 'refused' | 'too-large'
      /** Size of the blob; 0 when status is `lacks`, `busy` or `refused`. */
      readonly size: number
      /** Bytes that follow; 0 unless status is `ok`. */
      readonly length: number
      /** How busy the answerer is: 0 idle … 255. */
      readonly load: number
      /** The Content-Type the blob is stored with, if any (a manifest's); a claim, not covered by the digest. */
      readonly mediaType: string | undefined
    }
  | { readonly type: 'data'; readonly id: number; readonly length: number }
  | { readonly type: 'fail'; readonly id: number }
