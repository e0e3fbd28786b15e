/**
 * What a connection and a message cost each end: `node --conditions=shoal-source benchmarks/simulation/measure-costs.ts`. The figures of
 * costs.ts come from here. Two processes on loopback, gossip and DHT off; CPU is user and system time of all threads, less what
 * the same process uses while it waits for as long.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { digestOf } from '../../protocols/digest.ts'
import { createFrameDecoder, encodeFrame } from '../../protocols/frame.ts'
import { decodeSwarmMessage, encodeSwarmMessage } from '../../protocols/swarm/codec.ts'
import type { Host } from '../../src/net/host.ts'
import { createIdentity } from '../../src/net/identity.ts'
import { openLibp2pHost } from '../../src/net/libp2p.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { Spawned } from '../lib/process.ts'

const PROTOCOL = '/benchmark/message/1'
const MESSAGES = 4_000
const EVERY_MS = 2
const CONNECTIONS = 200
const DIGEST = digestOf(new Uint8Array(1))

if (process.argv[2] === 'answer') await answer()
else await measure()

async function openHost(): Promise<Host> {
  return openLibp2pHost({
    identity: await createIdentity(),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    bootstrap: [],
    dht: false,
    gossip: false,
    datastorePath: undefined,
    version: 'benchmark',
    log: SILENT,
  })
}

/** Decodes what it is told, and says what CPU it has used when asked on its standard input. */
async function answer(): Promise<void> {
  const host = await openHost()
  let heard = 0
  await host.handle(PROTOCOL, { maxInboundStreams: 1_000 }, async (channel) => {
    const decode = createFrameDecoder(1_024, (frame) => {
      decodeSwarmMessage(frame)
      heard++
    })
    await channel.read((chunk) => decode.push(chunk))
  })
  process.stdout.write(`${host.addresses()[0]}\n`)
  process.stdin.on('data', () => process.stdout.write(`${cpuMs()} ${heard}\n`))
  process.stdin.on('end', () => process.exit(0))
}

async function measure(): Promise<void> {
  const signal = AbortSignal.timeout(120_000)
  await using other = new Spawned({ args: ['--conditions=shoal-source', import.meta.filename, 'answer'], signal })
  const address = await other.line()
  const peer = { id: address.slice(address.lastIndexOf('/') + 1), addresses: [address] }
  await using host = await openHost()
  const there = async (): Promise<number> => {
    other.tell('?')
    return Number((await other.line()).split(' ')[0])
  }
  const costOf = async (work: () => Promise<void>): Promise<{ ms: number; here: number; there: number }> => {
    const before = [cpuMs(), await there()] as const
    const startedAt = performance.now()
    await work()
    return { ms: performance.now() - startedAt, here: cpuMs() - before[0], there: (await there()) - before[1] }
  }
  const channel = await host.open(peer, PROTOCOL, { signal })
  const say = async (times: number) => {
    for (let i = 0; i < times; i++) {
      const message = encodeSwarmMessage({ type: 'have', digest: DIGEST, indices: [i % 128], load: 9 })
      await channel.write([encodeFrame(message)])
      await delay(EVERY_MS)
    }
  }
  await say(500)
  const idle = await costOf(() => delay(5_000))
  const said = await costOf(() => say(MESSAGES))
  const ticks = await costOf(async () => {
    for (let i = 0; i < MESSAGES; i++) await delay(EVERY_MS)
  })
  const each = (used: number, waited: number) => ((used - waited) / MESSAGES).toFixed(4)
  const share = said.ms / idle.ms
  process.stdout.write(`message: send ${each(said.here, ticks.here)} ms, receive ${each(said.there, idle.there * share)} ms\n`)
  const hosts: Host[] = []
  const connect = async () => {
    for (const one of hosts.slice(-CONNECTIONS)) await one.connect(peer, { signal })
    await delay(500)
  }
  let connected = idle
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < CONNECTIONS; i++) hosts.push(await openHost())
    connected = await costOf(connect)
  }
  process.stdout.write(
    `connection: dial ${(connected.here / CONNECTIONS).toFixed(2)} ms, answer ${(connected.there / CONNECTIONS).toFixed(2)} ms\n`,
  )
  for (const one of hosts) await one[Symbol.asyncDispose]()
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}
