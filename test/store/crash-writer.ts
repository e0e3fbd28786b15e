/** A process that writes to a store until it is killed, and says on stdout what it has been promised. See crash.test.ts. */
import { writeSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { openDiskStore } from '../../src/store/disk.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { type Content, stream } from '../conformance/store.ts'
import { blobOf, KINDS, type Kind, shuffled } from './crash-plan.ts'

const [path, firstText, roundsText] = process.argv.slice(2) as [string, string, string]
const first = Number(firstText)

/** Not buffered: what was said was said, whatever happens next. */
function say(...words: (string | number)[]): void {
  writeSync(1, `${words.join(' ')}\n`)
}

const store = await openDiskStore({ path, log: SILENT, syncDelayMs: 50 })
say('ready')
for (let round = first; round < first + Number(roundsText); round++) {
  await Promise.all(KINDS.map((kind) => work(kind, round)))
}
await store[Symbol.asyncDispose]()
say('done')

async function work(kind: Kind, round: number): Promise<void> {
  const c = blobOf(kind, round)
  say('writing', kind.name, round)
  const found = await store.open(c.digest)
  const complete = found?.complete ?? false
  await found?.[Symbol.asyncDispose]()
  if (kind.way === 'ingest') await store.ingest(stream(c.bytes, 100_000), { signal: new AbortController().signal })
  else if (!complete) await write(kind, round, c)
  say('committed', kind.name, round)
  if (kind.way !== 'delete') return
  say('deleting', kind.name, round)
  await store.delete(c.digest)
  say('deleted', kind.name, round)
}

async function write(kind: Kind, round: number, c: Content): Promise<void> {
  await using writer = await store.write(c.digest, c.bytes.length)
  for (const index of shuffled(c.pieces.length, Math.random)) {
    await writer.put(index, c.pieces[index] as Uint8Array, c.hashes[index])
    if (Math.random() < 0.5) continue
    const shown = [...c.pieces.keys()].filter((i) => writer.have.has(i))
    await store.flush()
    say('recorded', kind.name, round, shown.join(','))
    await turn()
  }
  await writer.commit({})
}
