/** What happens in the order of its time; at the same time, in the order in which it was put in. A binary heap in typed arrays: nothing is allocated per event. */
export class EventQueue {
  #capacity = 1 << 16
  #heap = new Int32Array(this.#capacity)
  #time = new Float64Array(this.#capacity)
  #sequence = new Float64Array(this.#capacity)
  #kind = new Uint8Array(this.#capacity)
  #a = new Int32Array(this.#capacity)
  #b = new Int32Array(this.#capacity)
  #free = new Int32Array(this.#capacity)
  #freeCount = 0
  #used = 0
  #size = 0
  #nextSequence = 0
  /** Of what `take` took last. */
  time = 0
  kind = 0
  a = 0
  b = 0

  get size(): number {
    return this.#size
  }

  get nextTime(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : (this.#time[this.#heap[0] as number] as number)
  }

  put(time: number, kind: number, a: number, b: number): void {
    if (this.#freeCount === 0 && this.#used === this.#capacity) this.#grow()
    const slot = this.#freeCount > 0 ? (this.#free[--this.#freeCount] as number) : this.#used++
    this.#time[slot] = time
    this.#sequence[slot] = this.#nextSequence++
    this.#kind[slot] = kind
    this.#a[slot] = a
    this.#b[slot] = b
    let at = this.#size++
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = this.#heap[parent] as number
      if (!this.#before(slot, above)) break
      this.#heap[at] = above
      at = parent
    }
    this.#heap[at] = slot
  }

  /** Takes out the first, and shows it in `time`, `kind`, `a`, `b`. */
  take(): void {
    const slot = this.#heap[0] as number
    this.time = this.#time[slot] as number
    this.kind = this.#kind[slot] as number
    this.a = this.#a[slot] as number
    this.b = this.#b[slot] as number
    this.#free[this.#freeCount++] = slot
    const last = this.#heap[--this.#size] as number
    if (this.#size > 0) this.#sink(last)
  }

  #sink(slot: number): void {
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= this.#size) break
      if (child + 1 < this.#size && this.#before(this.#heap[child + 1] as number, this.#heap[child] as number)) child++
      const below = this.#heap[child] as number
      if (!this.#before(below, slot)) break
      this.#heap[at] = below
      at = child
    }
    this.#heap[at] = slot
  }

  #before(one: number, other: number): boolean {
    const difference = (this.#time[one] as number) - (this.#time[other] as number)
    return difference < 0 || (difference === 0 && (this.#sequence[one] as number) < (this.#sequence[other] as number))
  }

  #grow(): void {
    const capacity = this.#capacity * 2
    this.#heap = copied(this.#heap, new Int32Array(capacity))
    this.#time = copied(this.#time, new Float64Array(capacity))
    this.#sequence = copied(this.#sequence, new Float64Array(capacity))
    this.#kind = copied(this.#kind, new Uint8Array(capacity))
    this.#a = copied(this.#a, new Int32Array(capacity))
    this.#b = copied(this.#b, new Int32Array(capacity))
    this.#free = copied(this.#free, new Int32Array(capacity))
    this.#capacity = capacity
  }
}

function copied<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from)
  return to
}
