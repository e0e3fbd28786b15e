import { hash } from 'node:crypto'
import { Bitfield } from '../../protocols/bitfield.ts'
import type { Claim } from '../../protocols/claim/codec.ts'
import type { Digest } from '../../protocols/digest.ts'
import { geometryOf, pieceLength, pieceOffset } from '../../protocols/pieces.ts'
import { ShoalError } from '../../src/errors.ts'
import type { Host, PeerRef } from '../../src/net/host.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { NO_METRICS } from '../../src/telemetry/metrics.ts'
import { signClaim } from '../../src/transfer/claims.ts'
import { openTransfer } from '../../src/transfer/open-transfer.ts'
import type { Library, Transfer } from '../../src/transfer/transfer.ts'

/** What a peer says of a blob and what it does when asked for it. */
export interface PeerScript {
  readonly digest: Digest
  /** What it sends. */
  readonly bytes: Uint8Array
  /** What its signed list is made from; default: what it sends. `undefined` in `claims`: it signs nothing. */
  readonly listed?: Uint8Array
  readonly claims?: 'complete' | 'import' | 'none'
  /** However little it is asked about, it has one claim, about all that it holds. */
  readonly oneClaim?: boolean
  /** The pieces that it says it holds; default all. */
  readonly pieces?: readonly number[]
  /** What it says the size is. */
  readonly size?: number
  /** Awaited before each piece, or part of one, is read. */
  readonly before?: (index: number, signal: AbortSignal) => Promise<void> | void
}

export interface ScriptedPeer extends AsyncDisposable {
  readonly host: Host
  readonly ref: PeerRef
  readonly transfer: Transfer
  /** Pieces read to be sent, in order. */
  readonly reads: readonly number[]
  /** Pieces that it was told are wrong. */
  readonly reports: readonly number[]
}

/** A peer that speaks the protocols faultlessly and says in them what its script says. */
export async function openScriptedPeer(host: Host, script: PeerScript): Promise<ScriptedPeer> {
  const reads: number[] = []
  const reports: number[] = []
  const library = createScriptedLibrary(host, script, { reads, reports })
  const transfer = await openTransfer({ host, library, metrics: NO_METRICS, log: SILENT })
  return {
    host,
    ref: { id: host.peerId, addresses: host.addresses() },
    transfer,
    reads,
    reports,
    [Symbol.asyncDispose]: async () => {
      await transfer[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
    },
  }
}

function createScriptedLibrary(
  host: Host,
  script: PeerScript,
  { reads, reports }: { reads: number[]; reports: number[] },
): Library {
  const { bytes, digest, pieces } = script
  const geometry = geometryOf(script.size ?? bytes.length)
  const have = new Bitfield(geometry.pieces)
  for (const index of pieces ?? Array.from({ length: geometry.pieces }, (_, i) => i)) have.add(index)
  const kind = script.claims ?? 'complete'
  return {
    find: async (wanted) => {
      if (!wanted.equals(digest)) return undefined
      return {
        size: geometry.size,
        have,
        complete: pieces === undefined,
        mediaType: undefined,
        async read(index, begin, length, { signal }) {
          reads.push(index)
          await script.before?.(index, signal)
          signal.throwIfAborted()
          const at = pieceOffset(geometry, index) + begin
          const part = Buffer.alloc(length)
          part.set(bytes.subarray(at, at + length))
          return { bytes: part, release() {} }
        },
        async claims(first, count) {
          if (kind === 'none') return []
          const claims: Claim[] = []
          const [from, to] = script.oneClaim ? [0, geometry.pieces] : [first, Math.min(first + count, geometry.pieces)]
          for (const run of runs(have, from, to - from)) {
            const hashes = run.map((index) => pieceHash(script.listed ?? bytes, geometry, index))
            claims.push(await signClaim(host, { kind, digest, size: geometry.size, first: run[0] as number, hashes }))
          }
          return claims
        },
        async recheck(index) {
          reports.push(index)
          return true
        },
        async close() {},
      }
    },
  }
}

function runs(have: Bitfield, first: number, count: number): number[][] {
  const found: number[][] = []
  for (let index = first; index < first + count; index++) {
    if (!have.has(index)) continue
    const last = found.at(-1)
    if (last?.at(-1) === index - 1) last.push(index)
    else found.push([index])
  }
  return found
}

function pieceHash(bytes: Uint8Array, geometry: ReturnType<typeof geometryOf>, index: number): Uint8Array {
  const piece = Buffer.alloc(pieceLength(geometry, index))
  piece.set(bytes.subarray(pieceOffset(geometry, index), pieceOffset(geometry, index) + piece.length))
  return hash('sha256', piece, 'buffer')
}

/** For `before`: the peer says that it holds the piece, and then does not have it. */
export function lacks(index: number): never {
  throw new ShoalError('BLOB_UNKNOWN', `piece ${index} is not held`)
}
