import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import type { PeerRef } from '../../src/net/host.ts'
import { openRendezvous } from '../../src/rendezvous/open-rendezvous.ts'
import { rendezvousOrder } from '../../src/rendezvous/order.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { until } from '../helpers/until.ts'
import { openTestHost } from '../net/test-host.ts'
import { AT_ONCE, NEVER, range } from './rig.ts'

const digest = digestOf(Buffer.from('a layer'))
/** The smallest blob whose leases are of four pieces. */
const SIZE = 256 * 1024 * 1024
const LAST = geometryOf(SIZE).pieces - 1

test('real hosts meet, share out the pieces of a blob, and go on when the rendezvous has gone', async () => {
  await using stack = new AsyncDisposableStack()
  const zone: PeerRef[] = []
  const nodes = []
  for (let i = 0; i < 4; i++) {
    const host = stack.use(await openTestHost({ dht: false, gossip: false }))
    zone.push({ id: host.peerId, addresses: host.addresses() })
    const members = () => zone.filter(({ id }) => id !== host.peerId)
    nodes.push({ host, rendezvous: stack.use(await openRendezvous({ host, members, log: SILENT, bounds: AT_ONCE })) })
  }
  const order = rendezvousOrder(
    digest,
    zone.map(({ id }) => id),
  )
  nodes.sort((a, b) => order.indexOf(a.host.peerId) - order.indexOf(b.host.peerId))
  const members = nodes.map(({ rendezvous }) => stack.use(rendezvous.join(digest, SIZE)))
  const [, , c, d] = members
  await Promise.all(members.map((member) => member.introduced))
  const met = new Set<string>()
  d?.onMember((peer) => met.add(peer.id))
  await until('it knows the others', () => met.size === 3)
  const first = await c?.ask(range(0, LAST), SIZE, { signal: NEVER })
  const second = await d?.ask(range(0, LAST), SIZE, { signal: NEVER })
  assert.deepEqual([first?.first, second?.first], [0, 4])
  first?.progress(0, SIZE)
  first?.end({ ok: false })
  await nodes[0]?.host[Symbol.asyncDispose]()
  second?.progress(4, SIZE)
  second?.end({ ok: true })
  let next: number | undefined
  await until('it is granted more', async () => {
    next = (await d?.ask(range(8, LAST), SIZE, { signal: NEVER }))?.first
    return next !== undefined
  })
  assert.equal(next, 8)
})
