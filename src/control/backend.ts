import type { Digest } from '../../protocols/digest.ts'
import type { ShoalNode } from '../node.ts'

/** What a tag means now, as the registry (or who remembers it) says. */
export interface ResolvedTag {
  readonly digest: Digest
  readonly mediaType: string
  /** Bytes of the manifest. */
  readonly size: number
}

/** What the control listener needs of a node. */
export interface ControlBackend
  extends Pick<ShoalNode, 'open' | 'add' | 'stat' | 'list' | 'remove' | 'peers' | 'bans' | 'ban' | 'unban' | 'status'> {
  /** @throws ShoalError ORIGIN_*, BLOB_UNKNOWN */
  resolveTag(
    reference: { readonly registry: string; readonly repository: string; readonly tag: string },
    options: { signal: AbortSignal },
  ): Promise<ResolvedTag>
}
