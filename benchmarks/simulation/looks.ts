import { chanceOfLook, fallsTo } from '../../src/download/contests.ts'
import { OwnGrant } from '../../src/rendezvous/alone.ts'
import type { Edge } from './edge.ts'
import { DIGEST } from './line.ts'
import { MIRRORED } from './mirrored.ts'
import type { Peer } from './peer.ts'
import type { World } from './world.ts'

const { MAX_QUESTIONS, SETTLED_MS } = MIRRORED

/** How one host looks after importers, of whom none lies and all are known: as src/download/inspection.ts does, which asks them what they imported. */
export class Looks {
  readonly #self: Peer
  readonly #world: World
  /** Importers who have been looked after, or were spared. */
  readonly #done = new Set<string>()
  readonly #questions = new Map<string, number>()
  /** The largest that the crowd has seemed, and since when. */
  #crowd = 0
  #grewAt = 0

  constructor(self: Peer, world: World) {
    this.#self = self
    this.#world = world
  }

  tick(): void {
    const { geometry, random, now } = this.#world
    if (chanceOfLook(geometry.pieces, 1, false) === 0 || !this.#self.importing.hasRoom) return
    const importers = this.#self.neighbours.list.filter(({ state }) => state === 'partial')
    const crowd = importers.length + this.#self.neighbours.waiting + 1
    if (crowd > this.#crowd) {
      this.#crowd = crowd
      this.#grewAt = now
    }
    if (now - this.#grewAt < SETTLED_MS) return
    const chance = chanceOfLook(geometry.pieces, this.#crowd, false)
    const due = importers.find((edge) => this.#isDue(edge, importers))
    if (due === undefined) return
    const asked = this.#questions.get(due.peerId) ?? 0
    if (asked === 0 && random() >= chance) this.#done.add(due.peerId)
    else this.#look(due, asked)
  }

  #isDue({ peerId }: Edge, importers: readonly Edge[]): boolean {
    if (this.#done.has(peerId)) return false
    if (this.#questions.has(peerId)) return true
    const others = importers.flatMap((other) => (other.peerId === peerId ? [] : other.peerId))
    return fallsTo(this.#self.id, `${DIGEST} ${peerId}`, others, 1)
  }

  /** Imports any piece that the other has imported and that is still to come here. */
  #look({ peer, peerId, heard }: Edge, asked: number): void {
    const { downloading, importing } = this.#self
    this.#questions.set(peerId, asked + 1)
    const able = [...peer.importing.imported].filter((index) => heard.has(index) && !downloading.taken(index))
    const index = able[Math.floor(this.#world.random() * able.length)]
    if (index !== undefined || asked + 1 >= MAX_QUESTIONS) this.#done.add(peerId)
    if (index === undefined) return
    this.#world.count('look')
    downloading.audit(index)
    importing.begin(new OwnGrant(index, index, this.#world.geometry.size, () => downloading.audited.delete(index)))
  }
}
