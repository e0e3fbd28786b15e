import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, it, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Digest } from '../../protocols/digest.ts'
import { openDiskStore } from '../../src/store/disk.ts'
import type { DiskStore } from '../../src/store/disk-store.ts'
import type { PieceBuffer } from '../../src/store/store.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import type { Content } from '../conformance/store.ts'
import { tmp } from '../helpers/tmp.ts'
import { blobOf, KINDS, type Kind } from './crash-plan.ts'

const WRITER = fileURLToPath(new URL('./crash-writer.ts', import.meta.url))
const KILLS = 28
const signal = new AbortController().signal

/** What the writer has been promised about one blob. */
interface Promised {
  readonly blob: Content
  readonly recorded: Set<number>
  committed: boolean
  deleting: boolean
  deleted: boolean
}

/** What the writers of all runs have said. */
class Ledger {
  readonly #blobs = new Map<string, Promised>()
  lastRound = 0

  /** A line of the writer. */
  take(line: string): void {
    const [what, name, round, indices] = line.split(' ')
    const kind = KINDS.find((each) => each.name === name)
    if (kind === undefined) return
    const promised = this.#of(kind, Number(round))
    if (what === 'recorded') for (const index of (indices as string).split(',')) promised.recorded.add(Number(index))
    if (what === 'committed') promised.committed = true
    if (what === 'writing') Object.assign(promised, { deleting: false, deleted: false })
    if (what === 'deleted') Object.assign(promised, { deleting: false, deleted: true })
    if (what === 'deleting') {
      Object.assign(promised, { deleting: true, committed: false })
      promised.recorded.clear()
    }
    this.lastRound = Math.max(this.lastRound, Number(round))
  }

  find(digest: Digest): Promised | undefined {
    return this.#blobs.get(digest.toString())
  }

  all(): Promised[] {
    return [...this.#blobs.values()]
  }

  #of(kind: Kind, round: number): Promised {
    const blob = blobOf(kind, round)
    const key = blob.digest.toString()
    const known = this.#blobs.get(key)
    if (known !== undefined) return known
    const fresh = { blob, recorded: new Set<number>(), committed: false, deleting: false, deleted: false }
    this.#blobs.set(key, fresh)
    return fresh
  }
}

/** Runs a writer, kills it -9 after so many lines, and takes in all that it said. @returns how it ended */
async function run(
  t: TestContext,
  path: string,
  ledger: Ledger,
  options: { rounds: number; killAfter: number },
): Promise<string | number> {
  const args = [...process.execArgv, WRITER, path, String(ledger.lastRound), String(options.rounds)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: process.env.PATH } })
  const ended = once(child, 'exit')
  t.after(() => child.kill('SIGKILL'))
  let lines = 0
  for await (const line of createInterface({ input: child.stdout })) {
    ledger.take(line)
    if (++lines === options.killAfter) child.kill('SIGKILL')
  }
  const [code, signalName] = await ended
  return signalName ?? code
}

/** Everything promised is there, and everything there is right. */
async function check(store: DiskStore, ledger: Ledger): Promise<void> {
  for (const { blob, recorded, committed, deleting, deleted } of ledger.all()) {
    await using found = await store.open(blob.digest)
    if (deleting) continue
    if (deleted) {
      assert.equal(found, undefined, 'what was deleted has come back')
      continue
    }
    for (const index of recorded)
      assert.ok(found?.have.has(index), `piece ${index} of ${blob.bytes.length} bytes was recorded and is lost`)
    if (committed) assert.equal(found?.complete, true, `a commit of ${blob.bytes.length} bytes is lost`)
  }
  for await (const { digest } of store.list()) await checkBytes(store, digest, ledger)
}

/** Every piece held is right, read either way. Half are read raw first, as a peer would. */
async function checkBytes(store: DiskStore, digest: Digest, ledger: Ledger): Promise<void> {
  await using found = await store.open(digest)
  const bytes = ledger.find(digest)?.blob
  assert.ok(found !== undefined && bytes !== undefined, `${digest} is held and nobody wrote it`)
  for (const [index, piece] of bytes.pieces.entries()) {
    if (!found.have.has(index)) continue
    const raw: PieceBuffer | undefined = index % 2 === 0 ? await found.readRaw(index, 0, piece.length, { signal }) : undefined
    const verified = await found.readVerified(index, { signal })
    for (const got of [raw, verified])
      assert.ok(got === undefined || Buffer.compare(got.bytes, piece) === 0, 'a wrong byte was served')
    raw?.release()
    verified.release()
  }
}

describe('a writer that is killed -9', () => {
  it('loses nothing that was recorded, leaves nothing wrong, and is resumed', async (t) => {
    const path = join(await tmp(t), 'store')
    const ledger = new Ledger()
    for (let kill = 0; kill < KILLS; kill++) {
      const ended = await run(t, path, ledger, { rounds: 1000, killAfter: 1 + Math.floor(Math.random() * 25) })
      assert.equal(ended, 'SIGKILL')
      // Every other time the next writer meets the crash itself.
      if (kill % 2 === 1) continue
      await using store = await openDiskStore({ path, log: SILENT })
      await check(store, ledger)
    }
    assert.equal(await run(t, path, ledger, { rounds: 1, killAfter: Number.POSITIVE_INFINITY }), 0)
    await using store = await openDiskStore({ path, log: SILENT })
    await check(store, ledger)
    for (const kind of KINDS) {
      await using blob = await store.open(blobOf(kind, ledger.lastRound).digest)
      assert.equal(blob?.complete, kind.way === 'delete' ? undefined : true)
    }
  })
})
