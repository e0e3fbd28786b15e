import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { describe, it, type TestContext } from 'node:test'
import { CID } from 'multiformats/cid'
import { sha256, sha512 } from 'multiformats/hashes/sha2'
import { codeOf } from '../../src/errors.ts'
import { type Channel, WRITE_BYTES } from '../../src/net/channel.ts'
import type { Host, PeerRef, TopicMessage } from '../../src/net/host.ts'
import { settled, until } from '../helpers/until.ts'

const PROTOCOL = '/shoal-test/1'
const MIB = 1 << 20
const LIMITS = { maxInboundStreams: 16 }
/** What a stream may hold at both ends together for a reader that has stalled. */
const HELD_BYTES = 12 * MIB

/** Two running hosts, not connected to each other, with topics and routing; closed by the suite. */
export type MakeTwoHosts = (t: TestContext) => Promise<readonly [Host, Host]>

/** What every Host must do. */
export function hostConformance(name: string, makeTwoHosts: MakeTwoHosts): void {
  const pair = async (t: TestContext): Promise<readonly [Host, Host]> => {
    const [a, b] = await makeTwoHosts(t)
    t.after(() => Promise.all([a[Symbol.asyncDispose](), b[Symbol.asyncDispose]()]))
    return [a, b]
  }
  describe(`${name}: connections`, () => connections(pair))
  describe(`${name}: streams`, () => streams(pair))
  describe(`${name}: back-pressure`, () => backPressure(pair))
  describe(`${name}: a peer that goes`, () => goingAway(pair))
  describe(`${name}: signatures, topics and routing`, () => others(pair))
}

function connections(pair: MakeTwoHosts): void {
  it('has its own peer id and addresses that end in it', async (t) => {
    const [a, b] = await pair(t)
    assert.notEqual(a.peerId, b.peerId)
    assert.ok(a.addresses().length > 0)
    for (const address of a.addresses()) assert.ok(address.endsWith(`/p2p/${a.peerId}`), address)
  })

  it('tells both ends of a connect and of a disconnect, once', async (t) => {
    const [a, b] = await pair(t)
    const seen: string[] = []
    a.onPeer(({ type, peer }) => seen.push(`a ${type} ${peer.id === b.peerId}`))
    b.onPeer(({ type, peer }) => seen.push(`b ${type} ${peer.id === a.peerId}`))
    const silent = a.onPeer(() => assert.fail('called after it had unsubscribed'))
    silent()
    await a.connect(refer(b), live())
    await a.connect(refer(b), live())
    await until('both know', () => seen.length === 2)
    assert.ok(a.isConnected(b.peerId) && b.isConnected(a.peerId))
    assert.deepEqual(
      a.peers().map((peer) => [peer.id, peer.direction]),
      [[b.peerId, 'outbound']],
    )
    assert.deepEqual(
      b.peers().map((peer) => [peer.id, peer.direction]),
      [[a.peerId, 'inbound']],
    )
    await b[Symbol.asyncDispose]()
    await until('both know', () => seen.length === 4)
    assert.deepEqual(seen.toSorted(), ['a connect true', 'a disconnect true', 'b connect true', 'b disconnect true'])
    assert.ok(!a.isConnected(b.peerId))
    assert.deepEqual(a.peers(), [])
  })

  it('says PEER_UNREACHABLE where nobody is, for addresses that are no addresses, and for itself', async (t) => {
    const [a, b] = await pair(t)
    const gone = refer(b)
    await b[Symbol.asyncDispose]()
    await assert.rejects(a.connect(gone, live()), withCode('PEER_UNREACHABLE'))
    await assert.rejects(a.open(gone, PROTOCOL, live()), withCode('PEER_UNREACHABLE'))
    await assert.rejects(a.connect({ id: b.peerId, addresses: ['nonsense', '/ip4/1'] }, live()), withCode('PEER_UNREACHABLE'))
    await assert.rejects(a.connect({ id: 'nobody', addresses: [] }, live()), withCode('PEER_UNREACHABLE'))
    await assert.rejects(a.connect(refer(a), live()), withCode('PEER_UNREACHABLE'))
  })

  it('does not connect to a peer that has another id than was asked for', async (t) => {
    const [a, b] = await pair(t)
    const [other] = await pair(t)
    const addresses = b.addresses().map((address) => address.split('/p2p/')[0] as string)
    await assert.rejects(a.connect({ id: other.peerId, addresses }, live()), withCode('PEER_UNREACHABLE'))
    assert.ok(!a.isConnected(other.peerId))
  })

  it('gives the reason of a signal that was aborted', async (t) => {
    const [a, b] = await pair(t)
    const signal = AbortSignal.abort(new Error('not wanted any more'))
    await assert.rejects(a.connect(refer(b), { signal }), /not wanted any more/)
    await assert.rejects(a.open(refer(b), PROTOCOL, { signal }), /not wanted any more/)
  })

  it('drops a blocked peer, refuses it both ways, and lets it back when the block is lifted', async (t) => {
    const [a, b] = await pair(t)
    await a.handle(PROTOCOL, LIMITS, async () => {})
    await b.handle(PROTOCOL, LIMITS, async () => {})
    await a.connect(refer(b), live())
    await until('b knows', () => b.isConnected(a.peerId))
    await a.block(b.peerId)
    await until('both know', () => !a.isConnected(b.peerId) && !b.isConnected(a.peerId))
    await assert.rejects(a.connect(refer(b), live()), withCode('PEER_REFUSED'))
    await assert.rejects(b.open(refer(a), PROTOCOL, live()), withCode('PEER_UNREACHABLE'))
    assert.ok(!a.isConnected(b.peerId))
    a.unblock(b.peerId)
    await until('the remains are gone', () => !b.isConnected(a.peerId))
    const channel = await b.open(refer(a), PROTOCOL, live())
    await channel.close()
  })

  it('does nothing any more once it is closed, and closes twice', async (t) => {
    const [a, b] = await pair(t)
    await a[Symbol.asyncDispose]()
    await a[Symbol.asyncDispose]()
    await assert.rejects(a.connect(refer(b), live()), withCode('NODE_CLOSED'))
  })
}

