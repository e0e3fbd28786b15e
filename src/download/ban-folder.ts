import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Claim, decodeClaim, encodeClaim } from '../../protocols/claim/codec.ts'
import { parsePeerId } from '../../protocols/peer-id.ts'
import type { Log } from '../telemetry/log.ts'
import { type Ban, MAX_BANS } from './bans.ts'

/** Where bans outlive the process. What can't be written is in force until the end of this run only. */
export interface BanFolder {
  /** What was kept, as far as it can be read. */
  load(): Promise<Ban[]>
  write(ban: Ban): void
  remove(peerId: string): void
  /** Resolves when everything written and removed so far would outlive a crash. */
  settled(): Promise<void>
}

const SUFFIX = '.json'
/** Four statements of 33 KiB in base64, and the rest. */
const MAX_FILE_BYTES = 256 * 1024

/** A file for each ban, which appears whole or not at all. */
export function createBanFolder(path: string, log: Log): BanFolder {
  let last: Promise<void> = Promise.resolve()
  /** One after the other, in the order of the calls. */
  function then(what: string, peerId: string, run: () => Promise<void>): void {
    last = last.then(run).catch((error: unknown) => log.warn({ peerId, path, err: error }, what))
  }
  return {
    load: () => loadFrom(path, log),
    write: (ban) => then('a ban could not be written down', ban.peerId, () => writeWhole(path, ban)),
    remove: (peerId) =>
      then('a ban that is over could not be removed', peerId, async () => {
        await rm(fileOf(path, peerId), { force: true })
        await syncFolder(path)
      }),
    settled: () => last,
  }
}

function fileOf(path: string, peerId: string): string {
  return join(path, `${peerId}${SUFFIX}`)
}

/** What is no ban is left alone, but for what a crash left half-written. */
async function loadFrom(path: string, log: Log): Promise<Ban[]> {
  const names = await readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') log.warn({ path, err: error }, 'bans of a former run can not be read')
    return []
  })
  const bans: Ban[] = []
  for (const name of names) {
    const file = join(path, name)
    if (name.endsWith('.part')) await rm(file, { force: true }).catch(() => {})
    if (!name.endsWith(SUFFIX) || bans.length >= MAX_BANS) continue
    const ban = await readBan(file).catch((error: unknown) => log.warn({ path: file, err: error }, 'a ban can not be read'))
    if (ban?.peerId === name.slice(0, -SUFFIX.length)) bans.push(ban)
  }
  return bans
}

async function readBan(file: string): Promise<Ban | undefined> {
  if ((await stat(file)).size > MAX_FILE_BYTES) throw new TypeError('longer than a ban is')
  const { peerId, reason, by, since, until, evidence } = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>
  const [from, to] = [Date.parse(String(since)), Date.parse(String(until))]
  if (typeof reason !== 'string' || Number.isNaN(from) || Number.isNaN(to)) throw new TypeError('not a ban')
  return {
    peerId: parsePeerId(String(peerId)),
    reason,
    by: by === 'operator' ? 'operator' : 'node',
    since: from,
    until: to,
    evidence: Array.isArray(evidence) ? evidence.flatMap(readStatement) : [],
  }
}

/** One of a later version is not this one's to understand. */
function readStatement(base64: unknown): Claim[] {
  try {
    return [decodeClaim(Buffer.from(String(base64), 'base64'))]
  } catch {
    return []
  }
}

async function writeWhole(path: string, { evidence, since, until, ...rest }: Ban): Promise<void> {
  const statements = evidence.map((claim) => Buffer.from(encodeClaim(claim)).toString('base64'))
  const times = { since: new Date(since).toISOString(), until: new Date(until).toISOString() }
  await mkdir(path, { recursive: true })
  const file = fileOf(path, rest.peerId)
  const part = await open(`${file}.part`, 'w')
  try {
    await part.writeFile(`${JSON.stringify({ ...rest, ...times, evidence: statements })}\n`)
    await part.sync()
  } finally {
    await part.close()
  }
  await rename(`${file}.part`, file)
  await syncFolder(path)
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  if (folder === undefined) return
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
