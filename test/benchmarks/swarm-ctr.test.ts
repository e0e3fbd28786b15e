import assert from 'node:assert/strict'
import { test } from 'node:test'
import { usedSeconds } from '../../benchmarks/swarm/client.ts'
import { ctrClient } from '../../benchmarks/swarm/ctr-client.ts'
import { hasWhole } from '../../benchmarks/swarm/reader-script.ts'
import { createBlob } from '../../examples/demo/image.ts'

const blob = createBlob(Buffer.from('a layer'))
const other = createBlob(Buffer.from('another'))
const blobs = [blob, other]
const containerd = { address: '/run/c.sock', hostsDir: '/run/hosts' }
const client = ctrClient({ containerd, blobs, timeoutS: 30.5 })
const type = 'mediatype=application/vnd.oci.image.layer.v1.tar'

function logged(what: string, { digest }: typeof blob, at: number) {
  return { text: `time="2026-11-21T18:11:47Z" level=debug msg="${what}" digest="${digest}" ${type} size=7`, at }
}

const REQUESTS = [
  logged('do request', blob, 1_000),
  logged('do request', other, 1_100),
  logged('fetch response received', other, 1_200),
  logged('fetch response received', blob, 1_500),
]

test('containerd fetches the image by its tag through its own directory of hosts', () => {
  const fetch = 'ctr --debug --address /run/c.sock content fetch --plain-http --hosts-dir /run/hosts origin.test/team/app:v1'
  assert.equal(client.script, `trap times EXIT\nread _\ntimeout 31 ${fetch} 2>&1 && echo whole`)
})

test('a first byte is timed from the first request of a blob on, and all are whole when ctr says so', () => {
  // cut, and asked for again
  const again = [logged('do request', blob, 2_000), logged('fetch response received', blob, 2_100)]
  const transfers = client.transfers([...REQUESTS, ...again, { text: 'whole', at: 4_000 }])
  assert.deepEqual(
    transfers.map(({ firstByteS, totalS }) => [firstByteS, totalS]),
    [
      [0.5, 3],
      [0.1, 2.9],
    ],
  )
  for (const each of blobs) for (const check of [false, true]) assert.ok(hasWhole(transfers, each, check))
})

test('a fetch that fails has nothing whole, and says why', () => {
  const complaint = { text: 'ctr: failed to copy: not found', at: 2_000 }
  for (const [lines, why] of [
    [[...REQUESTS, complaint], complaint.text],
    [REQUESTS, 'ctr did not end'],
  ] as const) {
    const transfers = client.transfers(lines)
    assert.deepEqual(
      transfers.map(({ problem }) => problem),
      [why, why],
    )
    assert.ok(!hasWhole(transfers, blob, false))
  }
  assert.deepEqual(client.transfers([]), [])
})

test("what a shell says of its children's time is read", () => {
  const lines = ['0m0.010000s 0m0.000000s', '1m2.500000s 0m0.250000s'].map((text) => ({ text, at: 0 }))
  assert.equal(usedSeconds(lines), 62.75)
  assert.equal(usedSeconds([]), 0)
})
