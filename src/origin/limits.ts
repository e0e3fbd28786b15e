export type OriginTimeouts = Readonly<Record<'connectTimeoutMs' | 'headerTimeoutMs' | 'progressTimeoutMs', number>>

/** How long the origin may take, and how much it may make us hold. */
export const ORIGIN_DEFAULTS: OriginTimeouts & Readonly<Record<'requestsPerHost' | 'maxRedirects', number>> = Object.freeze({
  /** To a connected socket, TLS included. */
  connectTimeoutMs: 5_000,
  /** From the request on the wire to the last byte of its headers. */
  headerTimeoutMs: 10_000,
  /** Without a byte of the body, while somebody waits for one. */
  progressTimeoutMs: 30_000,
  /** Under way at a time to one host for blobs, and as many for everything else. */
  requestsPerHost: 8,
  maxRedirects: 10,
})

/** What clients and registries agree a manifest can be (distribution spec: "at least 4 MiB"). */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024
export const MAX_TOKEN_ANSWER_BYTES = 1024 * 1024
/** Of a tags or referrers list: one page. */
export const MAX_RELAYED_BYTES = 32 * 1024 * 1024
/** Room for long tokens in, and for long challenges out. */
export const MAX_HEADER_BYTES = 32 * 1024
