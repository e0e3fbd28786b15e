/** The public API of shoal. */
export { Digest, digestOf, parseDigest } from '../protocols/digest.ts'
export type { OpenBlob, OpenOptions, VerifiedChunk } from './download/download.ts'
export { type ErrorCode, ShoalError } from './errors.ts'
export { type NodeOptions, openNode } from './node.ts'
export type { OriginSource } from './origin/origin.ts'
export type { FetchedBlob, FetchOptions, NodeStatus, PeerInfo, ShoalNode } from './shoal-node.ts'
export type { BlobInfo } from './store/store.ts'
