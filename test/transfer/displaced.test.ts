import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Bitfield } from '../../protocols/bitfield.ts'
import { Dismissed } from '../../src/transfer/dismissed.ts'
import { displacedBy, type Placed } from '../../src/transfer/displaced.ts'

const PLACES = { maxNeighbours: 8, now: 10_000 }

function holding(network: string, ...pieces: number[]): Placed {
  const have = new Bitfield(8)
  for (const index of pieces) have.add(index)
  return { state: 'partial', since: 0, network, have }
}

describe('a newcomer', () => {
  it('takes the place of one that has held nothing for a while', () => {
    const empty: Placed = { state: 'none', since: 0, network: 'a', have: undefined }
    const members = [holding('a', 1), { ...empty, since: 9_000 }, empty]
    assert.equal(displacedBy('a', members, PLACES), empty)
    assert.equal(displacedBy('a', members.slice(0, 2), PLACES), undefined)
  })

  it('of a network that has few places takes the latest of one that has many, but not of one that alone holds something', () => {
    const crowd = [holding('a', 1), holding('a', 1), holding('a', 1), holding('a', 2)]
    assert.equal(displacedBy('b', crowd, PLACES), crowd[2])
  })

  it('of a network that has its share takes nobody’s', () => {
    const empty: Placed = { state: 'none', since: 0, network: 'b', have: undefined }
    assert.equal(displacedBy('a', [holding('a', 1), holding('a', 1), holding('a', 1), empty], PLACES), undefined)
  })
})

describe('who was dismissed', () => {
  it('is not taken back for a minute', () => {
    const dismissed = new Dismissed()
    dismissed.add('x', 1_000)
    assert.equal(dismissed.has('x', 60_999), true)
    assert.equal(dismissed.has('x', 61_000), false)
    assert.equal(dismissed.has('y', 1_000), false)
  })

  it('is forgotten when many others came after', () => {
    const dismissed = new Dismissed()
    for (let i = 0; i < 300; i++) dismissed.add(`${i}`, 0)
    assert.deepEqual([dismissed.has('0', 1), dismissed.has('299', 1)], [false, true])
  })
})
