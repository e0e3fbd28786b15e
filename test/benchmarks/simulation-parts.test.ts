import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { Cover } from '../../benchmarks/simulation/cover.ts'
import { Edge } from '../../benchmarks/simulation/edge.ts'
import { EventQueue } from '../../benchmarks/simulation/event-queue.ts'
import { MIRRORED, SOURCES } from '../../benchmarks/simulation/mirrored.ts'
import { Network } from '../../benchmarks/simulation/network.ts'
import { Peer } from '../../benchmarks/simulation/peer.ts'
import { Places } from '../../benchmarks/simulation/places.ts'
import { Processors } from '../../benchmarks/simulation/processors.ts'
import { DEFAULTS } from '../../benchmarks/simulation/scenario.ts'
import { seeded } from '../../benchmarks/simulation/seeded.ts'
import { CALL, World } from '../../benchmarks/simulation/world.ts'
import { Bitfield } from '../../protocols/bitfield.ts'

describe('the queue of events', () => {
  it('gives them in the order of their times, and of equal times in the order they came', () => {
    const queue = new EventQueue()
    const random = seeded(7)
    const times = Array.from({ length: 200_000 }, () => Math.floor(random() * 1_000))
    for (const [i, time] of times.entries()) queue.put(time, 1, i, time)
    let [last, lastIndex] = [-1, -1]
    while (queue.size > 0) {
      queue.take()
      assert.ok(queue.time > last || (queue.time === last && queue.a > lastIndex))
      assert.equal(times[queue.a], queue.b)
      ;[last, lastIndex] = [queue.time, queue.a]
    }
  })
})

describe('the network', () => {
  /** Runs flows to their ends. @returns when each ended */
  function run(up: number[], down: number[], flows: readonly (readonly [from: number, to: number, bytes: number])[]): number[] {
    const network = new Network(Float64Array.from(up), Float64Array.from(down))
    const ends: number[] = []
    let now = 0
    for (const [i, [from, to, bytes]] of flows.entries()) {
      const sent = () => {
        ends[i] = now
        return 0
      }
      network.begin({ sent }, from, to, bytes, 0)
    }
    while (Number.isFinite(network.nextTime)) {
      now = network.nextTime
      network.finish(now)
    }
    const moved = flows.reduce((total, [, , bytes]) => total + bytes, 0)
    assert.ok(Math.abs(network.sentBytes.reduce((a, b) => a + b, 0) - moved) < 1)
    return ends
  }

  it('gives one flow the lesser of its links', () => {
    assert.deepEqual(run([10, 10], [10, 4], [[0, 1, 1_000]]), [250])
  })

  it('shares an uplink evenly, and gives the rest of it to who is left', () => {
    assert.deepEqual(
      run(
        [10, 10, 10],
        [10, 10, 10],
        [
          [0, 1, 1_000],
          [0, 2, 500],
        ],
      ),
      [150, 100],
    )
  })

  it('gives what a slow receiver cannot take to the others', () => {
    const [fast, slow] = run(
      [10, 0, 0],
      [0, 10, 1],
      [
        [0, 1, 900],
        [0, 2, 100],
      ],
    )
    assert.ok(Math.abs((fast as number) - 100) < 2 && Math.abs((slow as number) - 100) < 2, `${fast} ${slow}`)
  })

  it('never gives more than a link has', () => {
    const random = seeded(3)
    const hosts = 20
    const flows = Array.from({ length: 400 }, () => {
      const from = Math.floor(random() * hosts)
      return [from, (from + 1 + Math.floor(random() * (hosts - 1))) % hosts, 1 + random() * 1_000] as const
    })
    const ends = run(Array(hosts).fill(5), Array(hosts).fill(5), flows)
    for (let host = 0; host < hosts; host++) {
      for (const side of [0, 1] as const) {
        const own = flows.map((flow, i) => ({ flow, end: ends[i] as number })).filter(({ flow }) => flow[side] === host)
        const bytes = own.reduce((total, { flow }) => total + flow[2], 0)
        assert.ok(bytes <= 5 * Math.max(0, ...own.map(({ end }) => end)) + 1e-6)
      }
    }
  })

  it('says how fast a flow is and what has not left', () => {
    const network = new Network(Float64Array.of(10, 10), Float64Array.of(10, 10))
    const flow = network.begin({ sent: () => 0 }, 0, 1, 1_000, 0)
    assert.deepEqual([network.rate(flow), network.left(flow, 40), network.left(flow, 200)], [10, 600, 0])
  })

  it('ends a flow midway, and says what had not left', () => {
    const network = new Network(Float64Array.of(10, 10), Float64Array.of(10, 10))
    const flow = network.begin({ sent: () => 0 }, 0, 1, 1_000, 0)
    assert.equal(network.end(flow, 40), 600)
    assert.equal(network.nextTime, Number.POSITIVE_INFINITY)
    assert.equal(network.receivedBytes[1], 400)
  })
})

