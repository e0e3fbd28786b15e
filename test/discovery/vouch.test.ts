import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { encodeTagAnswer, encodeTagQuestion, TAG_PROTOCOL, type TagQuestion } from '../../protocols/tag/codec.ts'
import { openVouching, type TagAsker, type TagWord, type Vouching } from '../../src/discovery/vouch.ts'
import { codeOf } from '../../src/errors.ts'
import type { Host, PeerRef } from '../../src/net/host.ts'
import { createMemoryNetwork } from '../../src/net/memory.ts'
import { readOnlyFrame, writeOnlyFrame } from '../../src/net/only-frame.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { live } from './meadow.ts'
import { VirtualClock } from './virtual-clock.ts'

const question: TagQuestion = { registry: 'docker.io', repository: 'library/nginx', tag: 'latest', maxAgeMs: 0 }

function known(name: string, ageMs: number): TagWord {
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  return { known: true, digest: digestOf(Buffer.from(name)), mediaType, size: 7, ageMs }
}

class Rig {
  readonly clock = new VirtualClock()
  readonly #network = createMemoryNetwork()
  readonly #t: TestContext

  constructor(t: TestContext) {
    this.#t = t
  }

  host(): Host {
    const host = this.#network.host()
    this.#t.after(() => host[Symbol.asyncDispose]())
    return host
  }

  async open(host: Host, lookup: (question: TagQuestion, asker: TagAsker) => Promise<TagWord>): Promise<Vouching> {
    const vouching = await openVouching({ host, lookup, log: SILENT, clock: this.clock })
    this.#t.after(() => vouching[Symbol.asyncDispose]())
    return vouching
  }

  /** A peer that answers so. */
  async peer(lookup: (question: TagQuestion, asker: TagAsker) => Promise<TagWord>): Promise<PeerRef> {
    const host = this.host()
    await this.open(host, lookup)
    return { id: host.peerId, addresses: host.addresses() }
  }

  asker(): Promise<Vouching> {
    return this.open(this.host(), async () => ({ known: false }))
  }
}

