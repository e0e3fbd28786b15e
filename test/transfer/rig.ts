import { createHash, randomBytes } from 'node:crypto'
import type { Digest } from '../../protocols/digest.ts'
import { geometryOf, pieceLength, pieceOffset } from '../../protocols/pieces.ts'
import type { Host, PeerRef } from '../../src/net/host.ts'
import { createMemoryNetwork, type MemoryNetwork } from '../../src/net/memory.ts'
import type { RateLimit } from '../../src/rate-limit.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { type Metrics, NO_METRICS } from '../../src/telemetry/metrics.ts'
import type { TransferLimits } from '../../src/transfer/limits.ts'
import { openTransfer } from '../../src/transfer/open-transfer.ts'
import type { Neighbour, Swarm, Transfer } from '../../src/transfer/transfer.ts'
import { createMemoryLibrary, type MemoryLibrary } from './memory-library.ts'

export const NEVER = new AbortController().signal

export interface TestNode extends AsyncDisposable {
  readonly host: Host
  readonly library: MemoryLibrary
  readonly transfer: Transfer
  readonly ref: PeerRef
}

export interface TestNodeOptions {
  readonly limits?: Partial<TransferLimits>
  readonly metrics?: Metrics
  readonly admits?: (peerId: string) => boolean
  readonly uploadLimit?: RateLimit
}

/** A transfer with its library on a host. */
export async function openTestNode(host: Host, options: TestNodeOptions = {}): Promise<TestNode> {
  const library = createMemoryLibrary()
  const transfer = await openTransfer({ host, library, metrics: NO_METRICS, log: SILENT, ...options })
  return {
    host,
    library,
    transfer,
    ref: { id: host.peerId, addresses: host.addresses() },
    [Symbol.asyncDispose]: async () => {
      await transfer[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
    },
  }
}

type FourNodes = readonly [TestNode, TestNode, TestNode, TestNode]

/** Four nodes on one network in memory, closed when the test ends. */
export async function withNodes(
  run: (nodes: FourNodes, network: MemoryNetwork) => Promise<void>,
  options: TestNodeOptions = {},
): Promise<void> {
  const network = createMemoryNetwork()
  await using stack = new AsyncDisposableStack()
  const open = async () => stack.use(await openTestNode(network.host(), options))
  await run([await open(), await open(), await open(), await open()], network)
}

/** Content that no two calls share. */
export function content(size: number): Uint8Array {
  return randomBytes(size)
}

/** Resolves when the neighbour is as wanted. */
export async function neighbour(
  swarm: Swarm,
  peerId: string,
  is: (n: Neighbour) => boolean,
  timeoutMs = 5_000,
): Promise<Neighbour> {
  const find = () => swarm.neighbours().find((n) => n.peer.id === peerId && is(n))
  const found = find()
  if (found !== undefined) return found
  return await new Promise((resolve, reject) => {
    const seen = () => swarm.neighbours().map((n) => `${n.peer.id.slice(-4)} ${n.state} ${n.have?.count}`)
    const deadline = setTimeout(() => reject(new Error(`the neighbour did not come to be so: ${seen()}`)), timeoutMs)
    const stop = swarm.onChange(() => {
      const n = find()
      if (n === undefined) return
      clearTimeout(deadline)
      stop()
      resolve(n)
    })
  })
}

export const holds = (n: Neighbour) => n.state === 'complete' || n.state === 'partial'

/** Fetches every piece, asking whoever has it and has room, and gives the bytes. */
export async function fetchAll(swarm: Swarm, size: number): Promise<Uint8Array> {
  const geometry = geometryOf(size)
  const bytes = Buffer.alloc(size)
  const missing = Array.from({ length: geometry.pieces }, (_, i) => i)
  let wake = () => {}
  const stop = swarm.onChange(() => wake())
  const running = new Set<Promise<void>>()
  const fetch = async (peerId: string, index: number) => {
    const at = pieceOffset(geometry, index)
    const into = bytes.subarray(at, at + pieceLength(geometry, index))
    await swarm.request(peerId, index, into, { signal: NEVER })
  }
  try {
    while (missing.length > 0 || running.size > 0) {
      for (const [i, index] of missing.entries()) {
        const source = swarm
          .neighbours()
          .filter((n) => n.have?.has(index) && n.outstandingBytes + geometry.pieceBytes <= n.allowanceBytes)
          .sort((a, b) => a.outstandingBytes - b.outstandingBytes)[0]
        if (source === undefined) continue
        missing.splice(i, 1)
        const task = fetch(source.peer.id, index).finally(() => running.delete(task))
        running.add(task)
        break
      }
      const stuck = !missing.some((index) =>
        swarm.neighbours().some((n) => n.have?.has(index) && n.outstandingBytes + geometry.pieceBytes <= n.allowanceBytes),
      )
      if (stuck) {
        const changed = new Promise<void>((resolve) => {
          wake = resolve
        })
        await Promise.race([changed, ...running])
      }
    }
  } finally {
    stop()
  }
  return bytes
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Joins, adds the peers, and waits until each has said what it holds. */
export async function joined(node: TestNode, digest: Digest, peers: readonly TestNode[]): Promise<Swarm> {
  const swarm = node.transfer.join(digest)
  for (const peer of peers) swarm.add(peer.ref)
  for (const peer of peers) await neighbour(swarm, peer.host.peerId, (n) => n.state !== 'connecting' && n.state !== 'asked')
  return swarm
}
