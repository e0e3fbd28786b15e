import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrometheus } from '../../src/telemetry/prometheus.ts'

test('every counter shows with all its label values before anything happened', async () => {
  const text = await createPrometheus({ connectedPeers: () => 3 }).text()
  for (const line of [
    'shoal_download_bytes_total{source="origin"} 0',
    'shoal_download_bytes_total{source="peer"} 0',
    'shoal_served_bytes_total{to="peer"} 0',
    'shoal_served_bytes_total{to="client"} 0',
    'shoal_pieces_failed_total{where="disk"} 0',
    'shoal_downloads_total{outcome="complete"} 0',
    'shoal_downloads_total{outcome="cancelled"} 0',
    'shoal_downloads_total{outcome="failed"} 0',
    'shoal_wasted_bytes_total 0',
    'shoal_connected_peers 3',
  ]) {
    assert.ok(text.split('\n').includes(line), line)
  }
  assert.match(text, /^process_resident_memory_bytes \d/m)
  assert.match(text, /^nodejs_eventloop_lag_p99_seconds /m)
  assert.ok(!text.includes('shoal_stored_bytes'))
})

test('counts add up, and gauges are read when the page is', async () => {
  let peers = 0
  const metrics = createPrometheus({ connectedPeers: () => peers, storedBytes: async () => 42 })
  metrics.downloaded('peer', 10)
  metrics.downloaded('peer', 5)
  metrics.served('client', 7)
  metrics.pieceFailed('disk')
  metrics.wasted(9)
  metrics.downloadEnded('complete')
  peers = 2
  const lines = (await metrics.text()).split('\n')
  for (const line of [
    'shoal_download_bytes_total{source="peer"} 15',
    'shoal_served_bytes_total{to="client"} 7',
    'shoal_pieces_failed_total{where="disk"} 1',
    'shoal_wasted_bytes_total 9',
    'shoal_downloads_total{outcome="complete"} 1',
    'shoal_connected_peers 2',
    'shoal_stored_bytes 42',
  ]) {
    assert.ok(lines.includes(line), line)
  }
})

test('two nodes in one process count apart', async () => {
  const [a, b] = [createPrometheus({ connectedPeers: () => 0 }), createPrometheus({ connectedPeers: () => 0 })]
  a.wasted(1)
  assert.match(await a.text(), /^shoal_wasted_bytes_total 1$/m)
  assert.match(await b.text(), /^shoal_wasted_bytes_total 0$/m)
})