describe('asking peers what a tag means', () => {
  it('gives the freshest answer, and whose it is', async (t) => {
    const rig = new Rig(t)
    const asked: TagQuestion[] = []
    const peers = await Promise.all([
      rig.peer(async () => known('older', 9_000)),
      rig.peer(async (q) => {
        asked.push(q)
        return known('newer', 10)
      }),
      rig.peer(async () => ({ known: false })),
    ])
    const found = await (await rig.asker()).ask(question, peers, live())
    assert.deepEqual(found, { answer: known('newer', 10), peerId: peers[1]?.id })
    assert.deepEqual(asked, [question])
  })

  it('gives nothing when none knows, none answers, or there is none', async (t) => {
    const rig = new Rig(t)
    const asker = await rig.asker()
    const gone = { id: 'gone', addresses: ['/ip4/10.1.1.1/tcp/1'] }
    const failing = await rig.peer(async () => {
      throw new Error('disk')
    })
    assert.equal(await asker.ask(question, [gone, failing, await rig.peer(async () => ({ known: false }))], live()), undefined)
    assert.equal(await asker.ask(question, [], live()), undefined)
  })

  it('waits half a second for fresher answers after the first, and no longer', async (t) => {
    const rig = new Rig(t)
    const silent = await rig.peer(() => new Promise(() => {}))
    const quick = await rig.peer(async () => known('quick', 5_000))
    const later = await rig.peer(async () => {
      await new Promise<void>((resolve) => rig.clock.after(300, resolve))
      return known('later', 10)
    })
    let found: unknown
    void (await rig.asker()).ask(question, [silent, quick, later], live()).then((answer) => {
      found = answer
    })
    await rig.clock.advance(450)
    assert.equal(found, undefined)
    await rig.clock.advance(100)
    assert.deepEqual(found, { answer: known('later', 10), peerId: later.id })
  })

  it('gives up on peers that say nothing', async (t) => {
    const rig = new Rig(t)
    const silent = await rig.peer(() => new Promise(() => {}))
    const ended = (await rig.asker()).ask(question, [silent], live())
    await rig.clock.advance(2_000)
    assert.equal(await ended, undefined)
  })

  it('asks at most eight', async (t) => {
    const rig = new Rig(t)
    let asked = 0
    const lookup = async (): Promise<TagWord> => {
      asked++
      return { known: false }
    }
    const peers = await Promise.all(Array.from({ length: 12 }, () => rig.peer(lookup)))
    await (await rig.asker()).ask(question, peers, live())
    assert.equal(asked, 8)
  })

  it('ends with the reason of its signal', async (t) => {
    const rig = new Rig(t)
    const silent = await rig.peer(() => new Promise(() => {}))
    const abort = new AbortController()
    const reason = new Error('enough')
    const ended = (await rig.asker()).ask(question, [silent], { signal: abort.signal })
    setImmediate(() => abort.abort(reason))
    await assert.rejects(ended, reason)
  })

  it('takes an age that makes no sense for the oldest', async (t) => {
    const rig = new Rig(t)
    const monthMs = 30 * 24 * 60 * 60_000
    const peers = [
      await rig.peer(async () => known('absurd', 2 ** 50)),
      await rig.peer(async () => known('broken clock', -5)),
      await rig.peer(async () => known('sane', monthMs - 1)),
    ]
    const asker = await rig.asker()
    assert.deepEqual(await asker.ask(question, peers, live()), { answer: known('sane', monthMs - 1), peerId: peers[2]?.id })
    assert.equal((await asker.ask(question, peers.slice(0, 1), live()))?.answer.ageMs, monthMs)
  })

  it('does not take garbage for an answer', async (t) => {
    const rig = new Rig(t)
    const host = rig.host()
    await host.handle(TAG_PROTOCOL, { maxInboundStreams: 8 }, async (channel) => {
      await readOnlyFrame(channel, 4_096)
      await writeOnlyFrame(channel, Buffer.from('garbage'))
    })
    const peer = { id: host.peerId, addresses: host.addresses() }
    assert.equal(await (await rig.asker()).ask(question, [peer], live()), undefined)
  })
})

describe('answering what a tag means', () => {
  it('hangs up on garbage, on a question too long, on two, and on none in time', async (t) => {
    const rig = new Rig(t)
    let asked = 0
    const peer = await rig.peer(async () => {
      asked++
      return { known: false }
    })
    const stranger = rig.host()
    const send = async (...parts: Uint8Array[]) => {
      const channel = await stranger.open(peer, TAG_PROTOCOL, live())
      await channel.write(parts)
      if (parts.length > 0) await channel.close()
      return channel.read(() => {})
    }
    const frame = (bytes: Uint8Array) => Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes])
    const gone = (error: unknown) => codeOf(error) === 'PEER_GONE'
    await assert.rejects(send(frame(Buffer.from('garbage'))), gone)
    await assert.rejects(send(Buffer.from([1, 0, 0, 0])), gone)
    await assert.rejects(send(frame(encodeTagQuestion(question)), frame(encodeTagQuestion(question))), gone)
    const silent = assert.rejects(send(), gone)
    await rig.clock.advance(5_000)
    await silent
    assert.equal(asked, 0)
  })

  it('refuses a peer that asks too often, and goes on with others', async (t) => {
    const rig = new Rig(t)
    const peer = await rig.peer(async () => known('x', 1))
    const eager = await rig.asker()
    let answered = 0
    for (let i = 0; i < 60; i++) if ((await eager.ask(question, [peer], live())) !== undefined) answered++
    assert.equal(answered, 50)
    assert.notEqual(await (await rig.asker()).ask(question, [peer], live()), undefined)
    await rig.clock.advance(1_000)
    assert.notEqual(await eager.ask(question, [peer], live()), undefined)
  })
})

