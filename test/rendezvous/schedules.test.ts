import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../protocols/digest.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import type { Grant, Membership } from '../../src/rendezvous/rendezvous.ts'
import { NEVER, range, settle, withZone, type Zone, type ZoneNode } from './rig.ts'

const SIZE = 64 * 1024 * 1024
const ALL = range(0, geometryOf(SIZE).pieces - 1)
const digest = digestOf(Buffer.from('a layer'))
const NODES = 5
/** Longer than anything is kept for whoever may come back. */
const FORGOTTEN_MS = 10 * 60_000

const WHATS = { join: 2, ask: 8, sized: 3, progress: 3, end: 2, fail: 1, leave: 1, complete: 1, kill: 1, freeze: 1, later: 3 }
const command = fc.record({
  what: fc.oneof(...Object.entries(WHATS).map(([what, weight]) => ({ weight, arbitrary: fc.constant(what) }))),
  who: fc.nat(NODES - 1),
  number: fc.nat(2_000),
})
const schedule = fc.record({
  early: fc.subarray(range(0, NODES - 1)),
  commands: fc.array(command, { maxLength: 60, size: 'max' }),
})

/** One node's part in a schedule. */
class Actor {
  readonly #zone: Zone
  readonly #node: ZoneNode
  readonly #grants: Grant[] = []
  #member: Membership | undefined
  asking = 0
  #dead = false

  constructor(zone: Zone, node: ZoneNode) {
    this.#zone = zone
    this.#node = node
  }

  async act(what: string, number: number): Promise<void> {
    const grant = this.#grants.at(-1)
    if (what === 'join' && !this.#dead) this.#member ??= this.#node.rendezvous.join(digest, number % 2 === 0 ? SIZE : undefined)
    if (what === 'ask') this.#ask(number)
    if (what === 'sized') grant?.sized(SIZE)
    if (what === 'progress' && grant?.size !== undefined) grant.progress(grant.first, SIZE)
    if (what === 'end' || what === 'fail') this.#grants.pop()?.end({ ok: what === 'end' })
    if (what === 'complete') this.#member?.complete()
    if (what === 'leave') await this.leave()
    if (what === 'freeze') this.#zone.freeze(this.#node)
    if (what === 'kill' && !this.#dead) {
      this.#dead = true
      await this.#zone.kill(this.#node)
    }
  }

  async leave(): Promise<void> {
    for (const grant of this.#grants.splice(0)) grant.end({ ok: false })
    await this.#member?.[Symbol.asyncDispose]()
    this.#member = undefined
  }

  #ask(number: number): void {
    const member = this.#member
    if (member === undefined || this.asking > 0) return
    this.asking++
    const size = member.size
    const orphans = size === undefined ? [] : ALL.slice(number % ALL.length)
    member
      .ask(orphans, size, { signal: NEVER })
      .then((grant) => {
        if (grant === undefined) return
        // granted to who has left meanwhile
        if (this.#member !== member) grant.end({ ok: false })
        else this.#grants.push(grant)
      })
      .finally(() => this.asking--)
      .catch(() => {})
  }
}

test('whatever its members do, every question is answered, and once all have left a zone keeps no timer', async () => {
  await fc.assert(
    fc.asyncProperty(schedule, async ({ early, commands }) => {
      await withZone(NODES, async (zone) => {
        const actors = zone.nodes.map((node) => new Actor(zone, node))
        for (const who of early) await (actors[who] as Actor).act('join', who)
        for (const { what, who, number } of commands) {
          await (actors[who] as Actor).act(what, number)
          await zone.clock.advance(what === 'later' ? number : number % 7)
        }
        await zone.clock.advance(20_000)
        assert.deepEqual(
          actors.map(({ asking }) => asking),
          actors.map(() => 0),
          'a question is never answered',
        )
        for (const actor of actors) await actor.leave()
        await settle()
        await zone.clock.advance(FORGOTTEN_MS)
        assert.equal(zone.clock.pending, 0, 'timers wait for nothing')
      })
    }),
    { numRuns: 150 },
  )
})
