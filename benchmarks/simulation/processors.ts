/** Every host's CPU: does what it is given one after the other, and remembers how busy it was. */
export class Processors {
  readonly #freeAt: Float64Array
  readonly #second: Int32Array
  readonly #inSecond: Float64Array
  /** The most milliseconds of work in any one second. */
  readonly busiest: Float64Array
  /** The longest that anything waited, and all of the work, in milliseconds. */
  readonly longestWait: Float64Array
  readonly total: Float64Array
  /** When each core of a machine that all hosts share is free; none: each host has its own. */
  readonly #cores: Float64Array

  constructor(hosts: number, sharedCores = 0) {
    this.#freeAt = new Float64Array(hosts)
    this.#second = new Int32Array(hosts)
    this.#inSecond = new Float64Array(hosts)
    this.busiest = new Float64Array(hosts)
    this.longestWait = new Float64Array(hosts)
    this.total = new Float64Array(hosts)
    this.#cores = new Float64Array(sharedCores)
  }

  /** When the host will have done what it was given so far. */
  freeAt(host: number): number {
    return this.#freeAt[host] as number
  }

  /** @returns when this work will be done */
  work(host: number, ms: number, now: number): number {
    let start = Math.max(now, this.#freeAt[host] as number)
    if (this.#cores.length > 0) {
      let core = 0
      for (let i = 1; i < this.#cores.length; i++) if ((this.#cores[i] as number) < (this.#cores[core] as number)) core = i
      start = Math.max(start, this.#cores[core] as number)
      this.#cores[core] = start + ms
    }
    const done = start + ms
    this.#freeAt[host] = done
    this.total[host] = (this.total[host] as number) + ms
    if (start - now > (this.longestWait[host] as number)) this.longestWait[host] = start - now
    this.#note(host, start, done)
    return done
  }

  /** Counts work by the seconds in which it is done. */
  #note(host: number, start: number, done: number): void {
    for (let from = start; from < done; ) {
      const second = Math.floor(from / 1_000)
      const until = Math.min(done, (second + 1) * 1_000)
      if (second !== this.#second[host]) {
        this.#second[host] = second
        this.#inSecond[host] = 0
      }
      const busy = (this.#inSecond[host] as number) + until - from
      this.#inSecond[host] = busy
      if (busy > (this.busiest[host] as number)) this.busiest[host] = busy
      from = until
    }
  }
}
