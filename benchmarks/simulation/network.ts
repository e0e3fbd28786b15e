/** A transfer that is told when it is done. */
export interface Transfer {
  /** All its bytes have left. @returns the bytes that follow at once over the same connection, or 0 */
  sent(): number
}

interface Side {
  /** Bytes a millisecond. */
  readonly capacity: Float64Array
  /** What a flow that nothing else holds back gets here. */
  readonly level: Float64Array
  readonly flows: number[][]
}

/**
 * Links as a fluid: a flow goes at the lesser of what its sender's uplink and its receiver's downlink give it. Each link shares itself out
 * evenly, and gives what one flow can't use, because of its other end, to the others. When a flow begins or ends, only the links at its
 * two ends share anew; the links beyond them notice when they next do. Nobody ever gives more than there is.
 */
export class Network {
  readonly #up: Side
  readonly #down: Side
  readonly #owner: (Transfer | undefined)[] = []
  readonly #from: number[] = []
  readonly #to: number[] = []
  readonly #upPlace: number[] = []
  readonly #downPlace: number[] = []
  readonly #given: number[] = []
  readonly #taken: number[] = []
  readonly #rate: number[] = []
  readonly #left: number[] = []
  readonly #at: number[] = []
  readonly #free: number[] = []
  /** Flows as a heap by when they end. */
  readonly #heap: number[] = []
  readonly #place: number[] = []
  readonly #end: number[] = []
  readonly sentBytes: Float64Array
  readonly receivedBytes: Float64Array

  /** @param up,down bytes a millisecond, by host */
  constructor(up: Float64Array, down: Float64Array) {
    this.#up = { capacity: up, level: up.slice(), flows: Array.from(up, () => []) }
    this.#down = { capacity: down, level: down.slice(), flows: Array.from(down, () => []) }
    this.sentBytes = new Float64Array(up.length)
    this.receivedBytes = new Float64Array(up.length)
  }

  get nextTime(): number {
    return this.#heap.length === 0 ? Number.POSITIVE_INFINITY : (this.#end[this.#heap[0] as number] as number)
  }

