/** A second holder should need so many times less than the first still will, and that much besides: what comes twice is paid for by all. */
const GAIN = 2
const LEAST_GAIN_MS = 250

/** A piece that has been asked of one peer, or is being imported, and of nobody else. */
export interface Underway {
  readonly index: number
  /** A peer id, or `origin`. */
  readonly from: string
  readonly lengthBytes: number
  readonly receivedBytes: number
  /** How long ago it was asked for. */
  readonly elapsedMs: number
  /** How long it was expected to take, by what was known of the peer then; `undefined`: unknown. */
  readonly expectedMs: number | undefined
  /** Whoever it comes from is silent for longer than its own history explains. */
  readonly silent: boolean
}

/** A holder that can be asked as well. */
export interface Second {
  readonly peerId: string
  readonly roomBytes: number
  readonly outstandingBytes: number
  /** 0 idle … 255, as it said. */
  readonly load: number
  offers(index: number): boolean
  /** How long it should take to give so many bytes, what it owes us already included. */
  expectedMs(bytes: number): number
}

export interface SecondAskOptions {
  /** Nothing is left to ask for the first time, and there is room for more. */
  readonly endgame: boolean
  /** What a reader needs next. */
  readonly urgent: readonly number[]
  /** How much may come twice, at most, of what is late but under way. */
  readonly spareBytes: number
}

export interface SecondAsk {
  readonly peerId: string
  readonly index: number
  /** What it may cost: nothing is expected of who is silent. */
  readonly spareBytes: number
}

/**
 * Which pieces to ask of a second holder too; the first to bring one wins, and the other is called off. Pieces of who is silent, always.
 * Those that are only slow to come, when a reader waits for them or nothing else is left to ask: the latest first, of a holder that should be
 * done much sooner, and only while what comes twice stays within bounds. (A piece that its holder has begun to send is hardly ever
 * called off in time: it lies in buffers on the way.)
 */
export function secondAsks(underway: readonly Underway[], seconds: Iterable<Second>, options: SecondAskOptions): SecondAsk[] {
  const taken = new Map<string, number>()
  const asks: SecondAsk[] = []
  let spare = options.spareBytes
  for (const piece of mostPressing(underway, options)) {
    const cost = piece.silent ? 0 : piece.lengthBytes
    if (cost > spare) continue
    const best = quickest(piece, seconds, taken)
    if (best === undefined) continue
    taken.set(best.peerId, (taken.get(best.peerId) ?? 0) + piece.lengthBytes)
    spare -= cost
    asks.push({ peerId: best.peerId, index: piece.index, spareBytes: cost })
  }
  return asks
}

function mostPressing(underway: readonly Underway[], { endgame, urgent }: SecondAskOptions): Underway[] {
  const pressing = underway.filter((p) => p.silent || endgame || urgent.includes(p.index))
  const rank = (p: Underway) => (urgent.includes(p.index) ? 0 : 1)
  const latest = (a: Underway, b: Underway) => (leftMs(a) === leftMs(b) ? 0 : leftMs(a) > leftMs(b) ? -1 : 1)
  return pressing.sort((a, b) => rank(a) - rank(b) || latest(a, b))
}

/**
 * How long it may still take: what is left of what was expected; beyond that, the longer it is late the longer it may go on, up to as
 * long as it has been on its way. What has come of it counts.
 */
function leftMs({ lengthBytes, receivedBytes, elapsedMs, expectedMs, silent }: Underway): number {
  if (silent) return Infinity
  if (expectedMs === undefined) return 0
  const lateMs = elapsedMs - expectedMs
  return ((lateMs < 0 ? -lateMs : Math.min(elapsedMs, 2 * lateMs)) * (lengthBytes - receivedBytes)) / lengthBytes
}

/** The holder that should bring it first, and much sooner than whom it was asked of. */
function quickest(piece: Underway, seconds: Iterable<Second>, taken: ReadonlyMap<string, number>): Second | undefined {
  const worthMs = (leftMs(piece) - LEAST_GAIN_MS) / GAIN
  if (worthMs < 0) return undefined
  let best: { readonly second: Second; readonly ms: number } | undefined
  for (const second of seconds) {
    const extra = taken.get(second.peerId) ?? 0
    if (second.peerId === piece.from || second.roomBytes <= extra || !second.offers(piece.index)) continue
    const ms = second.expectedMs(extra + piece.lengthBytes)
    if (ms > worthMs) continue
    const order = best === undefined ? -1 : ms - best.ms || second.load - best.second.load
    if (order < 0) best = { second, ms }
  }
  return best?.second
}
