import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { cidOf, type Digest } from '../../protocols/digest.ts'
import { DhtRecords } from '../../src/discovery/dht.ts'
import type { Host, Routing } from '../../src/net/host.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { blob, collect, connect, holdersOf, live, Meadow } from './meadow.ts'
import { seeded, VirtualClock } from './virtual-clock.ts'

describe('the DHT alone', () => {
  const off = { topics: false }

  it('finds who announced a blob, and not who withdrew it', async (t) => {
    const meadow = new Meadow(t)
    const [a, b] = [await meadow.join(off), await meadow.join({ ...off, zone: 'us/b' })]
    await connect(a.host, b.host)
    await meadow.clock.advance(1_000)
    a.discovery.announce(blob(1))
    await meadow.clock.advance(1_000)
    assert.deepEqual(await collect(b.discovery, blob(1)), [
      { peer: { id: a.host.peerId, addresses: a.host.addresses() }, reason: 'holder', source: 'dht', label: undefined },
    ])
    a.discovery.withdraw(blob(1))
    await meadow.clock.advance(100)
    assert.deepEqual(await collect(b.discovery, blob(1)), [])
  })

  it('announces what a restarted node holds when it is connected, at most 50 a second', async (t) => {
    const meadow = new Meadow(t)
    const held = Array.from({ length: 400 }, (_, i) => blob(i))
    const holder = await meadow.join({ ...off, held })
    const other = await meadow.join(off)
    await meadow.clock.advance(60_000)
    assert.deepEqual(await collect(other.discovery, blob(0)), [], 'announced to nobody')
    await connect(other.host, holder.host)
    const count = async () =>
      (await Promise.all(held.map((digest) => holdersOf(other.discovery, digest)))).filter((ids) => ids.length > 0).length
    await meadow.clock.advance(2_500)
    const early = await count()
    assert.ok(early > 0 && early <= 101, `${early} in two seconds`)
    await meadow.clock.advance(10_000)
    assert.equal(await count(), 400)
  })

  it('does not offer a stale provider again for a while once it was found out', async (t) => {
    const meadow = new Meadow(t)
    const { discovery } = await meadow.join(off)
    meadow.network.addProvider(cidOf(blob(1)).toString(), { id: 'ghost', addresses: ['/ip4/10.9.9.9/tcp/1'] })
    assert.deepEqual(await holdersOf(discovery, blob(1)), ['ghost'])
    discovery.forget(blob(1), 'ghost')
    assert.deepEqual(await holdersOf(discovery, blob(1)), [])
    await meadow.clock.advance(10 * 60_000)
    assert.deepEqual(await holdersOf(discovery, blob(1)), ['ghost'])
  })

  it('is not asked by a node that has neither', async (t) => {
    const meadow = new Meadow(t)
    const { discovery } = await meadow.join({ topics: false, routing: false })
    discovery.announce(blob(1))
    discovery.withdraw(blob(1))
    assert.deepEqual(await collect(discovery, blob(1)), [])
    assert.deepEqual(discovery.members(), [])
  })
})

describe('both together', () => {
  it('gives a holder once for each source', async (t) => {
    const meadow = new Meadow(t)
    const [a, b] = [await meadow.join({ held: [blob(1)] }), await meadow.join()]
    await meadow.clock.advance(10_000)
    const found = await collect(b.discovery, blob(1))
    assert.deepEqual(
      found.map(({ peer, source }) => [peer.id === a.host.peerId, source]),
      [
        [true, 'gossip'],
        [true, 'zone'],
        [true, 'dht'],
      ],
    )
    assert.deepEqual(await holdersOf(a.discovery, blob(1)), [], 'a node is not a candidate for itself')
  })

  it('believes a holder that says it holds a blob no longer more than its record', async (t) => {
    const meadow = new Meadow(t)
    const [a, b] = [await meadow.join({ held: [blob(1)] }), await meadow.join()]
    await meadow.clock.advance(10_000)
    a.discovery.withdraw(blob(1))
    await meadow.clock.advance(1_000)
    meadow.network.addProvider(cidOf(blob(1)).toString(), { id: a.host.peerId, addresses: a.host.addresses() })
    assert.deepEqual(await holdersOf(b.discovery, blob(1)), [])
  })
})

type PeerListener = Parameters<Host['onPeer']>[0]

/** Records over a routing that the test answers for; `connected` says whether there is a peer. */
function records(routing: Partial<Routing>, hasPlenty: (digest: string) => boolean = () => false, hasCompany = () => false) {
  const clock = new VirtualClock()
  let peers = [{}] as unknown as ReturnType<Host['peers']>
  let tell: PeerListener = () => {}
  let onlines = 0
  const connected = (is: boolean) => {
    peers = (is ? [{}] : []) as unknown as ReturnType<Host['peers']>
    tell({ type: is ? 'connect' : 'disconnect', peer: { id: 'other', addresses: [] } })
  }
  const dht = new DhtRecords({
    host: {
      peers: () => peers,
      onPeer: (listener) => {
        tell = listener
        return () => {}
      },
    },
    routing: { provide: async () => {}, cancel: async () => {}, find: async function* () {}, ...routing },
    hasPlenty,
    hasCompany,
    onOnline: () => {
      onlines++
    },
    clock,
    random: seeded(7),
    log: SILENT,
  })
  return { clock, dht, connected, onlines: () => onlines }
}