function streams(pair: MakeTwoHosts): void {
  it('carries bytes of any split, whole and in order, both ways', async (t) => {
    const [a, b] = await pair(t)
    await b.handle(PROTOCOL, LIMITS, (channel) => channel.read((chunk) => channel.write([chunk])))
    const channel = await a.open(refer(b), PROTOCOL, live())
    assert.equal(channel.peerId, b.peerId)
    assert.equal(channel.protocol, PROTOCOL)
    const parts = [1, 0, 13, 65_535, 65_536, WRITE_BYTES, 3 * MIB, 7].map(pattern)
    const back = collect(channel)
    await channel.write(parts.slice(0, 3))
    for (const part of parts.slice(3)) await channel.write([part])
    await channel.close()
    assert.ok((await back).equals(Buffer.concat(parts)))
  })

  it('keeps the order of writes that do not wait for each other', async (t) => {
    const [a, b] = await pair(t)
    const got = serveOnce(b, (channel) => collect(channel))
    const channel = await a.open(refer(b), PROTOCOL, live())
    const parts = Array.from({ length: 40 }, (_, i) => Buffer.alloc(100_003, i))
    await Promise.all(parts.map((part) => channel.write([part])))
    await channel.close()
    assert.ok((await got).equals(Buffer.concat(parts)))
  })

  it('ends for good when both sides have closed', async (t) => {
    const [a, b] = await pair(t)
    const serving = Promise.withResolvers<Channel>()
    await b.handle(PROTOCOL, LIMITS, async (channel) => {
      serving.resolve(channel)
      await channel.read(() => {})
      await channel.write([pattern(10)])
    })
    const channel = await a.open(refer(b), PROTOCOL, live())
    assert.ok(!channel.closed.aborted)
    await channel.close()
    assert.equal((await collect(channel)).byteLength, 10)
    await Promise.all([ended(channel), ended(await serving.promise)])
    await assert.rejects(channel.write([pattern(1)]), withCode('PEER_GONE'))
  })

  it('loses nothing to a reader that is slow at every chunk, not the tail either when the other end has closed', async (t) => {
    const [a, b] = await pair(t)
    const part = pattern(WRITE_BYTES)
    const sent = createHash('sha256')
    await b.handle(PROTOCOL, LIMITS, async (channel) => {
      for (let i = 0; i < 160; i++) {
        await channel.write([part])
        sent.update(part)
      }
    })
    const channel = await a.open(refer(b), PROTOCOL, live())
    await channel.close()
    const got = createHash('sha256')
    let bytes = 0
    await channel.read(async (chunk) => {
      got.update(chunk)
      bytes += chunk.byteLength
      await new Promise((resolve) => setImmediate(resolve))
    })
    assert.equal(bytes, 160 * WRITE_BYTES)
    assert.equal(got.digest('hex'), sent.digest('hex'))
    await ended(channel)
  })

  it('says PEER_REFUSED for a protocol that the peer does not speak', async (t) => {
    const [a, b] = await pair(t)
    await assert.rejects(a.open(refer(b), PROTOCOL, live()), withCode('PEER_REFUSED'))
  })

  it('is read once', async (t) => {
    const [a, b] = await pair(t)
    await b.handle(PROTOCOL, LIMITS, (channel) => channel.read(() => {}))
    const channel = await a.open(refer(b), PROTOCOL, live())
    const reading = channel.read(() => {})
    await assert.rejects(
      channel.read(() => {}),
      TypeError,
    )
    await channel.close()
    await reading
  })

  it('resets the streams of a peer that opens more than its limit', async (t) => {
    const [a, b] = await pair(t)
    const open: Channel[] = []
    await b.handle(PROTOCOL, { maxInboundStreams: 2 }, (channel) => {
      open.push(channel)
      return channel.read(() => {})
    })
    const first = await a.open(refer(b), PROTOCOL, live())
    const second = await a.open(refer(b), PROTOCOL, live())
    await assert.rejects(
      async () => (await a.open(refer(b), PROTOCOL, live())).read(() => {}),
      withCode('PEER_GONE', 'PEER_UNREACHABLE'),
    )
    assert.equal(open.length, 2)
    await first.close()
    await first.read(() => {})
    await until('the place is free', () => open[0]?.closed.aborted === true)
    const third = await a.open(refer(b), PROTOCOL, live())
    await Promise.all([second, third].map((channel) => channel.close()))
  })

  it('ends the stream for the other side as the server ends: clean, or broken', async (t) => {
    const [a, b] = await pair(t)
    await b.handle(PROTOCOL, LIMITS, async () => {})
    await b.handle(`${PROTOCOL}/bad`, LIMITS, () => Promise.reject(new Error('a bad day')))
    assert.equal((await collect(await a.open(refer(b), PROTOCOL, live()))).byteLength, 0)
    const bad = await a.open(refer(b), `${PROTOCOL}/bad`, live())
    await assert.rejects(collect(bad), withCode('PEER_GONE'))
  })
}

