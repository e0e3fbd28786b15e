import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { Claim } from '../../protocols/claim/codec.ts'
import { digestOf } from '../../protocols/digest.ts'
import { ClaimBook } from '../../src/download/claim-book.ts'
import { Doubts } from '../../src/download/doubts.ts'
import { type Case, nextStep, type Step } from '../../src/download/suspects.ts'
import { seeded } from '../discovery/virtual-clock.ts'

const DIGEST = digestOf(Buffer.from('content'))
const hash = (word: string) => digestOf(Buffer.from(word)).bytes
const right = (index: number) => `right ${index}`

function claim(author: string, kind: Claim['kind'], first: number, words: readonly string[]): Claim {
  return { kind, digest: DIGEST, size: 64 * 256 * 1024, first, hashes: words.map(hash), author, signature: new Uint8Array(64) }
}

/** A blob of so many pieces, what was signed about it, and what is held of it. */
function caseOf(pieces: number, claims: readonly Claim[], held: readonly string[], options: Partial<Case> = {}): Case {
  const book = new ClaimBook(pieces)
  for (const one of claims) book.add(one)
  const doubts = new Doubts(book)
  return { book, doubts, accepted: held.map(hash), imported: new Set(), originAble: true, random: seeded(1), ...options }
}

const truth = (pieces: number) => Array.from({ length: pieces }, (_, index) => right(index))
const but = (words: readonly string[], ...wrong: readonly number[]) =>
  words.map((word, i) => (wrong.includes(i) ? `wrong ${i}` : word))

describe('a digest that does not match', () => {
  it('refutes who said to have held exactly this, and another list is tried for as little as the two differ', () => {
    const lie = but(truth(8), 2, 5)
    const one = caseOf(8, [claim('liar', 'complete', 0, lie), claim('holder', 'complete', 0, truth(8))], lie)
    assert.deepEqual(nextStep(one), { pieces: [2, 5], audit: false, trial: 'holder' })
    assert.ok(one.book.isSuspect('liar'))
    assert.equal(one.book.word(2)?.author, 'holder')
  })

  it('leads to no path when the only one who spoke is refuted and there is no origin', () => {
    const lie = but(truth(8), 2)
    assert.equal(nextStep(caseOf(8, [claim('liar', 'complete', 0, lie)], lie, { originAble: false })), undefined)
  })

  it('costs what only a refuted one vouched for, and not what somebody else confirms or we imported', () => {
    const lie = but(truth(8), 2)
    const one = caseOf(8, [claim('liar', 'complete', 0, lie), claim('a', 'import', 4, truth(8).slice(4, 6))], lie, {
      imported: new Set([0, 7]),
    })
    assert.deepEqual(nextStep(one), { pieces: [1, 2, 3, 6], audit: false })
  })

  it('where our own import contradicts an importer, costs all that this one vouched for and nothing of others', () => {
    const held = [...but(truth(4), 1), ...truth(8).slice(4)]
    held[0] = right(0)
    const claims = [claim('liar', 'import', 0, but(truth(4), 0, 1)), claim('a', 'import', 4, truth(8).slice(4))]
    const step = nextStep(caseOf(8, claims, held, { imported: new Set([0]) }))
    assert.deepEqual(step, { pieces: [1, 2, 3], audit: false })
  })

  it('makes one who contradicts many the suspect, and not the many', () => {
    const claims = ['a', 'b', 'c', 'd'].map((author, i) => claim(author, 'import', 2 * i, truth(8).slice(2 * i, 2 * i + 2)))
    const slander = claim('liar', 'import', 0, but(truth(8), 1, 3, 5))
    const one = caseOf(8, [...claims, slander], truth(8))
    assert.equal(nextStep(one)?.audit, true)
    assert.ok(one.book.isSuspect('liar'))
    for (const author of ['a', 'b', 'c', 'd']) assert.ok(!one.book.isSuspect(author))
  })

  it('with nobody contradicted, has this node look for itself at a few pieces of some authors, twice as many each time, then all', () => {
    const claims = Array.from({ length: 16 }, (_, i) => claim(`author ${i}`, 'import', 4 * i, truth(64).slice(4 * i, 4 * i + 4)))
    const one = caseOf(64, claims, truth(64))
    const counts: number[] = []
    for (let round = 0; round < 5; round++) {
      const step = nextStep(one) as Step
      assert.equal(step.audit, true)
      counts.push(step.pieces.length)
      if (round === 1) assert.equal(new Set(step.pieces.map((index) => Math.floor(index / 4))).size, 4, 'of different authors')
      one.doubts.note(step)
    }
    assert.deepEqual(counts, [2, 4, 8, 16, 64])
  })

  it('is our own origin’s fault where all is our own import', () => {
    assert.equal(nextStep(caseOf(4, [], truth(4), { imported: new Set([0, 1, 2, 3]) })), undefined)
  })
})

describe('the search, whatever was signed', () => {
  const signed = fc.array(
    fc.record({
      author: fc.integer({ min: 0, max: 6 }),
      complete: fc.boolean(),
      first: fc.nat(11),
      wrong: fc.array(fc.nat(11), { maxLength: 6 }),
      count: fc.integer({ min: 1, max: 12 }),
    }),
    { maxLength: 10 },
  )

  it('ends with the right content when the origin is honest, and never holds an honest author for wrong in the end', () => {
    fc.assert(
      fc.property(signed, fc.integer(), (statements, seed) => {
        const random = seeded(seed)
        const claims = statements.map(({ author, complete, first, wrong, count }) => {
          // the first three never lie
          const words = author < 3 ? truth(12) : but(truth(12), ...wrong)
          const [at, end] = complete ? [0, 12] : [first, Math.min(12, first + count)]
          return claim(`author ${author}`, complete ? 'complete' : 'import', at, words.slice(at, end))
        })
        const one = caseOf(12, claims, truth(12), { random })
        const held = new Map<number, string>()
        const imported = new Set<number>()
        const bring = (index: number) => {
          const word = one.book.word(index)
          const believed = word !== undefined && !one.book.isSuspect(word.author)
          if (one.doubts.bars(index) || !believed) imported.add(index)
          const said = [right(index), `wrong ${index}`].find(
            (text) => word !== undefined && Buffer.compare(hash(text), word.hash) === 0,
          )
          held.set(index, imported.has(index) ? right(index) : (said as string))
          one.doubts.settle(index)
        }
        for (let index = 0; index < 12; index++) bring(index)
        for (let round = 0; [...held].some(([index, word]) => word !== right(index)); round++) {
          assert.ok(round < 30, 'it goes on for ever')
          const accepted = Array.from({ length: 12 }, (_, index) => hash(held.get(index) as string))
          const step = nextStep({ ...one, accepted, imported })
          assert.ok(step !== undefined && step.pieces.length > 0, 'it gave up')
          one.doubts.note(step)
          for (const index of step.pieces) imported.delete(index)
          for (const index of step.pieces) bring(index)
        }
        const wronged = one.book.contradicting((index) => hash(right(index))).map(({ author }) => author)
        assert.ok(wronged.every((author) => Number(author.slice(-1)) >= 3))
      }),
      { numRuns: 500 },
    )
  })
})