describe('asking the one peer that finds out', () => {
  const patience = { signMs: 500, answerMs: 8_000 }
  const timeout = (error: unknown) => codeOf(error) === 'PEER_TIMEOUT'
  const fresh = { ...question, maxAgeMs: 60_000 }

  it('gives its answer, known or not, and who asked what is told to it', async (t) => {
    const rig = new Rig(t)
    const asked: [TagQuestion, string][] = []
    const peer = await rig.peer(async (q, { peerId }) => {
      asked.push([q, peerId])
      return q.maxAgeMs === 0 ? { known: false } : known('now', 0)
    })
    const host = rig.host()
    const asker = await rig.open(host, async () => ({ known: false }))
    assert.deepEqual(await asker.askOne(fresh, peer, { ...patience, ...live() }), known('now', 0))
    assert.deepEqual(await asker.askOne(question, peer, { ...patience, ...live() }), { known: false })
    assert.deepEqual(asked, [
      [fresh, host.peerId],
      [question, host.peerId],
    ])
  })

  it('waits for one that says soon, as long as a registry may take', async (t) => {
    const rig = new Rig(t)
    const peer = await rig.peer(async (_, { soon }) => {
      soon()
      await new Promise<void>((resolve) => rig.clock.after(7_900, resolve))
      return known('late', 0)
    })
    const asker = await rig.asker()
    const answer = asker.askOne(fresh, peer, { ...patience, ...live() })
    await rig.clock.advance(8_000)
    assert.deepEqual(await answer, known('late', 0))
    assert.equal(rig.clock.pending, 0)
  })

  it('gives up on one that shows no sign of life, or says soon and nothing more', async (t) => {
    const rig = new Rig(t)
    const asker = await rig.asker()
    const silent = await rig.peer(() => new Promise(() => {}))
    const ended = assert.rejects(asker.askOne(fresh, silent, { ...patience, ...live() }), timeout)
    await rig.clock.advance(500)
    await ended
    const promising = await rig.peer((_, { soon }) => {
      soon()
      return new Promise(() => {})
    })
    let over = false
    const later = assert.rejects(asker.askOne(fresh, promising, { ...patience, ...live() }), timeout).then(() => {
      over = true
    })
    await rig.clock.advance(7_000)
    assert.equal(over, false)
    await rig.clock.advance(1_500)
    await later
  })

  it('takes soon once, and one answer', async (t) => {
    const rig = new Rig(t)
    const asker = await rig.asker()
    const frame = (answer: Parameters<typeof encodeTagAnswer>[0]) => {
      const bytes = encodeTagAnswer(answer)
      return Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes])
    }
    const soon = frame({ known: 'soon' })
    const no = frame({ known: false })
    for (const sent of [[soon, soon, no], [no, no], [no, soon], [soon], []]) {
      const host = rig.host()
      await host.handle(TAG_PROTOCOL, { maxInboundStreams: 8 }, async (channel) => {
        await readOnlyFrame(channel, 4_096)
        if (sent.length > 0) await channel.write(sent)
        await channel.close()
      })
      const peer = { id: host.peerId, addresses: host.addresses() }
      const malformed = (error: unknown) => codeOf(error) === 'MESSAGE_MALFORMED'
      await assert.rejects(asker.askOne(fresh, peer, { ...patience, ...live() }), malformed)
    }
  })

  it('ends with the reason of its signal, and with the node', async (t) => {
    const rig = new Rig(t)
    const silent = await rig.peer(() => new Promise(() => {}))
    const abort = new AbortController()
    const reason = new Error('enough')
    const asker = await rig.asker()
    const ended = asker.askOne(fresh, silent, { ...patience, signal: abort.signal })
    setImmediate(() => abort.abort(reason))
    await assert.rejects(ended, reason)
    const cut = asker.askOne(fresh, silent, { ...patience, ...live() })
    setImmediate(() => asker[Symbol.asyncDispose]())
    await assert.rejects(cut, (error) => codeOf(error) === 'NODE_CLOSED')
  })
})
