import type { TransferLimits } from './limits.ts'

/** The right to have one part of a piece in memory. */
export interface Slot {
  /** The peer took some of it. */
  touch(): void
  release(): void
}

interface Held extends Slot {
  touchedAt: number
  readonly evict: () => void
}

/**
 * Bounds what serving peers holds in memory, and shares it out. Slots are granted in the order they are asked for; a peer
 * has at most two asks pending however much it wants, so the order is a round robin over peers. A peer that stops taking
 * bytes would keep its slots for ever: after `staleMs` they no longer count, and at `maxSlots` the stalest is evicted.
 */
export class Slots {
  readonly #limits: TransferLimits
  readonly #now: () => number
  readonly #held = new Set<Held>()
  readonly #waiting: { evict: () => void; grant: (slot: Slot) => void }[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(limits: TransferLimits, now: () => number) {
    this.#limits = limits
    this.#now = now
  }

  get held(): number {
    return this.#held.size
  }

  /** @param evict called when the slot is needed more by others; the slot is then to be released soon */
  take(evict: () => void): Promise<Slot> {
    const { promise, resolve } = Promise.withResolvers<Slot>()
    this.#waiting.push({ evict, grant: resolve })
    this.poll()
    return promise
  }

  /** A slot, if one is free and nobody waits for it. */
  takeNow(evict: () => void): Slot | undefined {
    const now = this.#now()
    return this.#waiting.length === 0 && this.#room(now) ? this.#hold(evict, now) : undefined
  }

  /** Grants what can be granted now. Called again by itself while somebody waits. */
  poll(): void {
    clearTimeout(this.#timer)
    const now = this.#now()
    while (this.#waiting.length > 0 && this.#room(now)) {
      const { evict, grant } = this.#waiting.shift() as { evict: () => void; grant: (slot: Slot) => void }
      grant(this.#hold(evict, now))
    }
    if (this.#waiting.length === 0) return
    this.#timer = setTimeout(() => this.poll(), this.#limits.staleMs).unref()
  }

  #room(now: number): boolean {
    const { slots, maxSlots, staleMs } = this.#limits
    if (this.#held.size < slots) return true
    let moving = 0
    let stalest: Held | undefined
    for (const held of this.#held) {
      if (now - held.touchedAt <= staleMs) moving++
      else if (stalest === undefined || held.touchedAt < stalest.touchedAt) stalest = held
    }
    if (moving >= slots) return false
    if (this.#held.size < maxSlots) return true
    stalest?.evict()
    return false
  }

  #hold(evict: () => void, now: number): Slot {
    const held: Held = {
      touchedAt: now,
      evict,
      touch: () => {
        held.touchedAt = this.#now()
      },
      release: () => {
        if (this.#held.delete(held) && this.#waiting.length > 0) this.poll()
      },
    }
    this.#held.add(held)
    return held
  }
}
