import { sample } from '../sample.ts'
import { namedMembers } from './policy.ts'

/** The newest are named to each who comes, so many at most. */
const SURE = 8

interface Entry {
  readonly sequence: number
  /** Where it stands in the list. */
  place: number
  /** How many others it has been told of. */
  told: number
}

/** Who is to be told of whom in the swarm of one blob: every newcomer of some, and the first ones of those who come later. */
export class Roster {
  readonly #entries = new Map<string, Entry>()
  /** The same, in no order, to draw from. */
  readonly #list: string[] = []
  /** The last to come, some of whom may have gone. */
  readonly #newest: string[] = []
  readonly #newcomers = new Set<string>()
  #sequence = 0

  delete(id: string): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    const last = this.#list.pop() as string
    if (last !== id) {
      this.#list[entry.place] = last
      ;(this.#entries.get(last) as Entry).place = entry.place
    }
    this.#entries.delete(id)
    this.#newcomers.delete(id)
  }

  /** Lets one in. @returns whom to tell it of: some who hold pieces, the newest, and any others, so that a large swarm stays connected */
  introduce(id: string, holders: ReadonlySet<string>, random: () => number): string[] {
    this.delete(id)
    const count = namedMembers(this.#list.length)
    const chosen = this.#list.length <= count ? [...this.#list] : this.#choose(count, holders, random)
    this.#entries.set(id, { sequence: ++this.#sequence, place: this.#list.length, told: chosen.length })
    this.#list.push(id)
    this.#newcomers.add(id)
    this.#newest.push(id)
    if (this.#newest.length > SURE) this.#newest.shift()
    return chosen
  }

  #choose(count: number, holders: ReadonlySet<string>, random: () => number): string[] {
    const present = (id: string) => this.#entries.has(id)
    const sure = count >> 2
    const chosen = new Set([...sample([...holders].filter(present), sure, random), ...this.#newest.slice(-sure).filter(present)])
    while (chosen.size < count) chosen.add(this.#list[Math.floor(random() * this.#list.length)] as string)
    return [...chosen]
  }

  /** Whom to tell of the newcomers since the last time: those who came before them and know few. */
  spread(random: () => number): Map<string, string[]> {
    const news = new Map<string, string[]>()
    const newcomers = [...this.#newcomers]
    this.#newcomers.clear()
    if (newcomers.length === 0) return news
    const most = namedMembers(this.#list.length)
    for (const [id, entry] of this.#entries) {
      if (entry.told >= most) continue
      const later = newcomers.filter((one) => (this.#entries.get(one)?.sequence ?? 0) > entry.sequence)
      const told = sample(later, most - entry.told, random)
      entry.told += told.length
      if (told.length > 0) news.set(id, told)
    }
    return news
  }
}
