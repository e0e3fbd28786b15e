import { MAX_SWARM_MESSAGE_BYTES } from '../swarm/limits.ts'

/** Hashes in one claim: a page of 32 KiB, so that any claim fits into one control message. */
export const MAX_CLAIM_HASHES = 1024
/** A SHA-256. */
export const HASH_BYTES = 32
/** An Ed25519 signature. */
export const SIGNATURE_BYTES = 64
export { MAX_PEER_ID_BYTES as MAX_AUTHOR_BYTES } from '../peer-id.ts'
/** Encoded claims in one control message: what it may have less its type, digest, `more` and count. */
export const MAX_PAGE_BYTES = MAX_SWARM_MESSAGE_BYTES - (1 + 65 + 1 + 2)
/** Claims in one control message: each costs its reader a signature check. */
export const MAX_PAGE_CLAIMS = 256
