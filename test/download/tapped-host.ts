import { createFrameDecoder } from '../../protocols/frame.ts'
import { decodeSwarmMessage, type SwarmMessage } from '../../protocols/swarm/codec.ts'
import { MAX_SWARM_MESSAGE_BYTES, SWARM_PROTOCOL } from '../../protocols/swarm/limits.ts'
import type { Channel } from '../../src/net/channel.ts'
import type { Host } from '../../src/net/host.ts'

/** A host, and what is said on the control streams that it opens. */
export function tapped(host: Host): { readonly host: Host; readonly said: SwarmMessage[] } {
  const said: SwarmMessage[] = []
  const open: Host['open'] = async (peer, protocol, options) => {
    const channel = await host.open(peer, protocol, options)
    return protocol === SWARM_PROTOCOL ? listening(channel, said) : channel
  }
  return { host: withMethod(host, 'open', open), said }
}

function listening(channel: Channel, said: SwarmMessage[]): Channel {
  const decoder = createFrameDecoder(MAX_SWARM_MESSAGE_BYTES, (bytes) => said.push(decodeSwarmMessage(bytes)))
  return withMethod(channel, 'write', (parts) => {
    for (const part of parts) decoder.push(part)
    return channel.write(parts)
  })
}

function withMethod<T extends object, Name extends keyof T>(target: T, name: Name, method: T[Name]): T {
  const get = (_: T, key: string | symbol) => {
    if (key === name) return method
    const value = Reflect.get(target, key, target)
    return typeof value === 'function' ? value.bind(target) : value
  }
  return new Proxy(target, { get })
}
