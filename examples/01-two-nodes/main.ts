/**
 * Two nodes in one process: what is added to one is fetched by the other, piece by piece, every piece verified.
 *
 *   npm ci && node --conditions=shoal-source examples/01-two-nodes/main.ts
 */
import { randomBytes } from 'node:crypto'
import { openNode } from 'shoal'

await using first = await openNode()
// A node needs the address of any one other; all further ones it hears of.
await using second = await openNode({ bootstrap: first.addresses })

const { digest, size } = await first.add(randomBytes(5_000_000))
console.log(`added ${digest}, ${size} bytes`)

const blob = await second.fetch(digest)
let bytes = 0
for await (const chunk of blob) bytes += chunk.length
console.log(`fetched ${bytes} of ${blob.size} bytes`)

for (const { peerId, receivedBytes } of second.peers()) console.log(`${receivedBytes} bytes came from ${peerId}`)
