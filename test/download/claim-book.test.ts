import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Claim } from '../../protocols/claim/codec.ts'
import { digestOf } from '../../protocols/digest.ts'
import { ClaimBook } from '../../src/download/claim-book.ts'
import { provenLiars } from '../../src/download/suspects.ts'

const DIGEST = digestOf(Buffer.from('content'))

test('who verified the whole is believed before an importer', () => {
  const book = new ClaimBook()
  book.add(claim('importer', 'import', 0, ['x', 'y']))
  book.add(claim('holder', 'complete', 0, ['a', 'b']))
  assert.equal(book.word(0)?.author, 'holder')
})

test('a suspect is believed only when nobody else speaks', () => {
  const book = new ClaimBook()
  book.add(claim('holder', 'complete', 0, ['a', 'b']))
  book.add(claim('importer', 'import', 1, ['y']))
  book.suspect('holder')
  assert.equal(book.word(1)?.author, 'importer')
  assert.equal(book.word(0)?.author, 'holder')
})

test('an importer’s growing run replaces its shorter claims', () => {
  const book = new ClaimBook()
  assert.equal(book.add(claim('importer', 'import', 0, ['a'])), true)
  assert.equal(book.add(claim('importer', 'import', 0, ['a', 'b'])), true)
  assert.equal(book.add(claim('importer', 'import', 1, ['b'])), false)
  assert.equal(book.about(0, 10).length, 1)
})

test('with the truth known, every claim that contradicts it is evidence against its author', () => {
  const book = new ClaimBook()
  book.add(claim('honest', 'complete', 0, ['a', 'b']))
  book.add(claim('liar', 'complete', 0, ['a', 'z']))
  const truth = [hash('a'), hash('b')]
  assert.deepEqual(
    book.contradicting((i) => truth[i]).map((c) => c.author),
    ['liar'],
  )
})

test('a list that the digest has proven wrong convicts only who signed all of it as verified', () => {
  const book = new ClaimBook()
  book.add(claim('liar', 'complete', 0, ['a', 'z']))
  book.add(claim('importer', 'import', 0, ['a', 'z']))
  book.add(claim('half', 'complete', 0, ['a']))
  assert.deepEqual([...provenLiars(book, [hash('a'), hash('z')]).keys()], ['liar'])
})

test('a neighbour can not fill the book with invented authors', () => {
  const book = new ClaimBook()
  for (let i = 0; i < 1000; i++) book.add(claim(`author${i}`, 'import', 0, ['a']))
  assert.ok(book.authors().size <= 64)
})

function hash(word: string): Uint8Array {
  return digestOf(Buffer.from(word)).bytes
}

function claim(author: string, kind: Claim['kind'], first: number, words: string[]): Claim {
  return { kind, digest: DIGEST, size: 10 * 256 * 1024, first, hashes: words.map(hash), author, signature: new Uint8Array(64) }
}
