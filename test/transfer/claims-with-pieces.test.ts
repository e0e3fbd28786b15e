import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Claim, encodeClaim } from '../../protocols/claim/codec.ts'
import { digestOf } from '../../protocols/digest.ts'
import { encodePieceData, encodePieceHead } from '../../protocols/piece/codec.ts'
import { MAX_HEAD_CLAIM_BYTES } from '../../protocols/piece/limits.ts'
import { MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import { codeOf, type ErrorCode } from '../../src/errors.ts'
import { createMemoryNetwork } from '../../src/net/memory.ts'
import { signClaim } from '../../src/transfer/claims.ts'
import { until } from '../helpers/until.ts'
import { plain } from '../protocols/plain.ts'
import { Asking } from './asking.ts'
import { hashesOf } from './memory-library.ts'
import { against, digest, head, SIZE, struck } from './misbehaving.ts'
import { content, joined, NEVER, neighbour, type TestNode, withNodes } from './rig.ts'

const bytes = content(5 * MIN_PIECE_BYTES)

/** A statement of this node about pieces of `bytes`. */
function statement({ host }: TestNode, first: number, count: number, of: Uint8Array = bytes): Promise<Claim> {
  return signClaim(host, { kind: 'import', digest: digestOf(of), size: of.length, first, hashes: hashesOf(of, first, count) })
}

describe('a piece that is asked for with a claim', () => {
  it('comes with the shortest that covers it', async () => {
    await withNodes(async ([author, giver, me]) => {
      const claims = await Promise.all([statement(author, 0, 5), statement(author, 2, 2), statement(author, 4, 1)])
      const digest = giver.library.put(bytes, { pieces: [1, 2, 3], claims })
      await using swarm = await joined(me, digest, [giver])
      const told: (Claim | undefined)[] = []
      const into = new Uint8Array(MIN_PIECE_BYTES)
      await swarm.request(giver.ref.id, 3, into, { signal: NEVER, onClaim: (claim) => void told.push(claim) })
      assert.deepEqual(plain(told), plain([claims[1]]))
      assert.ok(Buffer.from(into).equals(bytes.subarray(3 * MIN_PIECE_BYTES, 4 * MIN_PIECE_BYTES)))
    })
  })

  it('comes alone where its holder has nothing to say of it, or says too much at once', async () => {
    await withNodes(async ([author, giver, me]) => {
      const long = content(130 * MIN_PIECE_BYTES)
      const page = await statement(author, 0, 130, long)
      assert.ok(encodeClaim(page).length > MAX_HEAD_CLAIM_BYTES)
      for (const [held, claims] of [
        [bytes, [await statement(author, 0, 1)]],
        [long, [page]],
      ] as const) {
        const digest = giver.library.put(held, { pieces: [1], claims })
        await using swarm = await joined(me, digest, [giver])
        const told: unknown[] = []
        const into = new Uint8Array(MIN_PIECE_BYTES)
        await swarm.request(giver.ref.id, 1, into, { signal: NEVER, onClaim: (claim) => told.push(claim) })
        assert.deepEqual(told, [undefined])
        assert.ok(Buffer.from(into).equals(held.subarray(into.length, 2 * into.length)))
      }
    })
  })

  it('is given a claim only where one is wanted, and a blob of one piece never', async () => {
    await withNodes(async ([giver, me]) => {
      const small = content(1_000)
      const several = giver.library.put(bytes, { claims: [await statement(giver, 0, 5)] })
      const single = giver.library.put(small, { claims: [await statement(giver, 0, 1, small)] })
      const asking = await Asking.open(me.host, giver)
      const request = { type: 'request', index: 0, maxBytes: MIN_PIECE_BYTES } as const
      await asking.ask(
        { ...request, id: 1, digest: several, wantsClaim: true },
        { ...request, id: 2, digest: several },
        { ...request, id: 3, digest: single, wantsClaim: true },
      )
      await until('all have come', () => asking.done.length === 3)
      const claims = [1, 2, 3].map((id) => asking.heads.get(id)?.claim)
      assert.deepEqual(plain(claims), plain([await statement(giver, 0, 5), undefined, undefined]))
    })
  })

  it('comes although its holder cannot look up its claims', async () => {
    await withNodes(async ([giver, me]) => {
      const digest = giver.library.put(bytes)
      Object.defineProperty(giver.library.blob(digest), 'claims', {
        get: () => {
          throw new Error('the disk is gone')
        },
      })
      await using swarm = await joined(me, digest, [giver])
      const into = new Uint8Array(MIN_PIECE_BYTES)
      await swarm.request(giver.ref.id, 0, into, { signal: NEVER, onClaim: (claim) => assert.equal(claim, undefined) })
      assert.ok(Buffer.from(into).equals(bytes.subarray(0, into.length)))
      assert.equal(giver.library.buffers, 0)
    })
  })

  it('can be called off before the claim has come', async () => {
    await withNodes(async ([giver, me]) => {
      const digest = giver.library.put(bytes, { claims: [await statement(giver, 0, 5)] })
      const gate = Promise.withResolvers<void>()
      giver.library.blob(digest).gate = gate.promise
      await using swarm = await joined(me, digest, [giver])
      const reason = new Error('enough')
      const into = () => new Uint8Array(MIN_PIECE_BYTES)
      const early = new AbortController()
      const asked = swarm.request(giver.ref.id, 0, into(), { signal: early.signal, onClaim: () => assert.fail('nobody waits') })
      early.abort(reason)
      await assert.rejects(asked, (error) => error === reason)
      gate.resolve()
      await swarm.request(giver.ref.id, 2, into(), { signal: NEVER, onClaim: (claim) => assert.equal(claim?.first, 0) })
    })
  })
})

describe('a claim that comes with a piece', () => {
  it('and is forged costs its sender the link, and the piece is not taken', async () => {
    await withNodes(async ([author, giver, me]) => {
      const claim = await statement(author, 0, 5)
      const digest = giver.library.put(bytes, { claims: [{ ...claim, hashes: claim.hashes.toReversed() }] })
      await using swarm = await joined(me, digest, [giver])
      const asked = swarm.request(giver.ref.id, 0, new Uint8Array(MIN_PIECE_BYTES), {
        signal: NEVER,
        onClaim: () => assert.fail('nobody is told of it'),
      })
      await assert.rejects(asked, (error) => codeOf(error) === 'CLAIM_INVALID')
      await neighbour(swarm, giver.ref.id, (n) => n.state === 'failed')
    })
  })

  /** A peer that answers with these bytes as the claim in its head, or with a claim. */
  const refused = async (claim: Claim | Uint8Array, code: ErrorCode, wanted = true) => {
    const half = Buffer.alloc(MIN_PIECE_BYTES / 2)
    const data = (id: number) => [encodePieceData(id, half.length), half]
    const piece = (id: number) => [headWith(id, claim), ...data(id), ...data(id)]
    const onClaim = () => assert.fail('nobody is told of it')
    await against({ piece }, (h) => struck(h, h.request(0, wanted ? { onClaim } : {}), code))
  }
  const signed = async (change: Partial<Claim> = {}) => {
    await using author = createMemoryNetwork().host()
    const hashes = [new Uint8Array(32)]
    return await signClaim(author, { kind: 'import', digest, size: SIZE, first: 0, hashes, ...change })
  }

  it('is refused when it is about another blob', async () =>
    refused(await signed({ digest: digestOf(Buffer.from('other')) }), 'CLAIM_INVALID'))

  it('is refused when it is about another size than the piece is', async () =>
    refused(encodeClaim(await signed({ size: SIZE - 1 })), 'MESSAGE_MALFORMED'))

  it('is refused when it does not cover the piece', async () => refused(await signed({ first: 1 }), 'MESSAGE_MALFORMED'))

  it('is refused when it was not wanted', async () => refused(await signed(), 'MESSAGE_MALFORMED', false))

  it('is refused when it is too long', () => refused(new Uint8Array(MAX_HEAD_CLAIM_BYTES + 1), 'MESSAGE_TOO_LARGE'))

  it('is refused when it is none', () => refused(Buffer.from('garbage'), 'MESSAGE_MALFORMED'))

  it('is refused when there is more of it, or less', async () => {
    const claim = encodeClaim(await signed())
    await refused(Buffer.concat([claim, Buffer.alloc(1)]), 'MESSAGE_MALFORMED')
    await refused(claim.subarray(0, claim.length - 1), 'MESSAGE_MALFORMED')
  })

  it('is refused when its pieces are none of the blob', async () => {
    const claim = encodeClaim(await signed())
    claim[2 + 33 + 8 + 3] = 3
    await refused(claim, 'CLAIM_INVALID')
  })
})

/** A head with whatever bytes as its claim. */
function headWith(id: number, claim: Claim | Uint8Array): Uint8Array {
  if (!(claim instanceof Uint8Array)) return encodePieceHead({ ...head, id, claim })
  const bytes = Buffer.concat([encodePieceHead({ ...head, id }), claim])
  bytes.writeUInt16BE(claim.length, 19)
  return bytes
}
