import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { NewsBook } from '../../src/discovery/news-book.ts'

const digests = Array.from({ length: 10 }, (_, i) => digestOf(Buffer.from(`${i}`)))
const [x, y] = digests as [(typeof digests)[0], (typeof digests)[0]]

describe('news to be told', () => {
  it('goes out oldest first, in batches', () => {
    const book = new NewsBook()
    for (const digest of digests) book.hold(digest)
    assert.deepEqual(book.take(4), { added: digests.slice(0, 4), removed: [] })
    assert.deepEqual(book.take(100), { added: digests.slice(4), removed: [] })
    assert.equal(book.take(4), undefined)
  })

  it('is the latest word on each blob', () => {
    const book = new NewsBook()
    book.hold(x)
    book.drop(x)
    book.drop(y)
    book.hold(y)
    assert.deepEqual(book.take(10), { added: [y], removed: [x] })
  })

  it('is told again to newcomers, except what was withdrawn or what they need not hear', () => {
    const book = new NewsBook()
    for (const digest of digests) book.hold(digest)
    book.take(100)
    book.drop(x)
    book.take(100)
    book.recite(3, (digest) => digest === String(digests[9]))
    assert.deepEqual(book.take(100), { added: [digests[7], digests[8]], removed: [] })
  })

  it('is bounded: what waited longest is dropped', () => {
    const book = new NewsBook({ maxQueued: 4, maxRecent: 2 })
    for (const digest of digests) book.hold(digest)
    assert.equal(book.queued, 4)
    assert.ok(book.busy)
    assert.deepEqual(book.take(100)?.added, digests.slice(6))
    book.recite(100, () => false)
    assert.deepEqual(book.take(100)?.added, digests.slice(8))
  })
})
