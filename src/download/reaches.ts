import type { Geometry } from '../../protocols/pieces.ts'

/** A node alone goes on with the next request when so small a part of one is left. */
const NEARLY_DONE = 1 / 4

/** The pieces `first … last` that a request brings, of which so many have not come. */
export interface Reach {
  readonly first: number
  readonly last: number
  left: number
}

/** What the requests to the origin that are under way will bring. */
export class Reaches {
  readonly #geometry: Geometry
  readonly #reaches: Reach[] = []

  constructor(geometry: Geometry) {
    this.#geometry = geometry
  }

  /** @param end where what was asked for ends; `undefined`: where the blob does */
  add(first: number, end: number | undefined): Reach {
    const { pieces, pieceBytes, size } = this.#geometry
    const last = (end === undefined || end >= size ? pieces : Math.floor(end / pieceBytes)) - 1
    const reach = { first, last, left: last - first + 1 }
    this.#reaches.push(reach)
    return reach
  }

  delete(reach: Reach): void {
    this.#reaches.splice(this.#reaches.indexOf(reach), 1)
  }

  covers(index: number): boolean {
    return this.#reaches.some(({ first, last }) => index >= first && index <= last)
  }

  /** Whether little is left of the latest. */
  get nearlyDone(): boolean {
    const latest = this.#reaches.at(-1)
    return latest !== undefined && latest.left <= NEARLY_DONE * (latest.last - latest.first + 1)
  }
}