describe('a message', () => {
  const PIECE = 256 * 1024
  const BYTES_PER_MS = 20e6 / 8 / 1.046 / 1_000

  /** Two hosts, the first of which is being sent a piece by the second since the 20th millisecond. */
  function sending(): { world: World; edge: Edge; lost: number[] } {
    const world = new World({ ...DEFAULTS, hosts: 2, mbit: 20, originMbit: 20, mib: 8 })
    const [one, other] = ['one', 'other'].map((id) => new Peer(world, { id, addresses: [] }, [])) as [Peer, Peer]
    const edge = new Edge(0, one, other, world)
    world.edges.push(edge)
    const lost: number[] = []
    edge.ask(0, PIECE, (bytes) => lost.push(bytes))
    world.now = 10
    edge.requested()
    world.now = 20
    edge.ready()
    return { world, edge, lost }
  }

  it('comes behind what has been written of a piece for the same peer', () => {
    const { world, edge } = sending()
    assert.ok(Math.abs(edge.backlogMs - (128 * 1024) / BYTES_PER_MS) < 1, `${edge.backlogMs}`)
    world.now = 20 + PIECE / BYTES_PER_MS - 10
    assert.ok(Math.abs(edge.backlogMs - 10) < 0.1, `${edge.backlogMs}`)
  })

  it('that calls a piece off is too late for what has been written', () => {
    const { world, edge, lost } = sending()
    const [request] = edge.requests
    assert.ok(request !== undefined)
    edge.cancel(request)
    assert.equal(edge.outstandingBytes, 0)
    while (world.queue.size > 0) {
      world.queue.take()
      world.now = world.queue.time
      if (world.queue.kind === CALL) world.call(world.queue.a)
    }
    assert.deepEqual([edge.flowing, lost.length], [true, 0])
    world.now = world.network.nextTime
    edge.sent()
    edge.arrived()
    assert.deepEqual(lost, [PIECE])
  })
})

describe('processors', () => {
  it('do one thing after the other, and remember the busiest second and the longest wait', () => {
    const cpu = new Processors(2)
    assert.equal(cpu.work(0, 600, 0), 600)
    assert.equal(cpu.work(0, 600, 100), 1_200)
    assert.equal(cpu.work(1, 5, 100), 105)
    assert.equal(cpu.work(0, 10, 5_000), 5_010)
    assert.equal(cpu.longestWait[0], 500)
    assert.equal(cpu.busiest[0], 1_000)
    assert.equal(cpu.total[0], 1_210)
  })

  it('of hosts on one machine share its cores', () => {
    const cpu = new Processors(3, 2)
    assert.deepEqual([cpu.work(0, 10, 0), cpu.work(1, 10, 0), cpu.work(2, 10, 0)], [10, 10, 20])
  })
})

it('places are taken in turn, and one that is not used goes to the next', () => {
  const places = new Places(1)
  const begun: string[] = []
  const begin =
    (name: string, uses = true) =>
    () => {
      begun.push(name)
      return uses
    }
  places.take(begin('a'))
  places.take(begin('b', false))
  places.take(begin('c'))
  assert.deepEqual(begun, ['a'])
  places.give()
  assert.deepEqual(begun, ['a', 'b', 'c'])
})

it('a cover counts what is neither held nor offered', () => {
  const held = new Bitfield(3)
  const cover = new Cover(held)
  const orphansAfter = (change: () => void): number => {
    change()
    return cover.orphans
  }
  assert.equal(cover.orphans, 3)
  assert.equal(
    orphansAfter(() => cover.add(0)),
    2,
  )
  assert.equal(
    orphansAfter(() => cover.add(0)),
    2,
  )
  assert.equal(
    orphansAfter(() => cover.remove(0)),
    2,
  )
  assert.ok(cover.has(0))
  cover.landing(1)
  held.add(1)
  assert.equal(cover.orphans, 1)
  cover.add(1)
  assert.equal(
    orphansAfter(() => cover.remove(1)),
    1,
  )
  assert.equal(
    orphansAfter(() => cover.remove(0)),
    2,
  )
})

for (const [name, file] of Object.entries(SOURCES)) {
  it(`${name} is what ${file} says`, () => {
    const source = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
    const said = new RegExp(`^(?:export )?const ${name} = ([\\d_]+)$`, 'm').exec(source)?.[1]
    assert.equal(Number(said?.replaceAll('_', '')), MIRRORED[name as keyof typeof MIRRORED])
  })
}