function backPressure(pair: MakeTwoHosts): void {
  it('holds a sender back while the reader has stalled, and delivers every byte in the end', { timeout: 60_000 }, async (t) => {
    const [a, b] = await pair(t)
    const total = 128 * MIB
    const release = Promise.withResolvers<void>()
    const hash = createHash('sha256')
    let [accepted, consumed, peak] = [0, 0, 0]
    const reading = serveOnce(b, async (channel) => {
      await channel.read(async (chunk) => {
        await release.promise
        hash.update(chunk)
        consumed += chunk.byteLength
      })
    })
    const channel = await a.open(refer(b), PROTOCOL, live())
    const expected = createHash('sha256')
    const block = pattern(WRITE_BYTES)
    const before = held()
    const writing = (async () => {
      for (let sent = 0; sent < total; sent = accepted) {
        const part = block.subarray(0, Math.min(WRITE_BYTES, total - sent))
        expected.update(part)
        await channel.write([part])
        accepted += part.byteLength
      }
      await channel.close()
    })()
    await settled(() => accepted)
    assert.ok(accepted - consumed < HELD_BYTES, `${accepted - consumed} bytes were accepted for a stalled reader`)
    assert.ok(held() - before < 2 * HELD_BYTES, `${held() - before} bytes are held for a stalled reader`)
    release.resolve()
    const sampler = setInterval(() => {
      peak = Math.max(peak, accepted - consumed)
    }, 5)
    await Promise.all([writing, reading]).finally(() => clearInterval(sampler))
    assert.equal(consumed, total)
    assert.equal(hash.digest('hex'), expected.digest('hex'))
    assert.ok(peak < HELD_BYTES, `${peak} bytes were under way at once`)
  })

  it('holds a sender back until the reader begins to read', async (t) => {
    const [a, b] = await pair(t)
    let accepted = 0
    await b.handle(PROTOCOL, LIMITS, async (channel) => {
      for (let i = 0; i < 128; i++, accepted += WRITE_BYTES) await channel.write([pattern(WRITE_BYTES)])
    })
    const channel = await a.open(refer(b), PROTOCOL, live())
    assert.ok((await settled(() => accepted)) < HELD_BYTES, `${accepted} bytes were accepted for a stalled reader`)
    let bytes = 0
    await channel.read((chunk) => {
      bytes += chunk.byteLength
    })
    assert.equal(bytes, 128 * WRITE_BYTES)
    await channel.close()
  })

  it('knows what the other end has not taken in, and that it has once it says so', async (t) => {
    const [a, b] = await pair(t)
    const begin = Promise.withResolvers<void>()
    let got = 0
    await b.handle(PROTOCOL, LIMITS, async (channel) => {
      await begin.promise
      await channel.read((chunk) => {
        got += chunk.byteLength
        if (got === 1_000) channel.acknowledge()
      })
    })
    const channel = await a.open(refer(b), PROTOCOL, live())
    assert.equal(channel.unacknowledgedBytes, 0)
    await channel.write([pattern(1_000)])
    assert.equal(channel.unacknowledgedBytes, 1_000)
    begin.resolve()
    await until('it has all come', () => channel.unacknowledgedBytes === 0)
    assert.equal(got, 1_000)
    await channel.close()
  })

  it('does not let a stalled stream stall another to the same peer', async (t) => {
    const [a, b] = await pair(t)
    const release = Promise.withResolvers<void>()
    await b.handle(`${PROTOCOL}/slow`, LIMITS, (channel) => channel.read(() => release.promise))
    await b.handle(PROTOCOL, LIMITS, (channel) => channel.read((chunk) => channel.write([chunk])))
    const slow = await a.open(refer(b), `${PROTOCOL}/slow`, live())
    let accepted = 0
    const writing = (async () => {
      for (; accepted < 32 * MIB; accepted += WRITE_BYTES) await slow.write([pattern(WRITE_BYTES)])
    })()
    await settled(() => accepted)
    const fast = await a.open(refer(b), PROTOCOL, live())
    const back = collect(fast)
    for (let i = 0; i < 32; i++) await fast.write([pattern(WRITE_BYTES)])
    await fast.close()
    assert.equal((await back).byteLength, 32 * WRITE_BYTES)
    release.resolve()
    await writing
    await slow.close()
  })

  it('aborts the stream and gives the error when the sink fails, at once or later', async (t) => {
    const [a, b] = await pair(t)
    const ends: Promise<void>[] = []
    await b.handle(PROTOCOL, LIMITS, async (channel) => {
      ends.push(ended(channel))
      await channel.write([pattern(100)])
      await channel.read(() => {})
    })
    const sinks = [
      () => {
        throw new Error('disk full')
      },
      async () => {
        throw new Error('disk full')
      },
    ]
    for (const sink of sinks) {
      const channel = await a.open(refer(b), PROTOCOL, live())
      await assert.rejects(channel.read(sink), /disk full/)
      await ended(channel)
    }
    await until('b has served both', () => ends.length === 2)
    await Promise.all(ends)
  })
}

