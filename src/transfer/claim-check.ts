import type { Claim } from '../../protocols/claim/codec.ts'
import type { Digest } from '../../protocols/digest.ts'
import { ShoalError } from '../errors.ts'

export interface ClaimCheckOptions {
  readonly peerId: string
  readonly verify: (claim: Claim) => Promise<boolean>
  /** The peer passed on what nobody signed. */
  readonly onForged: (error: ShoalError) => void
}

/** Checks who signed what one peer passes on. */
export class ClaimCheck {
  readonly #options: ClaimCheckOptions

  constructor(options: ClaimCheckOptions) {
    this.#options = options
  }

  /** @throws ShoalError CLAIM_INVALID, and the peer is told of, unless all of them are about this blob and by whom they say */
  async all(claims: readonly Claim[], digest: Digest): Promise<void> {
    const { peerId, verify, onForged } = this.#options
    const right = await Promise.all(claims.map(async (claim) => claim.digest.equals(digest) && verify(claim)))
    if (right.every(Boolean)) return
    const error = new ShoalError('CLAIM_INVALID', `${peerId} passed on a statement that its author did not sign`)
    onForged(error)
    throw error
  }

  /** For the claim that comes with a piece, if one does: it is checked while the piece is on its way, and handed on. */
  during(digest: Digest, onClaim: (claim: Claim | undefined) => void) {
    const { promise: done, resolve } = Promise.withResolvers<void>()
    // a request that fails by itself does not wait for it
    done.catch(() => {})
    const check = async (claim: Claim | undefined) => {
      if (claim !== undefined) await this.all([claim], digest)
      onClaim(claim)
    }
    return { done, begin: (claim: Claim | undefined) => resolve(check(claim)) }
  }
}
