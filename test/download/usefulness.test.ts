import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Bitfield } from '../../protocols/bitfield.ts'
import { type Seated, Usefulness } from '../../src/download/usefulness.ts'

const PIECES = 8

function field(...indices: number[]): Bitfield {
  const have = new Bitfield(PIECES)
  for (const index of indices) have.add(index)
  return have
}

function seat(peerId: string, have: Bitfield | undefined, over: Partial<Seated> = {}): Seated {
  const state = have === undefined ? 'none' : have.complete ? 'complete' : 'partial'
  return { peerId, state, have, silent: false, ...over }
}

/** Looks every two seconds for so long. @returns who was named the last time */
function watch(usefulness: Usefulness, seats: readonly Seated[], own: Bitfield, ms: number): string[] {
  let named: string[] = []
  for (let now = 0; now <= ms; now += 2_000) named = usefulness.review(seats, own, now)
  return named
}

describe('a neighbour', () => {
  const own = field(0, 1)
  const useless: Record<string, Seated> = {
    'has failed': seat('x', undefined, { state: 'failed' }),
    'is not reached': seat('x', undefined, { state: 'connecting' }),
    'says nothing': seat('x', undefined, { state: 'asked' }),
    'holds nothing': seat('x', undefined),
    'owes pieces and sends nothing': seat('x', field(0, 1, 2), { silent: true }),
    'has what this node has, no more and no less': seat('x', field(0, 1)),
  }
  for (const [what, one] of Object.entries(useless)) {
    it(`that ${what} gives way when that has been so for long, and not before`, () => {
      const seats = [one, seat('other', field(2, 3))]
      assert.deepEqual(watch(new Usefulness(), seats, own, 8_000), [])
      assert.deepEqual(watch(new Usefulness(), seats, own, 10_000), ['x'])
    })
  }

  it('that holds what this node lacks, or lacks what it holds, stays', () => {
    const seats = [
      seat('more', field(0, 1, 2)),
      seat('less', field(0)),
      seat('other', field(4, 5)),
      seat('all', Bitfield.full(PIECES)),
    ]
    assert.deepEqual(watch(new Usefulness(), seats, own, 60_000), [])
  })

  it('that was of use in between is given its time anew', () => {
    const usefulness = new Usefulness()
    const silent = [seat('x', field(2), { silent: true }), seat('other', field(2))]
    const lively = [seat('x', field(2)), seat('other', field(2))]
    for (let now = 0; now < 60_000; now += 2_000)
      assert.deepEqual(usefulness.review(now % 8_000 === 0 ? lively : silent, own, now), [])
  })

  it('that was asked in vain is of no use however much it says it has, until it gives something', () => {
    const usefulness = new Usefulness()
    const seats = [seat('x', Bitfield.full(PIECES)), seat('other', Bitfield.full(PIECES))]
    usefulness.review(seats, own, 0)
    usefulness.askedInVain('x')
    assert.deepEqual(watch(usefulness, seats, own, 10_000), ['x'])
    usefulness.gave('x')
    assert.deepEqual(watch(usefulness, seats, own, 30_000), [])
  })
})

describe('neighbours of no use', () => {
  it('go a few at a time, those first who were so for longest', () => {
    const usefulness = new Usefulness()
    const early = seat('early', undefined)
    usefulness.review([early], field(0), 0)
    const seats = [...Array.from({ length: 40 }, (_, i) => seat(`p${i}`, undefined)), early]
    usefulness.review(seats, field(0), 2_000)
    assert.deepEqual(usefulness.review(seats, field(0), 10_000), ['early'])
    assert.equal(usefulness.review(seats, field(0), 12_000).length, 4)
  })

  it('stay while they alone have a piece that this node lacks', () => {
    const slow = seat('slow', field(3), { silent: true })
    assert.deepEqual(watch(new Usefulness(), [slow, seat('other', field(2))], field(0), 20_000), [])
    assert.deepEqual(watch(new Usefulness(), [slow, seat('other', field(3))], field(0), 20_000), ['slow'])
    const both = [slow, seat('slow too', field(3), { silent: true })]
    assert.equal(watch(new Usefulness(), both, field(0), 20_000).length, 1, 'one of two')
  })

  it('stay, if they gave pieces, while only the word of others who gave none says that they have the same', () => {
    const usefulness = new Usefulness()
    const slow = seat('slow', field(3), { silent: true })
    const boaster = seat('boaster', Bitfield.full(PIECES))
    usefulness.review([slow, boaster], field(0), 0)
    usefulness.gave('slow')
    assert.deepEqual(watch(usefulness, [slow, boaster], field(0), 30_000), [])
    usefulness.gave('boaster')
    assert.deepEqual(watch(usefulness, [slow, boaster], field(0), 30_000), ['slow'])
  })

  it('who boast of everything and give nothing keep no more than one place', () => {
    const usefulness = new Usefulness()
    let seats = Array.from({ length: 64 }, (_, i) => seat(`boaster${i}`, Bitfield.full(PIECES), { silent: true }))
    let rounds = 0
    for (let now = 0; now <= 60_000; now += 2_000) {
      const gone = usefulness.review(seats, field(), now)
      if (gone.length > 0) rounds++
      seats = seats.filter(({ peerId }) => !gone.includes(peerId))
    }
    assert.equal(seats.length, 1)
    assert.equal(rounds, 16)
  })
})
