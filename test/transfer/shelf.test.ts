import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { Shelf } from '../../src/transfer/shelf.ts'
import { createMemoryLibrary } from './memory-library.ts'

const bytes = Buffer.from('content')
const digest = digestOf(bytes)

describe('the shelf', () => {
  it('opens a blob once for several borrowers and keeps it for the next', async () => {
    const library = createMemoryLibrary()
    library.put(bytes)
    const shelf = new Shelf(library, () => 0)
    const [a, b] = await Promise.all([shelf.borrow(digest), shelf.borrow(digest)])
    assert.equal(a?.holding, b?.holding)
    a?.giveBack()
    b?.giveBack()
    const c = await shelf.borrow(digest)
    assert.equal(c?.holding, a?.holding)
    assert.equal(library.opened, 1)
    c?.giveBack()
    await shelf.close()
    assert.equal(library.open, 0)
  })

  it('does not remember what was not held', async () => {
    const library = createMemoryLibrary()
    const shelf = new Shelf(library, () => 0)
    assert.equal(await shelf.borrow(digest), undefined)
    library.put(bytes)
    const loan = await shelf.borrow(digest)
    assert.equal(loan?.holding.size, bytes.length)
    loan?.giveBack()
    await shelf.close()
  })

  it('gives the next borrower what is there after a change, and closes the old when its last user is done', async () => {
    const library = createMemoryLibrary()
    library.put(bytes)
    const shelf = new Shelf(library, () => 0)
    const old = await shelf.borrow(digest)
    shelf.forget(digest)
    library.delete(digest)
    assert.equal(await shelf.borrow(digest), undefined)
    assert.equal(library.open, 1)
    old?.giveBack()
    await shelf.close()
    assert.equal(library.open, 0)
  })

  it('keeps a bounded number of idle blobs', async () => {
    const library = createMemoryLibrary()
    const shelf = new Shelf(library, () => 0)
    for (let i = 0; i < 1_000; i++) {
      const loan = await shelf.borrow(library.put(Buffer.from(`blob ${i}`)))
      loan?.giveBack()
    }
    await new Promise(setImmediate)
    assert.ok(library.open <= 256, `${library.open}`)
    await shelf.close()
    assert.equal(library.open, 0)
  })

  it('lets go of what was idle for some seconds', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    let now = 0
    const library = createMemoryLibrary()
    library.put(bytes)
    const shelf = new Shelf(library, () => now)
    const loan = await shelf.borrow(digest)
    loan?.giveBack()
    now = 10_000
    t.mock.timers.tick(10_000)
    await new Promise(setImmediate)
    assert.equal(library.open, 0)
  })
})
