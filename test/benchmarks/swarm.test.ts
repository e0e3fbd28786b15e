import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blobBytes, parseAccessLine } from '../../benchmarks/swarm/access-log.ts'
import { lowerBoundSeconds } from '../../benchmarks/swarm/bound.ts'
import { resized } from '../../benchmarks/swarm/change.ts'
import { parseLinkBytes } from '../../benchmarks/swarm/counters.ts'
import { figuresOf, type HostOutcome } from '../../benchmarks/swarm/figures.ts'
import { parseMetrics } from '../../benchmarks/swarm/metrics.ts'
import { SCENARIOS } from '../../benchmarks/swarm/scenarios.ts'
import { summaryOf, verdictsOf } from '../../benchmarks/swarm/summary.ts'

const MiB = 1024 * 1024
const [layer] = SCENARIOS
assert.ok(layer)

test('the bound is set by the slowest link, by the origin, or by what all can send together', () => {
  const mbits = Array.from({ length: 16 }, () => 50)
  assert.equal(lowerBoundSeconds({ bytes: 128 * MiB, originMbit: 50, mbits }).toFixed(2), '21.47')
  assert.equal(lowerBoundSeconds({ bytes: 1_000_000, originMbit: 8, mbits: [80, 80] }), 1)
  assert.equal(lowerBoundSeconds({ bytes: 1_000_000, originMbit: 80, mbits: [80, 4] }), 2)
  // 3 MB to deliver, 9 + 3 Mbit/s to do it with; who sends less may still receive no faster
  assert.equal(lowerBoundSeconds({ bytes: 1_000_000, originMbit: 9, mbits: [1, 1, 1] }), 8)
})

test("docker-registry's access log tells what each request was sent", () => {
  const line =
    '10.77.0.11 - - [21/Nov/2026:15:00:00 +0000] "GET /v2/team/app/blobs/sha256:ab HTTP/1.1" 206 1048576 "" "shoal/0.1.0"'
  const request = { from: '10.77.0.11', method: 'GET', path: '/v2/team/app/blobs/sha256:ab', status: 206, bytes: MiB }
  assert.deepEqual(parseAccessLine(line), request)
  assert.equal(parseAccessLine('time="2026-11-21T15:00:00Z" level=info msg="listening on 10.77.0.10:5000"'), undefined)
  const others = [
    { ...request, method: 'HEAD' },
    { ...request, path: '/v2/team/app/manifests/v1' },
  ]
  assert.equal(blobBytes([request, ...others, request]), 2 * MiB)
})

test("a link's counters are read from the kernel's table", () => {
  const table = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
    e0: 2000000    1500    0    0    0     0          0         0  3000000    2100    0    0    0     0       0          0
`
  assert.deepEqual(parseLinkBytes(table, 'e0'), { received: 2_000_000, sent: 3_000_000 })
  assert.throws(() => parseLinkBytes(table, 'e1'), /no device e1/)
})

test('metrics are read with their labels', () => {
  const metrics = parseMetrics('# HELP a b\nshoal_wasted_bytes_total 12\nshoal_download_bytes_total{source="peer"} 1.5e6\n')
  assert.equal(metrics.get('shoal_wasted_bytes_total'), 12)
  assert.equal(metrics.get('shoal_download_bytes_total{source="peer"}'), 1_500_000)
})

test('a crowd is judged by its living hosts, each timed from its own start', () => {
  const figures = figuresOf({
    ...OUTCOME,
    outcomes: [
      host({ host: 1, endedAt: 20 }),
      host({ host: 2, startedAt: 10, endedAt: 32, banned: ['liar'], wastedBytes: MiB }),
      host({ host: 3, killed: true, failure: 'killed', endedAt: 5 }),
      host({ host: 4, failure: 'status 502', endedAt: 60 }),
    ],
    liars: ['liar', 'other'],
  })
  assert.equal(figures.failed, 1)
  assert.deepEqual(figures.completionS, { p50: 21, p95: 21.9, max: 22 })
  assert.equal(figures.ratio, 1.1)
  assert.equal(figures.originLinkCopies, 1.5)
  assert.equal(figures.originBodyCopies, 1.25)
  assert.equal(figures.originPulls, 2)
  assert.equal(figures.wastedShare, 1 / 256)
  assert.equal(figures.liarsBanned, 1)
  assert.equal(figures.cpuSecondsPerGiB, 40)
  assert.equal(figures.clientCpuSecondsPerGiB, 4)
  const text = summaryOf(layer, figures)
  assert.match(text, /FAILED ON 1 HOSTS/)
  assert.match(text, /host 4: status 502/)
  assert.match(text, /slowest ÷ bound 1\.100/)
  assert.match(verdictsOf(layer, [figures]), /slowest ÷ bound .*1\.100 .*≤ 1\.15 +met/)
})

test('where links have no rates, what depends on them is not judged', () => {
  const figures = figuresOf({ ...OUTCOME, boundS: undefined, originLinkBytes: undefined, outcomes: [host({})] })
  assert.match(summaryOf(layer, figures), /no rates/)
  assert.doesNotMatch(verdictsOf(layer, [figures]), /bound|link|NaN/)
})

test('scenarios have names of their own, and can be run with fewer hosts and less content', () => {
  assert.equal(new Set(SCENARIOS.map(({ name }) => name)).size, SCENARIOS.length)
  const small = resized({ ...layer, layerBytes: [96 * MiB, 48 * MiB] }, { hosts: 4, largestBytes: 8 * MiB })
  assert.deepEqual([small.hosts, small.mbit, small.layerBytes], [4, 50, [8 * MiB, 4 * MiB]])
  const broken = { ...layer, layerBytes: [96 * MiB], faults: { dropAfterBytes: 24 * MiB, refuseEvery: 3 } }
  assert.deepEqual(resized(broken, { largestBytes: 8 * MiB }).faults, { dropAfterBytes: 2 * MiB, refuseEvery: 3 })
  assert.deepEqual(resized(layer, {}), layer)
})

const OUTCOME = {
  bytes: 128 * MiB,
  boundS: 20,
  cpuSeconds: 10,
  machineShare: 0.5,
  originLinkBytes: 192 * MiB,
  originBodyBytes: 160 * MiB,
  originRequests: 4,
  onePullRequests: 2,
  liars: [],
  usage: [],
}

function host(more: Partial<HostOutcome>): HostOutcome {
  return {
    host: 1,
    killed: false,
    startedAt: 0,
    endedAt: 21,
    transfers: [],
    failure: undefined,
    wrongWholes: 0,
    fromOriginBytes: 0,
    fromPeersBytes: 0,
    wastedBytes: 0,
    failedPieces: 0,
    wrongCommitted: 0,
    banned: [],
    cpuSeconds: 1,
    clientCpuSeconds: 0.25,
    peakRssMiB: 100,
    sentBytes: 0,
    receivedBytes: 0,
    ...more,
  }
}
