/**
 * A file from an ordinary web server into a file on disk, by digest: peers are asked first, the server for what they do
 * not hold, and nothing that does not match the digest is ever written as the file.
 *
 *   npm ci && node --conditions=shoal-source examples/02-fetch-from-origin/main.ts
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { digestOf, openNode } from 'shoal'

// The web server: any that serves the file will do. One that does ranges is asked only for what is missing.
const file = Buffer.alloc(3_000_000, 'It is the same on every machine. ')
let requests = 0
const server = createServer((_request, response) => {
  requests++
  response.writeHead(200, { 'content-length': file.length }).end(file)
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}/file.bin`

const digest = digestOf(file)
const dir = await mkdtemp(join(tmpdir(), 'shoal-example-'))
try {
  // With a dataDir, what was fetched is still there after a restart; without one, all is kept in memory.
  await using node = await openNode({ dataDir: join(dir, 'node') })
  for (const name of ['once.bin', 'again.bin']) {
    const blob = await node.fetch(digest, { origin })
    await blob.saveTo(join(dir, name))
    const saved = await readFile(join(dir, name))
    console.log(`${name}: ${saved.length} bytes, ${saved.equals(file) ? 'right' : 'wrong'}, requests to the server: ${requests}`)
  }
} finally {
  server.close()
  await rm(dir, { recursive: true, force: true })
}
