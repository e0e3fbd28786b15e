import { DEFAULT_LIMITS } from '../../src/transfer/limits.ts'
import { loadOf } from '../../src/transfer/load.ts'
import type { Edge } from './edge.ts'

/** Peers that a host sends pieces to at a time. */
const AT_ONCE = DEFAULT_LIMITS.slots

/** What one host sends to all who asked it: so many pieces at a time, the others wait in turn (src/transfer/slots.ts). */
export class Uplink {
  readonly #waiting: Edge[] = []
  #sending = 0
  /** Asked for, and not yet sent. */
  queuedBytes = 0

  get load(): number {
    return loadOf(this.queuedBytes)
  }

  /** As src/transfer/serve.ts: more than is good for those who wait. */
  get crowded(): boolean {
    return this.queuedBytes > DEFAULT_LIMITS.queuedBytes
  }

  get othersWait(): boolean {
    return this.#waiting.length > 0
  }

  /** @returns whether it may send now; otherwise its `ready` is called when it may */
  take(edge: Edge): boolean {
    if (this.#sending >= AT_ONCE) {
      this.#waiting.push(edge)
      return false
    }
    this.#sending++
    return true
  }

  give(): void {
    this.#sending--
    while (this.#sending < AT_ONCE) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      next.ready()
    }
  }
}
