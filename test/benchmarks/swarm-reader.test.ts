import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hasWhole, parseTransfers, readerScript, wrongWholes } from '../../benchmarks/swarm/reader-script.ts'
import { createBlob } from '../../examples/demo/image.ts'

const blob = createBlob(Buffer.from('a layer'))
const other = createBlob(Buffer.from('another'))
const mirror = 'http://127.0.0.1:7400'

function answer(more: object = {}): string {
  const url = `${mirror}/v2/origin.test/team/app/blobs/${blob.digest}`
  const ended = { http_code: 200, exitcode: 0, errormsg: null, size_download: blob.size, time_starttransfer: 0.5, time_total: 2 }
  return JSON.stringify({ url, ...ended, ...more })
}

test('a client reads as containerd does: the tag, the manifest, and the blobs a few at once', () => {
  const script = readerScript({ mirror, image: true, blobs: [blob, other], check: false, scratch: '/none', timeoutS: 30.5 })
  const lines = script.split('\n')
  assert.deepEqual(lines.slice(0, 2), ['trap times EXIT', 'read _'])
  assert.match(lines[2] ?? '', /-I http:\/\/127\.0\.0\.1:7400\/v2\/origin\.test\/team\/app\/manifests\/v1/)
  assert.match(lines[3] ?? '', /--max-time 31 .*manifests\/v1/)
  assert.match(lines[4] ?? '', new RegExp(`-Z --parallel-max 3 .*${blob.digest}.*${other.digest}`))
})

test('an answer is whole when all bytes came and nothing was wrong', () => {
  const [transfer] = parseTransfers(`${answer()}\n`)
  assert.deepEqual([transfer?.digest, transfer?.bytes, transfer?.firstByteS], [String(blob.digest), blob.size, 0.5])
  assert.ok(hasWhole(parseTransfers(answer()), blob, false))
  assert.ok(!hasWhole(parseTransfers(answer()), other, false))
  for (const wrong of [{ http_code: 502 }, { exitcode: 18, errormsg: 'cut' }, { size_download: 3 }])
    assert.ok(!hasWhole(parseTransfers(answer(wrong)), blob, false))
  assert.equal(parseTransfers(answer({ exitcode: 18, errormsg: 'cut' }))[0]?.problem, 'cut')
  assert.equal(parseTransfers(answer({ http_code: 502 }))[0]?.problem, 'status 502')
})

test('a client that hashes has a blob only when its hash is right, and what looked whole but was not is counted', () => {
  const right = `${blob.digest.hex}  -`
  const wrong = `${other.digest.hex}  -`
  assert.ok(hasWhole(parseTransfers([answer(), right].join('\n')), blob, true))
  assert.ok(!hasWhole(parseTransfers([answer(), wrong].join('\n')), blob, true))
  assert.ok(!hasWhole(parseTransfers(answer()), blob, true))

  assert.equal(wrongWholes(parseTransfers([answer(), wrong].join('\n')), [blob]), 1)
  assert.equal(wrongWholes(parseTransfers([answer(), right].join('\n')), [blob]), 0)
  // cut, resumed, and wrong: nobody had told the client that it was complete
  const resumed = [answer({ exitcode: 18, size_download: 3 }), answer({ http_code: 206, size_download: 4 }), wrong]
  assert.equal(wrongWholes(parseTransfers(resumed.join('\n')), [blob]), 0)
})
