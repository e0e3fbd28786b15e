/** What arithmetic allows. */
export interface Flow {
  /** The content. */
  readonly bytes: number
  readonly originMbit: number
  /** Each way, of each host that wants the content. */
  readonly mbits: readonly number[]
}

/**
 * Seconds before which not all can have the content: max(S/d, S/u_origin, N·S/(u_origin+Σu)). TCP and IP headers are left out: on
 * links of Ethernet's packet size they alone make 1.046 times this.
 */
export function lowerBoundSeconds({ bytes, originMbit, mbits }: Flow): number {
  const bits = bytes * 8
  const allUp = mbits.reduce((sum, mbit) => sum + mbit, originMbit)
  return Math.max(bits / Math.min(...mbits), bits / originMbit, (mbits.length * bits) / allUp) / 1e6
}