  /** Flows that leave this host now. */
  uploads(host: number): number {
    return (this.#up.flows[host] as number[]).length
  }

  /** Bytes a millisecond. */
  rate(flow: number): number {
    return this.#rate[flow] as number
  }

  /** Bytes of what it carries now that have not left. */
  left(flow: number, now: number): number {
    return Math.max(0, (this.#left[flow] as number) - (this.#rate[flow] as number) * (now - (this.#at[flow] as number)))
  }

  begin(owner: Transfer, from: number, to: number, bytes: number, now: number): number {
    const flow = this.#free.pop() ?? this.#owner.length
    this.#owner[flow] = owner
    this.#from[flow] = from
    this.#to[flow] = to
    this.#left[flow] = bytes
    this.#at[flow] = now
    this.#rate[flow] = 0
    this.#given[flow] = 0
    this.#taken[flow] = 0
    this.#end[flow] = Number.POSITIVE_INFINITY
    this.#upPlace[flow] = (this.#up.flows[from] as number[]).push(flow) - 1
    this.#downPlace[flow] = (this.#down.flows[to] as number[]).push(flow) - 1
    this.#place[flow] = this.#heap.push(flow) - 1
    this.#share(from, to, now)
    return flow
  }

  /** Ends the first flow to end: its owner may go on with it. */
  finish(now: number): void {
    const flow = this.#heap[0] as number
    this.#account(flow, now)
    const owner = this.#owner[flow] as Transfer
    this.#left[flow] = 0
    const more = owner.sent()
    if (this.#owner[flow] !== owner) return
    if (more > 0) {
      this.#left[flow] = more
      this.#reschedule(flow)
    } else this.end(flow, now)
  }

  /** @returns the bytes that had not left */
  end(flow: number, now: number): number {
    this.#account(flow, now)
    const left = this.#left[flow] as number
    const [from, to] = [this.#from[flow] as number, this.#to[flow] as number]
    this.#remove(this.#up.flows[from] as number[], this.#upPlace, flow)
    this.#remove(this.#down.flows[to] as number[], this.#downPlace, flow)
    this.#drop(flow)
    this.#owner[flow] = undefined
    this.#free.push(flow)
    this.#share(from, to, now)
    return left
  }

  #remove(flows: number[], place: number[], flow: number): void {
    const last = flows.pop() as number
    if (last === flow) return
    const at = place[flow] as number
    flows[at] = last
    place[last] = at
  }

  #account(flow: number, now: number): void {
    const sent = Math.min(this.#left[flow] as number, (this.#rate[flow] as number) * (now - (this.#at[flow] as number)))
    this.#left[flow] = (this.#left[flow] as number) - sent
    this.#at[flow] = now
    const [from, to] = [this.#from[flow] as number, this.#to[flow] as number]
    this.sentBytes[from] = (this.sentBytes[from] as number) + sent
    this.receivedBytes[to] = (this.receivedBytes[to] as number) + sent
  }

  #share(from: number, to: number, now: number): void {
    this.#shareSide(this.#up, this.#given, from, this.#down, this.#to)
    this.#shareSide(this.#down, this.#taken, to, this.#up, this.#from)
    for (const flow of this.#up.flows[from] as number[]) this.#settle(flow, now)
    for (const flow of this.#down.flows[to] as number[]) this.#settle(flow, now)
  }

  /** Fills one link: evenly, but nobody gets more than the other end would take, as that end saw it last. */
  #shareSide(side: Side, shares: number[], host: number, other: Side, otherHost: readonly number[]): void {
    const flows = side.flows[host] as number[]
    const count = flows.length
    const capacity = side.capacity[host] as number
    if (count === 0) {
      side.level[host] = capacity
      return
    }
    let level = capacity / count
    for (let round = 0; round < 4; round++) {
      let spare = capacity
      let open = 0
      for (let i = 0; i < count; i++) {
        const most = other.level[otherHost[flows[i] as number] as number] as number
        if (most <= level) spare -= most
        else open++
      }
      const next = open === 0 ? Number.POSITIVE_INFINITY : spare / open
      if (next <= level * 1.001) break
      level = next
      if (open === 0) break
    }
    let used = 0
    let largest = 0
    for (let i = 0; i < count; i++) {
      const flow = flows[i] as number
      const share = Math.min(level, other.level[otherHost[flow] as number] as number)
      shares[flow] = share
      used += share
      if (share > largest) largest = share
    }
    const spare = Math.max(0, capacity - used)
    for (let i = 0; i < count; i++) shares[flows[i] as number] = (shares[flows[i] as number] as number) + spare / count
    side.level[host] = largest + spare
  }

  #settle(flow: number, now: number): void {
    const rate = Math.min(this.#given[flow] as number, this.#taken[flow] as number)
    const before = this.#rate[flow] as number
    if (Math.abs(rate - before) <= before * 1e-9) return
    this.#account(flow, now)
    this.#rate[flow] = rate
    this.#reschedule(flow)
  }

  #reschedule(flow: number): void {
    const before = this.#end[flow] as number
    const end = (this.#at[flow] as number) + (this.#left[flow] as number) / (this.#rate[flow] as number)
    this.#end[flow] = end
    if (end < before) this.#rise(flow)
    else this.#sink(flow)
  }

  #drop(flow: number): void {
    const last = this.#heap.pop() as number
    if (last === flow) return
    const at = this.#place[flow] as number
    this.#heap[at] = last
    this.#place[last] = at
    this.#rise(last)
    this.#sink(last)
  }

  #rise(flow: number): void {
    const end = this.#end[flow] as number
    let at = this.#place[flow] as number
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = this.#heap[parent] as number
      if ((this.#end[above] as number) <= end) break
      this.#heap[at] = above
      this.#place[above] = at
      at = parent
    }
    this.#heap[at] = flow
    this.#place[flow] = at
  }

  #sink(flow: number): void {
    const end = this.#end[flow] as number
    const size = this.#heap.length
    let at = this.#place[flow] as number
    for (;;) {
      let child = 2 * at + 1
      if (child >= size) break
      const right = child + 1
      if (right < size && (this.#end[this.#heap[right] as number] as number) < (this.#end[this.#heap[child] as number] as number))
        child = right
      const below = this.#heap[child] as number
      if ((this.#end[below] as number) >= end) break
      this.#heap[at] = below
      this.#place[below] = at
      at = child
    }
    this.#heap[at] = flow
    this.#place[flow] = at
  }
}