function goingAway(pair: MakeTwoHosts): void {
  it('rejects what waits to be read or written, and fires closed', async (t) => {
    const [a, b] = await pair(t)
    const never = new Promise<void>(() => {})
    await b.handle(PROTOCOL, LIMITS, (channel) => channel.read(() => never))
    const channel = await a.open(refer(b), PROTOCOL, live())
    const reading = assert.rejects(
      channel.read(() => {}),
      withCode('PEER_GONE'),
    )
    let accepted = 0
    const writing = assert.rejects(async () => {
      for (; ; accepted += WRITE_BYTES) await channel.write([pattern(WRITE_BYTES)])
    }, withCode('PEER_GONE'))
    await settled(() => accepted)
    await b[Symbol.asyncDispose]()
    await Promise.all([reading, writing, ended(channel)])
    await assert.rejects(channel.write([pattern(1)]), withCode('PEER_GONE'))
    await channel.close()
  })

  it('ends both sides of a channel that one of them aborts', async (t) => {
    const [a, b] = await pair(t)
    const there = Promise.withResolvers<Channel>()
    const reading = serveOnce(b, async (channel) => {
      there.resolve(channel)
      await assert.rejects(
        channel.read(() => {}),
        withCode('PEER_GONE'),
      )
    })
    const channel = await a.open(refer(b), PROTOCOL, live())
    await channel.write([pattern(10)])
    const own = assert.rejects(
      channel.read(() => {}),
      withCode('PEER_GONE'),
    )
    const other = await there.promise
    channel.abort(new Error('enough'))
    await Promise.all([own, reading, ended(channel), ended(other)])
    await assert.rejects(channel.write([pattern(1)]), withCode('PEER_GONE'))
  })

  it('does not take a lost connection for a clean end', async (t) => {
    const [a, b] = await pair(t)
    await b.handle(PROTOCOL, LIMITS, async (channel) => {
      await channel.write([pattern(1000)])
      await channel.read(() => {})
    })
    const channel = await a.open(refer(b), PROTOCOL, live())
    const first = Promise.withResolvers<void>()
    const reading = assert.rejects(
      channel.read(() => first.resolve()),
      withCode('PEER_GONE'),
    )
    await first.promise
    await a.block(b.peerId)
    await reading
  })
}

