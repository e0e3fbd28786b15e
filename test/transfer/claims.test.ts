import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Claim } from '../../protocols/claim/codec.ts'
import { digestOf } from '../../protocols/digest.ts'
import { geometryOf, MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import { codeOf } from '../../src/errors.ts'
import { createMemoryNetwork } from '../../src/net/memory.ts'
import { createClaimVerifier, maxClaims, signClaim, verifyClaim } from '../../src/transfer/claims.ts'
import { hashesOf } from './memory-library.ts'
import { content, joined, NEVER, neighbour, withNodes } from './rig.ts'

const bytes = content(5 * MIN_PIECE_BYTES)
const digest = digestOf(bytes)
const unsigned = { kind: 'complete', digest, size: bytes.length, first: 0, hashes: hashesOf(bytes, 0, 5) } as const

describe('a claim', () => {
  it('is believed when its author signed it, and not when anything in it was changed', async () => {
    await using author = createMemoryNetwork().host()
    const claim = await signClaim(author, unsigned)
    assert.equal(claim.author, author.peerId)
    assert.equal(await verifyClaim(author, claim), true)
    const changes: Partial<Claim>[] = [
      { kind: 'import' },
      { size: bytes.length - 1 },
      { first: 1 },
      { hashes: claim.hashes.toReversed() },
      { digest: digestOf(Buffer.from('other')) },
      { signature: claim.signature.map((byte) => byte ^ 1) },
    ]
    for (const change of changes)
      assert.equal(await verifyClaim(author, { ...claim, ...change }), false, `a change of ${Object.keys(change)}`)
  })

  it('is checked once however many neighbours pass it on, and a change to it is another', async () => {
    await using author = createMemoryNetwork().host()
    const claim = await signClaim(author, unsigned)
    let checks = 0
    const verify = createClaimVerifier({
      verify: (...args) => {
        checks++
        return author.verify(...args)
      },
    })
    assert.deepEqual(await Promise.all([verify(claim), verify({ ...claim }), verify(claim)]), [true, true, true])
    assert.equal(checks, 1)
    assert.equal(await verify({ ...claim, kind: 'import' }), false)
    assert.equal(await verify({ ...claim, signature: claim.signature.map((byte) => byte ^ 1) }), false)
    assert.equal(checks, 3)
  })
})

describe('claims between neighbours', () => {
  it('are fetched in pages, from the holder or whoever passes them on', async () => {
    await withNodes(async ([author, giver, me]) => {
      const big = content(65 * 1024 * 1024)
      const size = big.length
      const pieces = geometryOf(size).pieces
      const statement = { kind: 'import', digest: digestOf(big), size } as const
      const claims: Claim[] = []
      for (let i = 0; i < pieces; i++) {
        claims.push(await signClaim(author.host, { ...statement, first: i, hashes: hashesOf(big, i, 1) }))
      }
      claims.push(await signClaim(giver.host, { ...statement, kind: 'complete', first: 0, hashes: hashesOf(big, 0, pieces) }))
      giver.library.put(big, { claims })
      await using swarm = await joined(me, digestOf(big), [giver])
      const got = await swarm.claims(giver.ref.id, 0, pieces, { signal: NEVER })
      assert.equal(got.length, pieces + 1)
      assert.deepEqual(
        got.map((c) => [c.kind, c.first, c.author]),
        claims.map((c) => [c.kind, c.first, c.author]),
      )
      const some = await swarm.claims(giver.ref.id, 3, 2, { signal: NEVER })
      assert.deepEqual(
        some.map((c) => c.first),
        [3, 4, 0],
      )
    })
  })

  it('are none where there are none', async () => {
    await withNodes(async ([giver, me]) => {
      giver.library.put(bytes)
      await using swarm = await joined(me, digest, [giver])
      assert.deepEqual(await swarm.claims(giver.ref.id, 0, 5, { signal: NEVER }), [])
      assert.deepEqual(await swarm.claims(giver.ref.id, 500, 5, { signal: NEVER }), [])
      const both = await Promise.all([0, 1].map((first) => swarm.claims(giver.ref.id, first, 1, { signal: NEVER })))
      assert.deepEqual(both, [[], []])
    })
  })

  it('that are forged are refused, and who passes them on is dropped', async () => {
    await withNodes(async ([author, giver, me]) => {
      const claim = await signClaim(author.host, unsigned)
      giver.library.put(bytes, { claims: [claim, { ...claim, hashes: claim.hashes.toReversed() }] })
      await using swarm = await joined(me, digest, [giver])
      const asked = swarm.claims(giver.ref.id, 0, 5, { signal: NEVER })
      await assert.rejects(asked, (error) => codeOf(error) === 'CLAIM_INVALID')
      await neighbour(swarm, giver.ref.id, (n) => n.state === 'failed')
    })
  })

  it('are as many as an asker may be made to check, and no more', async () => {
    await withNodes(async ([giver, me]) => {
      const claim = await signClaim(giver.host, unsigned)
      giver.library.put(bytes, { claims: Array.from({ length: 1_000 }, () => claim) })
      await using swarm = await joined(me, digest, [giver])
      assert.equal((await swarm.claims(giver.ref.id, 0, 2, { signal: NEVER })).length, maxClaims(2))
    })
  })

  it('can be given up on', async () => {
    await withNodes(async ([giver, me]) => {
      giver.library.put(bytes)
      await using swarm = await joined(me, digest, [giver])
      const stop = new AbortController()
      const asked = swarm.claims(giver.ref.id, 0, 5, { signal: stop.signal })
      const reason = new Error('enough')
      stop.abort(reason)
      await assert.rejects(asked, (error) => error === reason)
      assert.deepEqual(await swarm.claims(giver.ref.id, 0, 5, { signal: NEVER }), [])
    })
  })
})
