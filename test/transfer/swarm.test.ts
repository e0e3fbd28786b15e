import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { geometryOf, MIN_PIECE_BYTES, PIECE_SIZES, pieceLength } from '../../protocols/pieces.ts'
import { codeOf } from '../../src/errors.ts'
import type { Swarm } from '../../src/transfer/transfer.ts'
import { until } from '../helpers/until.ts'
import { content, fetchAll, holds, joined, NEVER, neighbour, sha256, withNodes } from './rig.ts'

const KiB = 1024
const MiB = 1024 * KiB
/** A blob of pieces of a mebibyte, and hardly larger than one of the smallest pieces. */
const LARGE_BYTES = (PIECE_SIZES[0]?.upTo ?? 0) + MiB

/** The same numbers each time (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

describe('a swarm', () => {
  it('brings many pieces from several holders at once', async () => {
    await withNodes(async ([a, b, c, d]) => {
      const bytes = content(LARGE_BYTES + 17)
      const digest = digestOf(bytes)
      for (const holder of [a, b, c]) holder.library.put(bytes)
      await using swarm = await joined(d, digest, [a, b, c])
      const got = await fetchAll(swarm, bytes.length)
      assert.equal(sha256(got), sha256(bytes))
      for (const holder of [a, b, c]) assert.ok(holder.transfer.servedBytes > 0)
      const sent = [a, b, c].reduce((sum, n) => sum + n.transfer.servedBytes, 0)
      assert.equal(sent, bytes.length)
      assert.equal(
        d.transfer.traffic().reduce((sum, t) => sum + t.receivedBytes, 0),
        bytes.length,
      )
      assert.equal(a.library.buffers + b.library.buffers + c.library.buffers, 0)
    })
  })

  it('shows what each neighbour says: nothing, some, all', async () => {
    await withNodes(async ([none, some, all, me]) => {
      const bytes = content(3 * MIN_PIECE_BYTES)
      const digest = all.library.put(bytes)
      some.library.put(bytes, { pieces: [1] })
      await using swarm = await joined(me, digest, [none, some, all])
      const byId = new Map(swarm.neighbours().map((n) => [n.peer.id, n]))
      assert.equal(byId.get(none.ref.id)?.state, 'none')
      assert.equal(byId.get(none.ref.id)?.have, undefined)
      assert.equal(byId.get(some.ref.id)?.state, 'partial')
      assert.equal(byId.get(some.ref.id)?.size, bytes.length)
      assert.deepEqual(
        [0, 1, 2].map((i) => byId.get(some.ref.id)?.have?.has(i)),
        [false, true, false],
      )
      assert.equal(byId.get(all.ref.id)?.state, 'complete')
      assert.equal(byId.get(all.ref.id)?.have?.complete, true)
    })
  })

  it('tells neighbours of pieces that come to be held, and they can be had at once', async () => {
    await withNodes(async ([giver, me]) => {
      const bytes = content(4 * MIN_PIECE_BYTES)
      const digest = giver.library.put(bytes, { pieces: [0] })
      await using theirs = giver.transfer.join(digest)
      await using swarm = await joined(me, digest, [giver])
      giver.library.addPieces(digest, [2])
      theirs.have([2])
      await neighbour(swarm, giver.ref.id, (n) => n.have?.has(2) === true)
      const into = new Uint8Array(MIN_PIECE_BYTES)
      const arrival = await swarm.request(giver.ref.id, 2, into, { signal: NEVER })
      assert.deepEqual(arrival, { length: MIN_PIECE_BYTES, size: bytes.length, mediaType: undefined })
      assert.equal(sha256(into), sha256(bytes.subarray(2 * MIN_PIECE_BYTES, 3 * MIN_PIECE_BYTES)))
      giver.library.addPieces(digest, [1, 3])
      giver.library.complete(digest)
      giver.transfer.refresh(digest)
      await neighbour(swarm, giver.ref.id, (n) => n.state === 'complete')
    })
  })

  it('tells a neighbour that was told "none" as soon as there is something', async () => {
    await withNodes(async ([giver, me]) => {
      const bytes = content(2 * MIN_PIECE_BYTES)
      const digest = digestOf(bytes)
      await using swarm = await joined(me, digest, [giver])
      assert.equal(swarm.neighbours()[0]?.state, 'none')
      await using theirs = giver.transfer.join(digest)
      giver.library.put(bytes, { pieces: [1] })
      theirs.have([1])
      const n = await neighbour(swarm, giver.ref.id, holds)
      assert.equal(n.size, bytes.length)
      assert.equal(n.have?.has(1), true)
    })
  })

  it('tells neighbours when a blob is no longer held', async () => {
    await withNodes(async ([giver, me]) => {
      const digest = giver.library.put(content(100))
      await using swarm = await joined(me, digest, [giver])
      giver.library.delete(digest)
      giver.transfer.refresh(digest)
      await neighbour(swarm, giver.ref.id, (n) => n.state === 'none')
    })
  })

  it('takes in a peer that wants the same blob', async () => {
    await withNodes(async ([a, b]) => {
      const bytes = content(2 * MIN_PIECE_BYTES)
      const digest = digestOf(bytes)
      a.library.put(bytes, { pieces: [0] })
      b.library.put(bytes, { pieces: [1] })
      await using here = a.transfer.join(digest)
      await using there = b.transfer.join(digest)
      there.add(a.ref)
      await neighbour(here, b.ref.id, (n) => n.have?.has(1) === true)
      await neighbour(there, a.ref.id, (n) => n.have?.has(0) === true)
      const into = new Uint8Array(MIN_PIECE_BYTES)
      await here.request(b.ref.id, 1, into, { signal: NEVER })
      assert.equal(sha256(into), sha256(bytes.subarray(MIN_PIECE_BYTES)))
    })
  })

  it('gets a small blob of unknown size without waiting for the state', async () => {
    await withNodes(async ([giver, me]) => {
      const bytes = Buffer.from('{"schemaVersion":2}')
      const digest = giver.library.put(bytes, { mediaType: 'application/vnd.oci.image.manifest.v1+json' })
      await using swarm = me.transfer.join(digest)
      swarm.add(giver.ref)
      assert.equal(swarm.neighbours()[0]?.state, 'connecting')
      const into = new Uint8Array(MIN_PIECE_BYTES)
      const arrival = await swarm.request(giver.ref.id, 0, into, { signal: NEVER })
      assert.equal(arrival.mediaType, 'application/vnd.oci.image.manifest.v1+json')
      assert.equal(arrival.size, bytes.length)
      assert.equal(Buffer.from(into.subarray(0, arrival.length)).toString(), bytes.toString())
    })
  })

  it('gets the empty blob', async () => {
    await withNodes(async ([giver, me]) => {
      const digest = giver.library.put(new Uint8Array(0))
      await using swarm = await joined(me, digest, [giver])
      assert.equal(swarm.neighbours()[0]?.size, 0)
      const arrival = await swarm.request(giver.ref.id, 0, new Uint8Array(MIN_PIECE_BYTES), { signal: NEVER })
      assert.deepEqual([arrival.length, arrival.size], [0, 0])
    })
  })

  it('learns the size of a blob that is too large for one small piece', async () => {
    await withNodes(async ([giver, me]) => {
      const size = geometryOf(LARGE_BYTES).size
      const bytes = content(size)
      const digest = giver.library.put(bytes)
      await using swarm = me.transfer.join(digest)
      swarm.add(giver.ref)
      const asked = swarm.request(giver.ref.id, 0, new Uint8Array(MIN_PIECE_BYTES), { signal: NEVER })
      await assert.rejects(asked, (error) => codeOf(error) === 'PEER_LACKS_PIECE')
      assert.equal(swarm.neighbours()[0]?.size, size)
    })
  })

  it('reports progress as bytes arrive', async () => {
    await withNodes(async ([giver, me]) => {
      const bytes = content(LARGE_BYTES)
      const digest = giver.library.put(bytes)
      await using swarm = await joined(me, digest, [giver])
      const seen: number[] = []
      await swarm.request(giver.ref.id, 0, new Uint8Array(MiB), { signal: NEVER, onProgress: (n) => seen.push(n) })
      assert.ok(seen.length > 1)
      assert.deepEqual(
        seen,
        seen.toSorted((a, b) => a - b),
      )
      assert.equal(seen.at(-1), MiB)
    })
  })

  it('says that a peer lacks a piece, and does not offer it again', async () => {
    await withNodes(async ([giver, me]) => {
      const bytes = content(3 * MIN_PIECE_BYTES)
      const digest = giver.library.put(bytes)
      await using swarm = await joined(me, digest, [giver])
      giver.library.blob(digest).have.delete(1)
      const asked = swarm.request(giver.ref.id, 1, new Uint8Array(MIN_PIECE_BYTES), { signal: NEVER })
      await assert.rejects(asked, (error) => codeOf(error) === 'PEER_LACKS_PIECE')
      assert.equal(swarm.neighbours()[0]?.have?.has(1), false)
      assert.equal(swarm.neighbours()[0]?.have?.has(0), true)
    })
  })

  it('fails what is outstanding when the peer dies, and takes it back when it is there again', async () => {
    await withNodes(async ([giver, me], network) => {
      const bytes = content(3 * MIN_PIECE_BYTES)
      const digest = giver.library.put(bytes)
      await using swarm = await joined(me, digest, [giver])
      const gate = Promise.withResolvers<void>()
      giver.library.blob(digest).gate = gate.promise
      const asked = swarm.request(giver.ref.id, 0, new Uint8Array(MIN_PIECE_BYTES), { signal: NEVER })
      await until('the piece is being read', () => swarm.neighbours()[0]?.outstandingPieces === 1)
      network.cut(giver.host, me.host)
      await assert.rejects(asked, (error) => codeOf(error) === 'PEER_GONE')
      assert.equal(swarm.neighbours()[0]?.state, 'failed')
      assert.equal(swarm.neighbours()[0]?.outstandingPieces, 0)
      gate.resolve()
      await until('the neighbour is back', () => {
        swarm.add(giver.ref)
        return swarm.neighbours()[0]?.state === 'complete'
      })
      await swarm.request(giver.ref.id, 0, new Uint8Array(MIN_PIECE_BYTES), { signal: NEVER })
      assert.equal(giver.library.buffers, 0)
    })
  })

  it('comes back to a neighbour by itself after an accident', async () => {
    await withNodes(
      async ([giver, me], network) => {
        const digest = giver.library.put(content(10))
        await using swarm = await joined(me, digest, [giver])
        network.cut(giver.host, me.host)
        await neighbour(swarm, giver.ref.id, (n) => n.state === 'failed')
        await neighbour(swarm, giver.ref.id, (n) => n.state === 'complete')
      },
      { limits: { idleMs: 100 } },
    )
  })

  it('shows a peer that cannot be reached as failed, and does not hurry back', async () => {
    await withNodes(async ([me]) => {
      const digest = digestOf(content(10))
      await using swarm = me.transfer.join(digest)
      const ghost = { id: '12D3KooWGhost', addresses: ['/ip4/10.9.9.9/tcp/1'] }
      swarm.add(ghost)
      const n = await neighbour(swarm, ghost.id, (n) => n.state === 'failed')
      swarm.add(ghost)
      assert.equal(n.state, 'failed')
      const asked = swarm.request(ghost.id, 0, new Uint8Array(10), { signal: NEVER })
      await assert.rejects(asked, (error) => codeOf(error) === 'PEER_GONE')
    })
  })

  it('cancels: the request ends with the reason, the peer stops, and the stream goes on', async () => {
    await withNodes(async ([giver, me]) => {
      const bytes = content(LARGE_BYTES)
      const digest = giver.library.put(bytes)
      await using swarm = await joined(me, digest, [giver])
      const gate = Promise.withResolvers<void>()
      giver.library.blob(digest).gate = gate.promise
      const stop = new AbortController()
      const reason = new Error('not needed')
      const into = Buffer.alloc(MiB)
      const asked = [0, 1, 2].map((i) => swarm.request(giver.ref.id, i, into, { signal: stop.signal }))
      await until('they are asked', () => swarm.neighbours()[0]?.outstandingPieces === 3)
      stop.abort(reason)
      for (const one of asked) await assert.rejects(one, (error) => error === reason)
      assert.equal(swarm.neighbours()[0]?.outstandingBytes, 0)
      gate.resolve()
      const right = Buffer.alloc(MiB)
      await swarm.request(giver.ref.id, 5, right, { signal: NEVER })
      assert.equal(sha256(right), sha256(bytes.subarray(5 * MiB, 6 * MiB)))
      assert.ok(
        into.every((byte) => byte === 0),
        'nothing lands in a buffer that was given back',
      )
      assert.ok(giver.transfer.servedBytes <= 2 * MiB, `${giver.transfer.servedBytes}`)
    })
  })

  it('gets what is not cancelled, whatever is cancelled when, and is told once of each what came in vain', async () => {
    await withNodes(async ([giver, me]) => {
      const big = content(LARGE_BYTES + 77)
      const small = content(1000)
      const blobs = [big, small].map((bytes) => ({ bytes, digest: giver.library.put(bytes), geometry: geometryOf(bytes.length) }))
      const swarms = await Promise.all(blobs.map(({ digest }) => joined(me, digest, [giver])))
      const random = seeded(4)
      let got = 0
      let cancelled = 0
      let gotBytes = 0
      let wastedBytes = 0
      let over = 0
      const one = async () => {
        const which = random() < 0.7 ? 0 : 1
        const { bytes, geometry } = blobs[which] as (typeof blobs)[0]
        const index = Math.floor(random() * geometry.pieces)
        const start = index * geometry.pieceBytes
        const length = pieceLength(geometry, index)
        const into = Buffer.alloc(length)
        const stop = new AbortController()
        const stopAfter = random() < 0.5 ? Math.floor(random() * length) : undefined
        const options = {
          signal: stop.signal,
          onProgress: (n: number) => stopAfter !== undefined && n > stopAfter && stop.abort(),
          onOver: (wasted: number) => {
            over++
            wastedBytes += wasted
          },
        }
        if (stopAfter !== undefined && random() < 0.3) setImmediate(() => stop.abort())
        try {
          await (swarms[which] as Swarm).request(giver.ref.id, index, into, options)
          assert.ok(into.equals(bytes.subarray(start, start + length)))
          got++
          gotBytes += length
        } catch (error) {
          assert.equal(error, stop.signal.reason)
          cancelled++
        }
      }
      const worker = async () => {
        for (let i = 0; i < 25; i++) await one()
      }
      await Promise.all(Array.from({ length: 8 }, worker))
      assert.ok(got > 50 && cancelled > 20, `${got} ${cancelled}`)
      await until('every request is over', () => over === got + cancelled)
      const came = me.transfer.traffic().reduce((sum, { receivedBytes }) => sum + receivedBytes, 0)
      assert.equal(gotBytes + wastedBytes, came)
      for (const swarm of swarms) {
        assert.equal(swarm.neighbours()[0]?.state, 'complete')
        await swarm[Symbol.asyncDispose]()
      }
      assert.equal(giver.library.buffers, 0)
    })
  })

  it('is refused by a peer that does not admit us', async () => {
    await withNodes(
      async ([giver, me]) => {
        const digest = giver.library.put(content(10))
        await using swarm = await joined(me, digest, [giver])
        assert.equal(swarm.neighbours()[0]?.state, 'none')
        const asked = swarm.request(giver.ref.id, 0, new Uint8Array(MIN_PIECE_BYTES), { signal: NEVER })
        await assert.rejects(asked, (error) => codeOf(error) === 'PEER_REFUSED')
      },
      { admits: () => false },
    )
  })

  it('passes a busy answer on, and shows until when to leave the peer alone', async () => {
    await withNodes(
      async ([giver, me]) => {
        const bytes = content(8 * MIN_PIECE_BYTES)
        const digest = giver.library.put(bytes)
        await using swarm = await joined(me, digest, [giver])
        const gate = Promise.withResolvers<void>()
        giver.library.blob(digest).gate = gate.promise
        const asked = [0, 1, 2].map((i) => swarm.request(giver.ref.id, i, new Uint8Array(MIN_PIECE_BYTES), { signal: NEVER }))
        await assert.rejects(asked[2] as Promise<unknown>, (error) => codeOf(error) === 'PEER_BUSY')
        assert.ok((swarm.neighbours()[0]?.busyUntil ?? 0) > performance.now())
        gate.resolve()
        await Promise.all(asked.slice(0, 2))
      },
      { limits: { queuedRequests: 2 } },
    )
  })

  it('has a re-read what a neighbour calls wrong, tells if it was, and does so in moderation', async () => {
    await withNodes(
      async ([giver, me]) => {
        const digest = giver.library.put(content(3 * MIN_PIECE_BYTES))
        await using swarm = await joined(me, digest, [giver])
        giver.library.blob(digest).rotten.add(1)
        for (let i = 0; i < 20; i++) swarm.report(giver.ref.id, 1)
        giver.library.complete(digest)
        giver.library.blob(digest).complete = false
        await neighbour(swarm, giver.ref.id, (n) => n.state === 'partial' && n.have?.has(1) === false)
        assert.deepEqual(giver.library.rechecked, [1])
      },
      { limits: { recheckBurst: 2, recheckEveryMs: 60_000 } },
    )
  })

  it('keeps its neighbours when it is full, and remembers others to exchange useless ones for', async () => {
    await withNodes(
      async ([some, none, other, me]) => {
        const bytes = content(10)
        const digest = some.library.put(bytes)
        other.library.put(bytes)
        await using swarm = await joined(me, digest, [some, none])
        const ids = () => swarm.neighbours().map(({ peer }) => peer.id)
        swarm.add(other.ref)
        assert.deepEqual(ids(), [some.ref.id, none.ref.id])
        assert.equal(swarm.waiting, 1)
        swarm.exchange([none.ref.id])
        await neighbour(swarm, other.ref.id, holds)
        assert.deepEqual(ids(), [some.ref.id, other.ref.id])
        swarm.add(none.ref)
        assert.deepEqual([ids(), swarm.waiting], [[some.ref.id, other.ref.id], 0], 'who had to go is not remembered for a while')
        swarm.exchange([some.ref.id])
        assert.deepEqual(ids(), [some.ref.id, other.ref.id], 'nobody waits')
        swarm.remove(other.ref.id)
        swarm.add(none.ref)
        assert.deepEqual(ids(), [some.ref.id, none.ref.id], 'there is room')
      },
      { limits: { maxNeighbours: 2 } },
    )
  })

  it('shares links and not state with another swarm of the same blob', async () => {
    await withNodes(async ([giver, me]) => {
      const digest = giver.library.put(content(10))
      const first = await joined(me, digest, [giver])
      await using second = await joined(me, digest, [giver])
      await first[Symbol.asyncDispose]()
      assert.deepEqual(first.neighbours(), [])
      assert.equal(second.neighbours()[0]?.state, 'complete')
      giver.library.delete(digest)
      giver.transfer.refresh(digest)
      await neighbour(second, giver.ref.id, (n) => n.state === 'none')
    })
  })

  it('leaves nothing behind after many joins', async () => {
    await withNodes(async ([giver, me]) => {
      const stop = new AbortController()
      const into = new Uint8Array(MIN_PIECE_BYTES)
      for (let i = 0; i < 2_000; i++) {
        const digest = giver.library.put(Buffer.from(`blob ${i}`))
        await using swarm = me.transfer.join(digest)
        swarm.add(giver.ref)
        const { length } = await swarm.request(giver.ref.id, 0, into, { signal: stop.signal })
        assert.equal(Buffer.from(into.subarray(0, length)).toString(), `blob ${i}`)
      }
      assert.equal(giver.library.buffers, 0)
      assert.ok(giver.library.open <= 256)
      const { getEventListeners } = await import('node:events')
      assert.equal(getEventListeners(stop.signal, 'abort').length, 0)
      await giver.transfer[Symbol.asyncDispose]()
      assert.equal(giver.library.open, 0)
    })
  })
})
