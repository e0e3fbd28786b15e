/** What is simulated: hosts of one zone that want one blob, and nobody has it but the origin. */
export interface Scenario {
  readonly hosts: number
  /** Each host's link, each way. */
  readonly mbit: number
  /** The origin's. */
  readonly originMbit: number
  readonly mib: number
  readonly seed: number
  /** One way, between any two. */
  readonly latencyMs: number
  /** The hosts begin within this time, at random … */
  readonly spreadMs: number
  /** … or one after the other, so far apart. */
  readonly everyMs: number
  /** Before an origin's answer begins. */
  readonly originThinksMs: number
  /** Requests that the origin serves at a time; others wait. */
  readonly originRequests: number
  readonly deaths: readonly Death[]
  /** The origin is gone from then on … */
  readonly originDiesMs: number
  /** … or once every piece has come from it. */
  readonly originStops: boolean
  /** The hosts are of so many zones, in turn, each of which imports a copy of its own. */
  readonly zones: number
  /** When a crowd that does not end is given up. */
  readonly longestMs: number
  /** Clients read in order as pieces come; otherwise the whole is wanted in any order. */
  readonly readsInOrder: boolean
  /** Cores that all hosts share, as on a machine that runs all of them; 0: each host has one of its own. */
  readonly sharedCores: number
  /** Hosts of other links than `mbit`. */
  readonly slow: readonly { readonly host: number; readonly mbit: number }[]
}

export interface Death {
  readonly atMs?: number
  /** When all hosts together hold so much of what they want. */
  readonly atShare?: number
  /** A host's number, or by what it is. */
  readonly host: number | 'rendezvous' | 'standby'
}

export const DEFAULTS: Scenario = Object.freeze({
  hosts: 16,
  mbit: 50,
  originMbit: 50,
  mib: 128,
  seed: 1,
  latencyMs: 0.5,
  spreadMs: 1_000,
  everyMs: 0,
  originThinksMs: 5,
  originRequests: 256,
  deaths: [],
  originDiesMs: Number.POSITIVE_INFINITY,
  originStops: false,
  zones: 1,
  longestMs: 30 * 60_000,
  readsInOrder: true,
  sharedCores: 0,
  slow: [],
})
