import type { Bitfield } from '../bitfield.ts'
import type { Claim } from '../claim/codec.ts'
import type { Digest } from '../digest.ts'

/**
 * `/shoal/swarm/1`, the control stream: one long-lived stream per neighbour and direction of opening, messages of at
 * most MAX_SWARM_MESSAGE_BYTES, each about one blob.
 */
export type SwarmMessage =
  /** Tell me what you hold of this blob now (a `state` answers at once), and keep me told until `unwant`. */
  | { readonly type: 'want'; readonly digest: Digest }
  | { readonly type: 'unwant'; readonly digest: Digest }
  /** What the sender holds. `have` is set for `partial` only; `size` is 0 for `none`. */
  | {
      readonly type: 'state'
      readonly digest: Digest
      readonly holding: 'none' | 'partial' | 'complete'
      readonly size: number
      readonly have: Bitfield | undefined
      /** 0 idle … 255. */
      readonly load: number
    }
  /** Pieces that the sender has come to hold since its last `state` or `have`. */
  | { readonly type: 'have'; readonly digest: Digest; readonly indices: readonly number[]; readonly load: number }
  /** Send me the claims that you have for these pieces. */
  | { readonly type: 'get-claims'; readonly digest: Digest; readonly first: number; readonly count: number }
  /** Answers `get-claims`: in one or several messages, the last with `more: false`. Also when it has none. */
  | { readonly type: 'claims'; readonly digest: Digest; readonly claims: readonly Claim[]; readonly more: boolean }
  /** The piece that you sent did not match: re-read it, and drop it if your disk lied. */
  | { readonly type: 'bad-piece'; readonly digest: Digest; readonly index: number }