function others(pair: MakeTwoHosts): void {
  it('signs what any host can verify, and calls nothing else valid', async (t) => {
    const [a, b] = await pair(t)
    const bytes = pattern(300)
    const signature = await a.sign(bytes)
    assert.equal(signature.byteLength, 64)
    assert.equal(await b.verify(a.peerId, bytes, signature), true)
    assert.equal(await b.verify(b.peerId, bytes, signature), false)
    assert.equal(await b.verify(a.peerId, pattern(301), signature), false)
    for (const id of ['', 'nobody', `${a.peerId}x`]) assert.equal(await b.verify(id, bytes, signature), false)
    for (const bad of [new Uint8Array(0), new Uint8Array(64), new Uint8Array(65), signature.subarray(1)]) {
      assert.equal(await b.verify(a.peerId, bytes, bad), false)
    }
  })

  it('delivers a message to subscribers that accept it, with its author', async (t) => {
    const [a, b] = await pair(t)
    const got: TopicMessage[] = []
    const judged: number[] = []
    b.topics?.subscribe(
      'news',
      ({ data }) => {
        judged.push(data[0] as number)
        return data[0] === 1 ? 'accept' : 'ignore'
      },
      (message) => got.push(message),
    )
    a.topics?.subscribe(
      'news',
      () => 'accept',
      () => assert.fail('a message came back to its author'),
    )
    await a.topics?.publish('news', Uint8Array.of(0))
    await a.connect(refer(b), live())
    let n = 0
    await until('one came', async () => {
      await a.topics?.publish('news', Uint8Array.of(0, ++n))
      await a.topics?.publish('news', Uint8Array.of(1, n))
      return got.length > 0
    })
    assert.ok(judged.includes(0))
    for (const { author, data } of got) assert.deepEqual([author, data[0]], [a.peerId, 1])
  })

  for (const hash of [sha256, sha512]) {
    it(`finds who provides a ${hash.name} digest, and not itself`, async (t) => {
      const [a, b] = await pair(t)
      const cid = CID.createV1(0x55, await hash.digest(Buffer.from(a.peerId)))
      await b.routing?.provide(cid, live())
      await a.routing?.provide(cid, live())
      await a.connect(refer(b), live())
      let found: PeerRef[] = []
      await until('b was found', async () => {
        found = []
        for await (const provider of a.routing?.find(cid, live()) ?? []) found.push(provider)
        return found.length > 0
      })
      assert.deepEqual(
        found.map(({ id }) => id),
        [b.peerId],
      )
      assert.ok(found[0]?.addresses.some((address) => b.addresses().some((own) => own.startsWith(address))))
      await b.routing?.cancel(cid)
    })
  }
}

export function refer(host: Host): PeerRef {
  return { id: host.peerId, addresses: host.addresses() }
}

/** Handles the next stream with `serve`, and gives what it gave. */
export function serveOnce<T>(host: Host, serve: (channel: Channel) => Promise<T>): Promise<T> {
  const done = Promise.withResolvers<T>()
  void host.handle(PROTOCOL, LIMITS, async (channel) => {
    const served = serve(channel)
    served.then(done.resolve, done.reject)
    await served
  })
  return done.promise
}

export async function collect(channel: Channel): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  await channel.read((chunk) => {
    chunks.push(chunk)
  })
  return Buffer.concat(chunks)
}

/** Bytes that differ at each place. */
export function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i + 4 <= length; i += 4) bytes.writeUInt32LE((i * 2_654_435_761) >>> 0, i)
  return bytes
}

async function ended(channel: Channel): Promise<void> {
  if (!channel.closed.aborted) await once(channel.closed, 'abort')
}

function held(): number {
  return process.memoryUsage().arrayBuffers
}

export function live(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(20_000) }
}

export function withCode(...codes: string[]): (error: unknown) => true {
  return (error) => {
    assert.ok(codes.includes(String(codeOf(error))), String(error instanceof Error ? error.stack : error))
    return true
  }
}
