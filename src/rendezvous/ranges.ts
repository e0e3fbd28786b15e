/** Pieces `first … last`. */
export interface Run {
  readonly first: number
  readonly last: number
}

/** The pieces that follow each other from the first of `indices` on, at most so many. */
export function firstRun(indices: readonly number[], maxPieces: number): Run | undefined {
  return runsOf(indices, 1, maxPieces)[0]
}

/** Where two decide at a time who imports what, and hear of each other late, each had better begin elsewhere. */
export function fromTheMiddle(indices: readonly number[]): readonly number[] {
  const middle = indices.length >> 1
  return [...indices.slice(middle), ...indices.slice(0, middle)]
}

/** Indices as runs in the order given; beyond `maxRuns` they are left out. */
export function runsOf(indices: readonly number[], maxRuns: number, maxPieces = Number.POSITIVE_INFINITY): Run[] {
  const runs: Run[] = []
  let first: number | undefined
  let last = 0
  for (const index of indices) {
    if (first !== undefined && index === last + 1 && index - first < maxPieces) {
      last = index
      continue
    }
    if (first !== undefined) runs.push({ first, last })
    if (runs.length === maxRuns) return runs
    first = index
    last = index
  }
  if (first !== undefined) runs.push({ first, last })
  return runs
}
