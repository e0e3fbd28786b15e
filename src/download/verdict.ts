import type { Claim } from '../../protocols/claim/codec.ts'
import { contradicts } from '../../protocols/claim/contradiction.ts'
import { SYSTEM_CLOCK } from '../clock.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { BlobMeta } from '../store/store.ts'
import type { Incoming } from './incoming.ts'
import type { SharedParts } from './parts.ts'
import { nextStep, provenLiars, type Step } from './suspects.ts'

/** Claims kept as evidence of one lie. */
const MAX_EVIDENCE = 4
/** How long neighbours get to say what they know. */
const WORDS_MS = 2_000
/** How long others of a crowd get to find out what this node has not. */
const OTHERS_MS = 500

export interface Checking {
  readonly incoming: Incoming
  readonly parts: SharedParts
  readonly meta: BlobMeta
  /** Whether pieces can still be imported from the origin. */
  readonly originAble: boolean
  /** Whether looking after an importer falls to this node first. */
  readonly isMine: (author: string) => boolean
  /** Collects what every neighbour says of every piece. */
  readonly gatherWords: (signal: AbortSignal) => Promise<void>
  readonly signal: AbortSignal
}

/**
 * With all pieces held: verifies the whole digest and commits. When it is wrong although every piece passed, finds the
 * pieces to doubt and drops them (design 4).
 * @returns whether the blob is whole and right; otherwise the doubted pieces are missing again
 * @throws ShoalError DIGEST_MISMATCH when there is no other path to the right content; nothing of it is kept then
 */
export async function commitOrDoubt(checking: Checking): Promise<boolean> {
  const { incoming, parts, meta } = checking
  const { writer, geometry, doubts, digest } = incoming
  // what came back as it was makes the same digest
  if (!doubts.hasFailed(await writer.hashes(0, geometry.pieces))) {
    try {
      await writer.commit(meta)
      await convict(incoming, parts)
      return true
    } catch (error) {
      // our own disk changed pieces since they were verified: they are missing now, and nobody lied
      if (codeOf(error) === 'STORE_CORRUPT') return false
      if (codeOf(error) !== 'DIGEST_MISMATCH') throw error
      doubts.failed(await writer.hashes(0, geometry.pieces))
    }
  }
  const step = await findStep(checking)
  if (step === undefined) {
    await condemn(incoming, parts)
    throw new ShoalError('DIGEST_MISMATCH', `what was brought in is not ${digest}`)
  }
  const { audit, trial, pieces } = step
  parts.log.warn(
    { digest: String(digest), pieces: pieces.length, audit, trial },
    'the digest does not match: pieces are fetched again by another path',
  )
  doubts.note(step)
  await incoming.drop(pieces)
  parts.transfer.refresh(digest)
  return false
}

/** With all that the neighbours say; what others of a crowd have found out meanwhile saves looking again. */
async function findStep(checking: Checking): Promise<Step | undefined> {
  const { incoming, parts, originAble, isMine, gatherWords, signal } = checking
  const { book, doubts, imported, geometry, writer } = incoming
  const accepted = await writer.hashes(0, geometry.pieces)
  const decide = () => nextStep({ book, doubts, accepted, imported, originAble, isMine, random: parts.random })
  await gatherFor(WORDS_MS, gatherWords, signal)
  const step = decide()
  if (step?.audit !== true || doubts.audits === 0) return step
  await pause(OTHERS_MS, signal)
  await gatherFor(WORDS_MS, gatherWords, signal)
  return decide()
}

/** Who says nothing keeps nobody waiting for longer. @throws the signal's reason */
async function gatherFor(ms: number, gatherWords: Checking['gatherWords'], signal: AbortSignal): Promise<void> {
  const late = new AbortController()
  const cancel = SYSTEM_CLOCK.after(ms, () => late.abort(new ShoalError('PEER_TIMEOUT', 'it does not say what it knows')))
  await gatherWords(AbortSignal.any([signal, late.signal]))
  cancel()
  signal.throwIfAborted()
}

/** @throws the signal's reason */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const cancel = SYSTEM_CLOCK.after(ms, resolve)
  const onAbort = () => resolve()
  signal.addEventListener('abort', onAbort, { once: true })
  await promise
  cancel()
  signal.removeEventListener('abort', onAbort)
  signal.throwIfAborted()
}

/** With the truth known, authors who said something else are proven liars, and importers who did not are no strangers any more. */
async function convict(incoming: Incoming, { bans, accusations, peerId, proven }: SharedParts): Promise<void> {
  const { book, geometry, writer, digest } = incoming
  const accused = accusations.take(digest)
  if (book.authors().size === 0 && accused.length === 0) return
  const truth = await writer.hashes(0, geometry.pieces)
  incoming.cutMisled(truth)
  const hash = (index: number) => truth[index]
  const wrong = book.contradicting(hash)
  for (const claim of accused) if (contradicts(claim, { size: geometry.size, hash })) wrong.push(claim)
  const liars = Map.groupBy(wrong, (claim) => claim.author)
  for (const author of book.authors()) {
    const isImporter = book.about(0, geometry.pieces, author).some((claim) => claim.kind === 'import')
    if (isImporter && !liars.has(author)) proven.add(author)
  }
  for (const [author, claims] of liars) {
    if (author !== peerId) bans.add(author, `signed a wrong piece list of ${digest}`, proofIn(claims))
  }
}

/** One statement of a holder proves it; what an importer got may not be its fault. */
function proofIn(claims: readonly Claim[]): readonly Claim[] {
  const proof = claims.find((claim) => claim.kind === 'complete')
  return proof === undefined ? claims.slice(0, MAX_EVIDENCE) : [proof]
}

/** Every path led to the wrong digest: nothing is kept, and who signed exactly this list is proven wrong by the digest itself. */
async function condemn({ book, geometry, writer, digest }: Incoming, { bans, peerId, metrics }: SharedParts): Promise<void> {
  const accepted = await writer.hashes(0, geometry.pieces)
  const liars = provenLiars(book, accepted)
  metrics.pieceFailed(liars.size > 0 ? 'peer' : 'origin')
  for (const [author, claims] of liars) {
    if (author !== peerId) bans.add(author, `signed a piece list that is not ${digest}`, claims.slice(0, MAX_EVIDENCE))
  }
  await writer.drop(Array.from({ length: geometry.pieces }, (_, index) => index))
}
