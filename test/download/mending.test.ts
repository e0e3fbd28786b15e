import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import type { Downloads, OpenBlob } from '../../src/download/download.ts'
import { Mending } from '../../src/download/mending.ts'
import { ShoalError } from '../../src/errors.ts'
import type { Store, StoredBlob } from '../../src/store/store.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { VirtualClock } from '../discovery/virtual-clock.ts'
import { settle } from '../rendezvous/rig.ts'

const digest = digestOf(Buffer.from('x'))

/** A blob of four pieces of which some are wrong on the disk, and a mesh that can bring them in or not. */
function create(options: { spoilt: number[]; held?: number[]; verified?: boolean; available?: () => boolean }) {
  const { spoilt, held = [0, 1, 2, 3], verified = true, available = () => true } = options
  const have = new Set(held)
  const clock = new VirtualClock()
  const seen = { rechecked: [] as number[], losses: 0, downloads: 0 }
  const blob = {
    geometry: { size: 4, pieceBytes: 1, pieces: 4 },
    verified,
    have: {
      has: (index: number) => have.has(index),
      get count() {
        return have.size
      },
    },
    get complete() {
      return verified && have.size === 4
    },
    async recheck(index: number) {
      seen.rechecked.push(index)
      return !spoilt.includes(index) || !have.delete(index)
    },
    async [Symbol.asyncDispose]() {},
  } as unknown as StoredBlob
  const opened = {
    whole: async () => {
      if (!available()) throw new ShoalError('BLOB_UNKNOWN', 'nobody has it')
      for (let index = 0; index < 4; index++) have.add(index)
    },
    async [Symbol.asyncDispose]() {},
  } as unknown as OpenBlob
  const mending = new Mending({
    store: { open: async () => blob } as unknown as Store,
    downloads: {
      open: async () => {
        seen.downloads++
        return opened
      },
    } as unknown as Downloads,
    onLoss: () => void seen.losses++,
    log: SILENT,
    clock,
  })
  return { mending, clock, seen, have }
}

describe('what our own disk has spoilt', () => {
  it('is looked for in the whole blob, told to peers, and brought in anew, once for many reports', async () => {
    const { mending, seen, have, clock } = create({ spoilt: [1, 3], held: [0, 1, 3] })
    for (let i = 0; i < 10; i++) mending.mend(digest)
    await settle()
    assert.deepEqual(seen, { rechecked: [0, 1, 3], losses: 1, downloads: 1 })
    assert.deepEqual([have.size, clock.pending], [4, 0])
  })

  it('is tried again later and later when nobody can give it, and given up in the end', async () => {
    let there = false
    const { mending, seen, clock, have } = create({ spoilt: [2], available: () => there })
    mending.mend(digest)
    await settle()
    assert.equal(seen.downloads, 1)
    await clock.advance(29_999)
    assert.equal(seen.downloads, 1)
    await clock.advance(1)
    await settle()
    assert.equal(seen.downloads, 2)
    await clock.advance(60 * 60_000)
    await settle()
    assert.deepEqual([seen.downloads, clock.pending, have.size], [6, 0, 3])
    there = true
    mending.mend(digest)
    await settle()
    assert.equal(have.size, 4)
  })

  it('is left alone where the blob was never whole, or is right', async () => {
    const partial = create({ spoilt: [1], held: [0, 1], verified: false })
    const right = create({ spoilt: [] })
    for (const { mending } of [partial, right]) mending.mend(digest)
    await settle()
    for (const { seen, clock } of [partial, right]) assert.deepEqual([seen.downloads, seen.losses, clock.pending], [0, 0, 0])
  })

  it('does not outlive the node', async () => {
    const { mending, clock } = create({ spoilt: [1], available: () => false })
    mending.mend(digest)
    await settle()
    await mending[Symbol.asyncDispose]()
    assert.equal(clock.pending, 0)
  })
})
