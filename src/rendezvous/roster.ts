import { MAX_MEMBERS } from '../../protocols/rendezvous/limits.ts'

/** Of those who hold something, and of the newest, so many are always named. */
const SURE = 8

interface Entry {
  readonly sequence: number
  /** How many others it has been told of. */
  told: number
}

/** Who is to be told of whom in the swarm of one blob: every newcomer of some, and the first ones of those who come later. */
export class Roster {
  /** In the order of arrival. */
  readonly #entries = new Map<string, Entry>()
  #newcomers = new Set<string>()
  #sequence = 0

  get size(): number {
    return this.#entries.size
  }

  /** Newcomers whom the others have not been told of. */
  get pending(): boolean {
    return this.#newcomers.size > 0
  }

  ids(): Iterable<string> {
    return this.#entries.keys()
  }

  delete(id: string): void {
    this.#entries.delete(id)
    this.#newcomers.delete(id)
  }

  /** Lets one in. @returns whom to tell it of: some who hold pieces, the newest, and any others, so that a large swarm stays connected */
  introduce(id: string, holders: ReadonlySet<string>, random: () => number): string[] {
    this.delete(id)
    const others = [...this.#entries.keys()]
    const chosen = new Set<string>()
    const choose = (from: string[], count: number) => {
      for (const one of draw(from, count, random)) chosen.add(one)
    }
    if (others.length <= MAX_MEMBERS) choose(others, others.length)
    else {
      choose(
        others.filter((one) => holders.has(one)),
        SURE,
      )
      choose(others.slice(-SURE), SURE)
      choose(
        others.filter((one) => !chosen.has(one)),
        MAX_MEMBERS - chosen.size,
      )
    }
    this.#entries.set(id, { sequence: ++this.#sequence, told: chosen.size })
    this.#newcomers.add(id)
    return [...chosen]
  }

  /** Whom to tell of the newcomers since the last time: those who came before them and know few. */
  spread(random: () => number): Map<string, string[]> {
    const news = new Map<string, string[]>()
    const newcomers = [...this.#newcomers]
    this.#newcomers = new Set()
    for (const [id, entry] of this.#entries) {
      if (entry.told >= MAX_MEMBERS) continue
      const later = newcomers.filter((one) => (this.#entries.get(one)?.sequence ?? 0) > entry.sequence)
      const told = draw(later, MAX_MEMBERS - entry.told, random)
      entry.told += told.length
      if (told.length > 0) news.set(id, told)
    }
    return news
  }
}

/** So many of them, drawn by lot. */
export function draw<T>(from: readonly T[], count: number, random: () => number): T[] {
  const rest = [...from]
  const drawn = Math.min(count, rest.length)
  for (let i = 0; i < drawn; i++) {
    const j = i + Math.floor(random() * (rest.length - i))
    const one = rest[j] as T
    rest[j] = rest[i] as T
    rest[i] = one
  }
  return rest.slice(0, drawn)
}
