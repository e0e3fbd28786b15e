import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import type { Membership } from '../../src/rendezvous/rendezvous.ts'
import { ask, range, settle, withZone, type ZoneNode } from './rig.ts'

const MiB = 1024 * 1024
const SIZE = 16 * MiB
const digest = digestOf(Buffer.from('a layer'))
const ALL = range(0, 63)

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
    assert.equal(opening?.openBytes, MiB)
    assert.equal((await ask(zone, b, [], undefined)).grant, undefined)
    let changed = 0
    b.onChange(() => changed++)
    opening?.sized(SIZE)
    await settle()
    await zone.clock.advance(1)
    assert.ok(changed > 0)
    assert.equal(b.size, SIZE)
    assert.deepEqual([opening?.first, opening?.last], [0, 3])
    const { grant: second } = await ask(zone, b, ALL, SIZE)
    const { grant: third } = await ask(zone, c, ALL, SIZE)
    assert.deepEqual([second?.first, second?.last, third?.first, third?.last], [4, 7, 8, 11])
  })
})
