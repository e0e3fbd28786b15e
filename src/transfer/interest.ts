import { Bitfield } from '../../protocols/bitfield.ts'
import type { Digest } from '../../protocols/digest.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import { ShoalError } from '../errors.ts'
import type { HaveMessage, StateMessage } from './inquire.ts'
import type { NeighbourState } from './transfer.ts'

/** What one peer says of one blob. Shared by all swarms of that blob on this node. */
export class Interest {
  readonly digest: Digest
  readonly listeners = new Set<() => void>()
  state: NeighbourState = 'connecting'
  size: number | undefined
  have: Bitfield | undefined

  constructor(digest: Digest) {
    this.digest = digest
  }

  become(state: 'connecting' | 'asked' | 'failed'): void {
    this.state = state
    if (state === 'failed') this.have = undefined
    this.changed()
  }

  /** @throws ShoalError MESSAGE_MALFORMED */
  hear(message: StateMessage | HaveMessage): void {
    if (message.type === 'state') this.#hearState(message)
    else this.#hearHave(message)
    this.changed()
  }

  /** It was asked for a piece that it said it had, and does not have it. */
  lacks(index: number): void {
    if (this.have?.delete(index) && this.state === 'complete') this.state = 'partial'
  }

  changed(): void {
    for (const listener of this.listeners) listener()
  }

  #hearState(message: StateMessage): void {
    this.state = message.holding
    if (message.holding === 'none') {
      this.size = undefined
      this.have = undefined
      return
    }
    const { pieces } = geometryOf(message.size)
    const have = message.holding === 'complete' ? Bitfield.full(pieces) : message.have
    if (have?.length !== pieces)
      throw new ShoalError('MESSAGE_MALFORMED', `a bitfield that does not fit a blob of ${message.size} bytes`)
    this.size = message.size
    this.have = have
  }

  /** Without a bitfield to add to it is about an earlier interest of ours: the state that is on its way says more. */
  #hearHave(message: HaveMessage): void {
    const { have } = this
    if (have === undefined) return
    for (const index of message.indices) {
      if (index >= have.length) throw new ShoalError('MESSAGE_MALFORMED', `piece ${index} of a blob of ${have.length} pieces`)
      have.add(index)
    }
  }
}
