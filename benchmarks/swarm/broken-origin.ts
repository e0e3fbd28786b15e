/**
 * A registry of one image that drops each connection once it has carried so much, and refuses every so many-th request.
 * Prints its URL, then each request when it is over, as lines of JSON. `node … broken-origin.ts '{"host": …}'`
 */
import type { Socket } from 'node:net'
import { createImage } from '../../examples/demo/image.ts'
import { openRegistry, type RegistryExchange, sendAnswer } from '../../examples/demo/registry.ts'
import type { BrokenOriginOptions } from './origin.ts'

const { host, port, repository, tag, image, dropAfterBytes, refuseEvery } = JSON.parse(
  process.argv[2] ?? '{}',
) as BrokenOriginOptions
const carried = new WeakMap<Socket, number>()
let requests = 0

const registry = await openRegistry({ host, port, send })
registry.addImage(repository, tag, createImage(image))
print({ url: registry.url })

async function send(exchange: RegistryExchange): Promise<void> {
  const { response, entry, answer } = exchange
  response.once('close', () => print(entry))
  if (++requests % refuseEvery === 0) {
    entry.status = 503
    return void response.writeHead(503, { 'content-length': 0 }).end()
  }
  await sendAnswer({ ...exchange, answer: { ...answer, body: dropping(exchange) } })
}

/** The body, until the connection has carried what it may. */
async function* dropping({ request: { socket }, response, answer }: RegistryExchange): AsyncGenerator<Uint8Array> {
  for await (const chunk of answer.body) {
    const before = carried.get(socket) ?? 0
    carried.set(socket, before + chunk.length)
    if (before + chunk.length <= dropAfterBytes) {
      yield chunk
      continue
    }
    response.write(chunk.subarray(0, Math.max(0, dropAfterBytes - before)), () => socket.destroySoon())
    await new Promise((resolve) => response.once('close', resolve))
    return
  }
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}
