import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { geometryOf, MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import { answerMs, maxLiveLeases, SILENCE_MS } from '../../src/rendezvous/policy.ts'
import type { Grant, Membership } from '../../src/rendezvous/rendezvous.ts'
import { ask, range, settle, withZone, type Zone, type ZoneNode } from './rig.ts'

const MiB = 1024 * 1024
/** The smallest blob whose leases are of four pieces. */
const SIZE = 256 * MiB
const digest = digestOf(Buffer.from('a layer'))
const ALL = range(0, geometryOf(SIZE).pieces - 1)

async function join(nodes: readonly ZoneNode[], size?: number): Promise<Membership[]> {
  const members = nodes.map((node) => node.rendezvous.join(digest, size))
  await Promise.all(members.map((member) => member.introduced))
  return members
}

function met(member: Membership): string[] {
  const ids: string[] = []
  member.onMember((peer) => ids.push(peer.id))()
  return ids.sort()
}

test('members of a small swarm come to know each other', async () => {
  await withZone(6, async (zone) => {
    const members = await join(zone.nodes)
    await zone.clock.advance(50)
    for (const [i, member] of members.entries()) {
      const others = zone.nodes.filter((_, j) => j !== i).map((node) => node.ref.id)
      assert.deepEqual(met(member), others.sort())
    }
  })
})

test('one member opens the origin; when it has learnt the size, the others import other pieces', async () => {
  await withZone(4, async (zone) => {
    const members = await join(zone.inOrder(digest))
    const [a, b, c] = members as [Membership, Membership, Membership]
    const { grant: opening } = await ask(zone, a, [], undefined)
    assert.equal(opening?.open, true)
    assert.equal(opening?.openBytes, MIN_PIECE_BYTES)
    assert.equal((await ask(zone, b, [], undefined)).grant, undefined)
    let changed = 0
    b.onChange(() => changed++)
    opening?.sized(SIZE)
    await settle()
    await zone.clock.advance(1)
    assert.ok(changed > 0)
    assert.equal(b.size, SIZE)
    assert.deepEqual([opening?.first, opening?.last], [0, 0])
    const { grant: second } = await ask(zone, b, ALL, SIZE)
    const { grant: third } = await ask(zone, c, ALL, SIZE)
    assert.deepEqual([second?.first, second?.last, third?.first, third?.last], [1, 4, 5, 8])
  })
})

/** Nodes in the order of the blob, joined, with the size known. */
async function crowd(count: number, run: (crowd: Crowd) => Promise<void>): Promise<void> {
  await withZone(count, async (zone) => {
    const nodes = zone.inOrder(digest)
    const members = await join(nodes, SIZE)
    await zone.clock.advance(50)
    await run({ zone, nodes, members, ask: (i, orphans = ALL) => ask(zone, members[i] as Membership, orphans, SIZE) })
  })
}

interface Crowd {
  readonly zone: Zone
  readonly nodes: readonly ZoneNode[]
  readonly members: readonly Membership[]
  ask(i: number, orphans?: readonly number[]): Promise<{ grant: Grant | undefined; tookMs: number }>
}

const runOf = (grant: Grant | undefined) => grant && [grant.first, grant.last]
const first = (nodes: readonly ZoneNode[]) => nodes[0] as ZoneNode
const second = (nodes: readonly ZoneNode[]) => nodes[1] as ZoneNode

test('the rendezvous dies before anybody has asked: the standby answers at once', async () => {
  await crowd(5, async ({ zone, nodes, ask }) => {
    await zone.kill(first(nodes))
    const { grant, tookMs } = await ask(3)
    assert.deepEqual(runOf(grant), [0, 3])
    assert.ok(tookMs <= 10)
  })
})

test('the rendezvous falls silent before it answers: the standby is asked once its answer is overdue, for what the silent one may come to last', async () => {
  await crowd(5, async ({ zone, nodes, ask }) => {
    const { grant: held } = await ask(2)
    assert.deepEqual(runOf(held), [0, 3])
    zone.freeze(first(nodes))
    const { grant, tookMs } = await ask(3)
    assert.deepEqual(runOf(grant), [512, 515])
    const overdueMs = 2 * answerMs(nodes.length - 1)
    assert.ok(tookMs >= overdueMs && tookMs <= overdueMs + 50, `${tookMs}`)
    held?.progress(0, SIZE)
    held?.progress(1, SIZE)
    await settle()
    const { grant: other, tookMs: soon } = await ask(4)
    assert.deepEqual(runOf(other), [516, 519])
    assert.ok(soon <= overdueMs + 50, `${soon}`)
  })
})

test('the rendezvous dies after a grant: the standby knows of the lease, and of its end', async () => {
  await crowd(5, async ({ zone, nodes, ask }) => {
    const { grant: held } = await ask(2)
    await zone.kill(first(nodes))
    assert.deepEqual(runOf((await ask(3)).grant), [4, 7])
    held?.end({ ok: false })
    await settle()
    assert.deepEqual(runOf((await ask(4)).grant), [0, 3])
  })
})

test('the rendezvous dies while pieces come in: what has come and what is coming is not granted again', async () => {
  await crowd(5, async ({ zone, nodes, ask }) => {
    const { grant: held } = await ask(2)
    held?.progress(0, SIZE)
    held?.progress(1, SIZE)
    await zone.kill(first(nodes))
    held?.progress(2, SIZE)
    await settle()
    const { grant } = await ask(3)
    assert.deepEqual(runOf(grant), [4, 7])
    held?.progress(3, SIZE)
    held?.end({ ok: true })
    await settle()
    assert.deepEqual(runOf((await ask(2, range(4, 63))).grant), [8, 11])
  })
})

test('the rendezvous dies, then its standby: the third in order takes over with what is under way', async () => {
  await crowd(6, async ({ zone, nodes, ask }) => {
    const { grant: a } = await ask(4)
    await zone.kill(first(nodes))
    await settle()
    const { grant: b } = await ask(5)
    await zone.kill(second(nodes))
    await settle()
    assert.deepEqual(
      [runOf(a), runOf(b)],
      [
        [0, 3],
        [4, 7],
      ],
    )
    const { grant, tookMs } = await ask(3)
    assert.deepEqual(runOf(grant), [8, 11])
    assert.ok(tookMs <= 10, `${tookMs}`)
  })
})

test('neither the rendezvous nor its standby answers: this node acts alone once both are overdue, anywhere in the blob', async () => {
  await crowd(5, async ({ zone, nodes, ask }) => {
    zone.freeze(first(nodes))
    zone.freeze(second(nodes))
    const { grant, tookMs } = await ask(3)
    const overdueMs = answerMs(nodes.length - 1)
    assert.ok(tookMs >= 2 * overdueMs && tookMs <= 3 * overdueMs + 50, `${tookMs}`)
    assert.ok(grant !== undefined && grant.last - grant.first <= 3)
    // and once they are taken for dead, others are in their place
    await zone.clock.advance(4_000)
    const { tookMs: later } = await ask(3)
    assert.ok(later <= 10, `${later}`)
  })
})

test('nobody answers the registration either: the introduction and the question both end in time', async () => {
  await withZone(3, async (zone) => {
    const [a, b, c] = zone.inOrder(digest) as [ZoneNode, ZoneNode, ZoneNode]
    zone.freeze(a)
    zone.freeze(b)
    const member = c.rendezvous.join(digest)
    let introduced = false
    void member.introduced.then(() => {
      introduced = true
    })
    const overdueMs = answerMs(zone.nodes.length - 1)
    await zone.clock.advance(overdueMs + 10)
    assert.equal(introduced, true)
    const { grant, tookMs } = await ask(zone, member, [], undefined)
    assert.equal(grant?.open, true)
    assert.ok(tookMs <= overdueMs, `${tookMs}`)
  })
})

test('an importer that dies is replaced at once, with what it was importing and what it alone held', async () => {
  await crowd(5, async ({ zone, nodes, ask, members }) => {
    const { grant: held } = await ask(2)
    held?.progress(0, SIZE)
    await settle()
    let called = 0
    assert.equal((await ask(3, range(0, 3))).grant, undefined)
    ;(members[3] as Membership).onChange(() => called++)
    await zone.kill(nodes[2] as ZoneNode)
    await zone.clock.advance(260)
    assert.ok(called > 0)
    assert.deepEqual(runOf((await ask(3, range(0, 3))).grant), [0, 3])
  })
})

test('an importer that hangs loses its lease after two seconds; one that is slow keeps it', async () => {
  await crowd(5, async ({ zone, ask, members }) => {
    const { grant: hung } = await ask(2)
    const { grant: slow } = await ask(3)
    let called = 0
    assert.equal((await ask(4, range(0, 7))).grant, undefined)
    ;(members[4] as Membership).onChange(() => called++)
    for (let passed = 0; passed <= SILENCE_MS; passed += 100) {
      slow?.alive()
      await zone.clock.advance(100)
    }
    assert.ok(called > 0)
    assert.deepEqual(runOf((await ask(4, range(0, 7))).grant), runOf(hung))
  })
})

test('when as many import as may, the others wait, and one of them is called when one is nearly done or fails', async () => {
  await crowd(14, async ({ zone, ask, members }) => {
    const most = maxLiveLeases(members.length)
    const grants: Grant[] = []
    for (let i = 0; i < most; i++) grants.push((await ask(i)).grant as Grant)
    assert.deepEqual(
      grants.map(runOf),
      grants.map((_, i) => [4 * i, 4 * i + 3]),
    )
    const called: number[] = []
    const waiting = [most, most + 1]
    for (const i of waiting) {
      assert.equal((await ask(i)).grant, undefined)
      ;(members[i] as Membership).onChange(() => called.push(i))
    }
    for (const index of [0, 1, 2]) grants[0]?.progress(index, SIZE)
    await zone.clock.advance(5)
    assert.equal(called.length, 1)
    const [one] = called as [number]
    const [other] = waiting.filter((i) => i !== one) as [number]
    assert.deepEqual(runOf((await ask(one)).grant), [4 * most, 4 * most + 3])
    assert.equal((await ask(other)).grant, undefined)
    called.length = 0
    grants[1]?.end({ ok: false })
    await zone.clock.advance(5)
    assert.ok(called.includes(other))
    assert.deepEqual(runOf((await ask(other)).grant), [4, 7])
  })
})

test('a node that newcomers take for the first serves nobody anew while its standby has the leases', async () => {
  await withZone(5, async (zone) => {
    const [newcomer, ...settled] = zone.inOrder(digest) as [ZoneNode, ...ZoneNode[]]
    for (const node of settled) node.view = settled.map((other) => other.ref)
    const members = await join(settled, SIZE)
    const { grant } = await ask(zone, members[1] as Membership, ALL, SIZE)
    assert.deepEqual(runOf(grant), [0, 3])
    await zone.clock.advance(300)
    for (const node of settled) node.view = zone.nodes.map((other) => other.ref)
    const [late] = await join([newcomer])
    await settle()
    const { grant: next } = await ask(zone, late as Membership, ALL, SIZE)
    assert.deepEqual(runOf(next), [4, 7])
    // those who were there before are not disturbed
    assert.deepEqual(runOf((await ask(zone, members[2] as Membership, ALL, SIZE)).grant), [8, 11])
  })
})

test('whoever goes to the wrong peer is sent on, and meets those who went to the right one', async () => {
  await withZone(6, async (zone) => {
    const order = zone.inOrder(digest)
    const wrong = order[3] as ZoneNode
    const astray = order[5] as ZoneNode
    astray.view = [wrong.ref, (order[4] as ZoneNode).ref, astray.ref]
    const members = await join(order.slice(0, 3), SIZE)
    assert.deepEqual(runOf((await ask(zone, members[2] as Membership, ALL, SIZE)).grant), [0, 3])
    const [member] = await join([astray])
    await zone.clock.advance(50)
    const { grant } = await ask(zone, member as Membership, ALL, SIZE)
    assert.deepEqual(runOf(grant), [4, 7])
    assert.ok(met(member as Membership).includes(first(order).ref.id))
  })
})

test('two halves of a zone that do not know of each other each have a rendezvous, and both get everything', async () => {
  await withZone(6, async (zone) => {
    const halves = [zone.nodes.slice(0, 3), zone.nodes.slice(3)]
    for (const half of halves) for (const node of half) node.view = half.map((other) => other.ref)
    for (const half of halves) {
      const members = await join(half, SIZE)
      const missing = new Set(ALL)
      for (let i = 0; missing.size > 0; i++) {
        const { grant } = await ask(zone, members[i % 3] as Membership, [...missing], SIZE)
        for (let index = grant?.first ?? 0; index <= (grant?.last ?? -1); index++) {
          assert.equal(missing.delete(index), true)
          grant?.progress(index, SIZE)
        }
        grant?.end({ ok: true })
        await settle()
      }
    }
  })
})

test('a node that is alone in its zone grants to itself', async () => {
  await withZone(1, async (zone) => {
    const [member] = await join(zone.nodes)
    const { grant, tookMs } = await ask(zone, member as Membership, [], undefined)
    assert.equal(grant?.open, true)
    assert.equal(tookMs, 0)
  })
})

test('who holds the whole and has left is still named to those who come later', async () => {
  await crowd(4, async ({ zone, nodes, members }) => {
    const holder = members[2] as Membership
    holder.complete()
    await holder[Symbol.asyncDispose]()
    await (members[3] as Membership)[Symbol.asyncDispose]()
    await settle()
    const [back] = await join([nodes[3] as ZoneNode])
    await zone.clock.advance(50)
    assert.ok(met(back as Membership).includes((nodes[2] as ZoneNode).ref.id))
  })
})

test('a question that is called off gives back what it would have got', async () => {
  await crowd(4, async ({ zone, ask, members }) => {
    const abort = new AbortController()
    const asked = (members[2] as Membership).ask(ALL, SIZE, { signal: abort.signal })
    abort.abort(new Error('not any more'))
    await assert.rejects(asked, /not any more/)
    await settle()
    await zone.clock.advance(1)
    assert.deepEqual(runOf((await ask(3)).grant), [0, 3])
  })
})
