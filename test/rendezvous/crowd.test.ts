import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { digestOf } from '../../protocols/digest.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import type { Grant, Membership } from '../../src/rendezvous/rendezvous.ts'
import { seeded } from '../discovery/virtual-clock.ts'
import { NEVER, withZone, type Zone, type ZoneNode } from './rig.ts'

const MiB = 1024 * 1024
const digest = digestOf(Buffer.from('a layer'))

/** A crowd that imports one blob; who holds what is seen by all after a while. Counts what the origin sends. */
class Crowd {
  readonly #zone: Zone
  readonly #pieces: number
  readonly #size: number
  readonly #held = new Map<string, Set<number>>()
  readonly #alive = new Set<string>()
  readonly #bringing = new Map<string, Set<number>>()
  imports = 0
  opens = 0

  constructor(zone: Zone, size: number) {
    this.#zone = zone
    this.#size = size
    this.#pieces = geometryOf(size).pieces
  }

  /** Held by somebody who lives. */
  get held(): number {
    const all = new Set<number>()
    for (const id of this.#alive) for (const index of this.#held.get(id) ?? []) all.add(index)
    return all.size
  }

  get complete(): boolean {
    return this.held === this.#pieces
  }

  enter(node: ZoneNode, options: { pieceMs: number }): Membership {
    const { clock } = this.#zone
    const id = node.ref.id
    const member = node.rendezvous.join(digest)
    this.#alive.add(id)
    this.#held.set(id, new Set())
    this.#bringing.set(id, new Set())
    const look = async () => {
      if (!this.#alive.has(id)) return
      const size = member.size
      const grant = this.complete
        ? undefined
        : await member.ask(size === undefined ? [] : this.#orphans(id), size, { signal: NEVER })
      if (grant !== undefined) void this.#import(id, grant, options.pieceMs)
    }
    member.onChange(() => void look())
    void member.introduced.then(look)
    const tick = () => {
      void look()
      if (this.#alive.has(id)) clock.after(50, tick)
    }
    clock.after(50, tick)
    return member
  }

  async kill(node: ZoneNode): Promise<void> {
    this.#alive.delete(node.ref.id)
    await this.#zone.kill(node)
  }

  leave(): void {
    this.#alive.clear()
  }

  #orphans(id: string): number[] {
    const seen = new Set(this.#bringing.get(id))
    for (const other of this.#alive) for (const index of this.#held.get(other) ?? []) seen.add(index)
    return Array.from({ length: this.#pieces }, (_, i) => i).filter((index) => !seen.has(index))
  }

  async #import(id: string, grant: Grant, pieceMs: number): Promise<void> {
    const bringing = this.#bringing.get(id) as Set<number>
    if (grant.open) {
      this.opens++
      await this.#pass(30)
      grant.sized(this.#size)
    }
    for (let index = grant.first; index <= grant.last; index++) bringing.add(index)
    for (let index = grant.first; index <= grant.last; index++) {
      await this.#pass(pieceMs)
      if (!this.#alive.has(id)) return
      this.imports++
      this.#held.get(id)?.add(index)
      bringing.delete(index)
      grant.progress(index, this.#size)
    }
    grant.end({ ok: true })
  }

  async #pass(ms: number): Promise<void> {
    await new Promise<void>((resolve) => this.#zone.clock.after(ms, resolve))
  }
}

/** Lets time pass until the crowd holds so many pieces together. */
async function until(zone: Zone, crowd: Crowd, pieces: number): Promise<void> {
  const end = zone.clock.now() + 60_000
  while (crowd.held < pieces) {
    assert.ok(zone.clock.now() < end, `${crowd.held} of ${pieces} pieces after a minute`)
    await zone.clock.advance(10)
    await turn()
  }
}

test('a cold crowd opens the origin once and imports every piece once, whoever asks', async () => {
  await withZone(16, async (zone) => {
    const crowd = new Crowd(zone, 32 * MiB)
    const members = zone.nodes.map((node) => crowd.enter(node, { pieceMs: 40 }))
    await until(zone, crowd, 128)
    crowd.leave()
    assert.equal(crowd.opens, 1)
    assert.equal(crowd.imports, 128)
    for (const member of members) await member[Symbol.asyncDispose]()
  })
})

test('with the rendezvous killed and then its standby, hardly a piece is imported twice but for what died with them', async () => {
  await withZone(16, async (zone) => {
    const crowd = new Crowd(zone, 64 * MiB)
    const order = zone.inOrder(digest)
    for (const node of zone.nodes) crowd.enter(node, { pieceMs: 40 })
    await until(zone, crowd, 77)
    const before = crowd.held
    await crowd.kill(order[0] as ZoneNode)
    const lost = before - crowd.held
    await until(zone, crowd, 154)
    const then = crowd.held
    await crowd.kill(order[1] as ZoneNode)
    const lostThen = then - crowd.held
    await until(zone, crowd, 256)
    crowd.leave()
    const twice = crowd.imports - 256 - lost - lostThen
    assert.ok(twice <= 8, `${twice} pieces were imported twice`)
  })
})

test('with a quarter of the crowd killed the rest imports what died with them, and little else twice', async () => {
  await withZone(16, async (zone) => {
    const crowd = new Crowd(zone, 64 * MiB)
    for (const node of zone.nodes) crowd.enter(node, { pieceMs: 40 })
    await until(zone, crowd, 128)
    const before = crowd.held
    for (const node of zone.inOrder(digest).slice(0, 4)) await crowd.kill(node)
    const lost = before - crowd.held
    await until(zone, crowd, 256)
    crowd.leave()
    assert.ok(crowd.imports - 256 - lost <= 40, `${crowd.imports - 256 - lost} pieces were imported twice`)
  })
})

test('hosts that arrive one by one import nothing again', async () => {
  await withZone(10, async (zone) => {
    const crowd = new Crowd(zone, 16 * MiB)
    for (const node of zone.nodes) {
      crowd.enter(node, { pieceMs: 60 })
      await zone.clock.advance(300)
    }
    await until(zone, crowd, 64)
    crowd.leave()
    assert.equal(crowd.opens, 1)
    assert.equal(crowd.imports, 64)
  })
})

for (let seed = 1; seed <= 12; seed++) {
  test(`whatever dies, hangs or is not seen by others, those who live get everything (schedule ${seed})`, async () => {
    await withZone(
      8,
      async (zone) => {
        const random = seeded(seed)
        const crowd = new Crowd(zone, 16 * MiB)
        const some = (from: readonly ZoneNode[]) => from[Math.floor(random() * from.length)] as ZoneNode
        // each sees only part of the zone
        for (const node of zone.nodes)
          node.view = zone.nodes.filter((other) => other === node || random() < 0.8).map(({ ref }) => ref)
        for (const node of zone.nodes) {
          crowd.enter(node, { pieceMs: 20 + Math.floor(random() * 200) })
          await zone.clock.advance(Math.floor(random() * 60))
        }
        const order = zone.inOrder(digest)
        const victims = new Set([some(order.slice(0, 2)), some(order), some(order)])
        for (const victim of victims) {
          await zone.clock.advance(Math.floor(random() * 400))
          if (random() < 0.4) zone.freeze(victim)
          else await crowd.kill(victim)
        }
        await until(zone, crowd, 64)
        crowd.leave()
        assert.ok(crowd.imports <= 64 * 3, `${crowd.imports} imports`)
      },
      seed,
    )
  })
}
