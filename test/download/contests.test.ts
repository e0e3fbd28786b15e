import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../protocols/digest.ts'
import type { Word } from '../../src/download/claim-book.ts'
import { arbitersFor, chanceOfLook, disagree, fallsTo, importWords, outvoted } from '../../src/download/contests.ts'

const word = (author: string, says: string, kind: Word['kind'] = 'import'): Word => ({
  author,
  kind,
  hash: digestOf(Buffer.from(says)).bytes,
})

describe('importers who disagree about a piece', () => {
  it('are both believed as little, or as much, until enough others have looked', () => {
    assert.deepEqual([...outvoted([[word('liar', 'x'), word('a', 'y')]])], [])
    assert.deepEqual([...outvoted([[word('liar', 'x'), word('a', 'y'), word('b', 'y')]])], [])
    assert.deepEqual([...outvoted([[word('liar', 'x'), word('a', 'y'), word('b', 'y'), word('c', 'y')]])], ['liar'])
  })

  it('are judged by all pieces that are contested together', () => {
    const contested = [
      [word('liar', 'x'), word('a', 'y')],
      [word('liar', 'x2'), word('b', 'y2')],
      [word('liar', 'x3'), word('c', 'y3')],
    ]
    assert.deepEqual([...outvoted(contested)], ['liar'])
  })

  it('clear those whom a liar contradicts once it is found', () => {
    const contested = ['a', 'b', 'c', 'd'].map((author, i) => [word('liar', `lie ${i}`), word(author, `right ${i}`)])
    assert.deepEqual([...outvoted(contested)], ['liar'])
  })

  it('leave it to the digest where a holder of the whole speaks', () => {
    assert.deepEqual(importWords([word('a', 'x'), word('b', 'y', 'complete')]), [])
    assert.equal(disagree(importWords([word('a', 'x'), word('b', 'x')])), false)
    assert.equal(disagree(importWords([word('a', 'x'), word('b', 'y')])), true)
  })

  it('never cost an honest importer its good name while those in league are fewer than three, whatever they sign', () => {
    const statements = fc.array(fc.record({ author: fc.integer({ min: 0, max: 7 }), piece: fc.nat(5), lie: fc.nat(3) }), {
      maxLength: 60,
    })
    fc.assert(
      fc.property(statements, (signed) => {
        // the first two lie as they please
        const pieces = Map.groupBy(signed, ({ piece }) => piece)
        const contested = [...pieces.values()].map((said) =>
          said.map(({ author, piece, lie }) => word(`${author}`, author < 2 ? `${piece} ${lie}` : `${piece} right`)),
        )
        for (const author of outvoted(contested)) assert.ok(Number(author) < 2, `${author} is honest`)
      }),
      { numRuns: 500 },
    )
  })
})

describe('those who see a contested piece for themselves', () => {
  it('are as many as it takes to outvote one of the two', () => {
    const open = new Map([[3, [word('liar', 'x'), word('a', 'y')]]])
    assert.equal(arbitersFor(3, open), 2)
    open.set(3, [word('liar', 'x'), word('a', 'y'), word('b', 'y')])
    assert.equal(arbitersFor(3, open), 1)
  })

  it('look at one of the pieces about which one importer is contradicted, and not at all', () => {
    const open = new Map([
      [5, [word('liar', 'x'), word('a', 'y')]],
      [3, [word('liar', 'x3'), word('b', 'y3')]],
    ])
    assert.equal(arbitersFor(3, open), 1)
    assert.equal(arbitersFor(5, open), 0)
  })
})

describe('looking after importers', () => {
  it('falls to exactly so many of those who know each other, and not to the same for each subject', () => {
    const all = Array.from({ length: 16 }, (_, i) => `peer ${i}`)
    const chosen = new Set<string>()
    for (let subject = 0; subject < 40; subject++) {
      const those = all.filter((self) =>
        fallsTo(
          self,
          `${subject}`,
          all.filter((other) => other !== self),
          2,
        ),
      )
      assert.equal(those.length, 2)
      for (const one of those) chosen.add(one)
    }
    assert.ok(chosen.size > 8)
  })

  it('costs a crowd at most one piece in 128, however many they are, and one in 32 as long as nobody knows them', () => {
    for (const members of [2, 8, 100, 2000])
      for (const pieces of [1, 127, 128, 256, 1024, 16_384]) {
        assert.ok(members * chanceOfLook(pieces, members, false) <= pieces / 128)
        assert.ok(members * chanceOfLook(pieces, members, true) <= pieces / 32)
      }
    assert.equal(chanceOfLook(4096, 16, false), 1)
    assert.equal(chanceOfLook(127, 16, false), 0)
    assert.equal(chanceOfLook(512, 16, true), 1)
  })
})