describe('records in the DHT', () => {
  it('are made a few at a time', async () => {
    let running = 0
    let most = 0
    const ends: (() => void)[] = []
    const provide = () =>
      new Promise<void>((resolve) => {
        most = Math.max(most, ++running)
        ends.push(() => {
          running--
          resolve()
        })
      })
    const { clock, dht } = records({ provide })
    for (let i = 0; i < 20; i++) dht.offer(blob(i))
    let done = 0
    await clock.until('all are made', () => {
      for (const end of ends.splice(0)) {
        end()
        done++
      }
      return done === 20
    })
    assert.ok(most > 1 && most <= 4, `${most} at a time`)
    await dht[Symbol.asyncDispose]()
  })

  it('are tried again when they fail, later each time, and given up in the end', async () => {
    let tries = 0
    const provide = async () => {
      tries++
      throw new Error('no')
    }
    const { clock, dht } = records({ provide })
    dht.offer(blob(1))
    await clock.advance(3_000)
    assert.equal(tries, 1)
    await clock.advance(600_000)
    assert.equal(tries, 4)
    await dht[Symbol.asyncDispose]()
    assert.equal(clock.pending, 0)
  })

  it('are not made when plenty of others nearby hold the blob, but for a few', async () => {
    const made: string[] = []
    const { clock, dht } = records({ provide: async (cid) => void made.push(cid.toString()) }, () => true)
    for (let i = 0; i < 200; i++) dht.offer(blob(i))
    await clock.advance(60_000)
    assert.ok(made.length > 0 && made.length < 30, `${made.length} of 200`)
    await dht[Symbol.asyncDispose]()
  })

  it('wait for the news of others nearby, who may have made enough', async () => {
    const made: string[] = []
    const heard = new Set<string>()
    const provide = async (cid: { toString(): string }) => void made.push(cid.toString())
    const { clock, dht } = records(
      { provide },
      (digest) => heard.has(digest),
      () => true,
    )
    dht.offer(blob(1))
    dht.offer(blob(2))
    await clock.advance(1_400)
    assert.deepEqual(made, [])
    heard.add(String(blob(1)))
    await clock.advance(3_000)
    assert.equal(made.length, 1)
    await dht[Symbol.asyncDispose]()
    assert.equal(clock.pending, 0)
  })

  it('are made anew after the node was cut off from everybody', async () => {
    const made: string[] = []
    const { clock, dht, connected, onlines } = records({ provide: async (cid) => void made.push(cid.toString()) })
    dht.offer(blob(1))
    await clock.advance(2_000)
    dht.offer(blob(1))
    await clock.advance(2_000)
    assert.equal(made.length, 1, 'a record that stands is not made again')
    connected(false)
    dht.offer(blob(2))
    await clock.advance(60_000)
    assert.equal(made.length, 1, 'nobody is there')
    connected(true)
    dht.offer(blob(1))
    await clock.advance(2_000)
    assert.equal(made.length, 3)
    assert.equal(onlines(), 2)
    await dht[Symbol.asyncDispose]()
  })

  it('are gone when they are withdrawn while they are being made', async () => {
    const calls: string[] = []
    const provide: Routing['provide'] = async (_cid, { signal }) => {
      calls.push('provide')
      await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    }
    const { clock, dht } = records({ provide, cancel: async () => void calls.push('cancel') })
    dht.offer(blob(1))
    await clock.advance(2_000)
    dht.withdraw(blob(1))
    await clock.advance(60_000)
    assert.deepEqual(calls, ['provide', 'cancel'])
    await dht[Symbol.asyncDispose]()
  })
})

describe('looking up', () => {
  const hanging = (digest: Digest, meadow: Meadow): Host => {
    const host = meadow.host({ topics: false })
    const find: Routing['find'] = async function* (_cid, { signal }) {
      yield { id: 'quick', addresses: [] }
      await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      yield { id: String(digest), addresses: [] }
    }
    return withFind(host, find)
  }

  it('ends when the DHT takes too long, with what came until then', async (t) => {
    const meadow = new Meadow(t)
    const { discovery } = await meadow.join({ host: hanging(blob(1), meadow) })
    const found = holdersOf(discovery, blob(1))
    await meadow.clock.advance(16_000)
    assert.deepEqual(await found, ['quick'])
  })

  it('ends with the reason when it is aborted, and quietly when discovery is closed', async (t) => {
    const meadow = new Meadow(t)
    const { discovery } = await meadow.join({ host: hanging(blob(1), meadow) })
    const abort = new AbortController()
    const aborted = collect(discovery, blob(1), { signal: abort.signal })
    const closed = holdersOf(discovery, blob(1))
    const reason = new Error('enough')
    setImmediate(() => abort.abort(reason))
    await assert.rejects(aborted, reason)
    await discovery[Symbol.asyncDispose]()
    assert.deepEqual(await closed, ['quick'])
    assert.deepEqual(await holdersOf(discovery, blob(1)), [])
  })

  it('stops the look-up of who does not read on', async (t) => {
    const meadow = new Meadow(t)
    const { discovery } = await meadow.join({ host: hanging(blob(1), meadow) })
    const before = meadow.clock.pending
    for await (const { peer } of discovery.find(blob(1), live())) {
      assert.equal(peer.id, 'quick')
      break
    }
    await meadow.clock.advance(0)
    assert.equal(meadow.clock.pending, before)
  })

  it('skips a DHT that fails', async (t) => {
    const meadow = new Meadow(t)
    const host = meadow.host({ topics: false })
    // biome-ignore lint/correctness/useYield: it fails before it has an answer
    const find: Routing['find'] = async function* () {
      throw new Error('broken')
    }
    const broken = withFind(host, find)
    const { discovery } = await meadow.join({ host: broken })
    assert.deepEqual(await collect(discovery, blob(1)), [])
  })
})

/** The host, but for its look-ups. */
function withFind(host: Host, find: Routing['find']): Host {
  const routing = { ...host.routing, find }
  return new Proxy(host, {
    get(target, key) {
      if (key === 'routing') return routing
      const value = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
